"""Chosen thresholds: against brute force, on fresh data, and with samples too small."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import expit

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import best_threshold, choose_thresholds
from napari_connecto.workflows.cascade.thresholds.combinations import candidates, cheapest, tail_threshold
from napari_connecto.workflows.cascade.thresholds.rates import measure


def blocks(seed, tops=600, steps=(8, 8), p=0.01, separation=(6, 5, 5), cost=(1.0, 1.0, 1.0), clustered=0.3):
    """Gaussian logits around plus or minus half the separation, objects in some of the coarsest chunks only."""
    rng = np.random.default_rng(seed)
    n = [int(tops * np.prod(steps[k:])) for k in range(len(steps) + 1)]
    parents = [np.repeat(np.arange(n[k + 1]), b) for k, b in enumerate(steps)]
    truth = (rng.random(n[0]) < p) & np.repeat(rng.random(tops) < clustered, n[0] // tops)
    objects = np.repeat(np.flatnonzero(truth), rng.integers(1, 3, np.count_nonzero(truth)))
    positive, scores = truth, []
    for k, count in enumerate(n):
        scores.append(expit(rng.normal(size=count) * 1.2 + np.where(positive, 0.5, -0.5) * separation[k]))
        positive = positive.reshape(-1, steps[k]).any(axis=1) if k < len(steps) else positive
    return Calibration(tuple(scores), tuple(parents), truth, objects, cost, steps)


def test_choice_says_what_the_gating_rule_does():
    calibration = blocks(0)
    choice = choose_thresholds(calibration)
    assert choice.levels == (0, 1, 2)
    passed = calibration.scores[2] >= choice.thresholds[2]
    called_1 = np.repeat(passed, 8)
    passed_1 = called_1 & (calibration.scores[1] >= choice.thresholds[1])
    called_0 = np.repeat(passed_1, 8)
    positive = called_0 & (calibration.scores[0] >= choice.thresholds[0])
    assert choice.calls == pytest.approx((called_0.mean(), called_1.mean() / 8, 1 / 64))
    assert choice.cost_s == pytest.approx(sum(choice.calls))
    assert choice.saving == pytest.approx(1 - sum(choice.calls))
    found = calibration.scores[0][calibration.objects] >= choice.thresholds[0]
    assert choice.objects == np.count_nonzero(found)
    assert choice.recall == pytest.approx(positive[calibration.objects][found].mean())
    assert choice.tpr == pytest.approx(positive[calibration.objects].mean())
    assert choice.fpr == pytest.approx(positive[~calibration.truth].mean())
    assert choice.recall >= 0.99
    assert choice.expected_recall >= 0.99 - 1e-9
    assert choice.recall_interval[0] < choice.expected_recall <= choice.recall_interval[1]
    assert choice.saving_interval[0] < choice.saving < choice.saving_interval[1]
    assert choice.reason.startswith("Level 2 and level 1 before level 0: saves")
    assert f"rests on {choice.objects} objects" in choice.reason


def test_rates_and_their_prediction_stand_beside_the_measurement():
    calibration = blocks(1, tops=2000)
    choice = choose_thresholds(calibration)
    truth_1 = calibration.truth.reshape(-1, 8).any(axis=1)
    passed = calibration.scores[1] >= choice.thresholds[1]
    rates = choice.rates[1]
    assert rates.prevalence == pytest.approx(truth_1.mean())
    assert rates.tpr_chunk == pytest.approx(passed[truth_1].mean())
    assert rates.fpr == pytest.approx(passed[~truth_1].mean())
    assert rates.tpr_object == pytest.approx(passed[calibration.objects // 8].mean())
    assert [r.prevalence for r in choice.rates] == sorted(r.prevalence for r in choice.rates)
    # errors of the levels are independent here, as the formulas want
    assert choice.predicted.calls == pytest.approx(choice.calls, rel=0.1)
    assert choice.predicted.tpr == pytest.approx(choice.tpr, abs=0.02)
    assert choice.predicted.fpr == pytest.approx(choice.fpr, abs=1e-4)


def test_search_equals_brute_force():
    calibration, allowed = blocks(2, tops=300, p=0.05, separation=(6, 5, 4)), 0.03
    found = calibration.objects
    got = cheapest(calibration, found, allowed, None)
    sets = [candidates(calibration, found, k, allowed, 24) for k in (1, 2)]
    best = (np.inf, None)
    for i, j in product(*(range(len(c.thresholds)) for c in sets)):
        limits = tuple(float(c.thresholds[n]) if n else None for c, n in zip(sets, (i, j), strict=True))
        m = measure(calibration, (0.0, *limits), found)
        miss = np.count_nonzero(~m.kept) / (len(found) + 1) + sets[0].unseen[i] + sets[1].unseen[j]
        cost = sum(c.mean() / size for c, size in zip(m.called, calibration.size, strict=True))
        if miss <= allowed + 1e-9 and (i, j) != (0, 0):
            best = min(best, (cost, limits), key=lambda pair: pair[0])
    assert got.cost_s == pytest.approx(best[0])
    assert got.thresholds == best[1]


def test_recall_on_fresh_data_is_what_was_promised():
    fresh = blocks(99, tops=20_000)
    kept, expected, covered = [], [], []
    for seed in range(25):
        choice = choose_thresholds(blocks(seed), 0.95, resamples=200)
        found = fresh.objects[fresh.scores[0][fresh.objects] >= choice.thresholds[0]]
        kept.append(measure(fresh, choice.thresholds, found).kept.mean())
        expected.append(choice.expected_recall)
        covered.append(choice.recall_interval[0] <= kept[-1] <= choice.recall_interval[1])
    assert np.mean(kept) > 0.945
    assert np.mean(kept) == pytest.approx(np.mean(expected), abs=0.02)
    assert np.mean(covered) >= 0.9


def test_confidence_asks_for_more():
    calibration = blocks(3, tops=6000, steps=(8,), separation=(6, 6), cost=(1, 1), p=0.02)
    expected = choose_thresholds(calibration, 0.97)
    sure = choose_thresholds(calibration, 0.97, confidence=0.95)
    assert sure.levels == expected.levels == (0, 1)
    assert sure.thresholds[1] < expected.thresholds[1]
    assert sure.recall_interval[0] >= 0.97 - 0.006  # two-sided at 95 %: a little wider
    few = choose_thresholds(blocks(3, tops=300), 0.99, confidence=0.95)
    assert few.levels == (0,)
    assert "too few" in few.reason


def test_few_objects_lower_the_threshold_and_say_so():
    calibration = blocks(4, tops=200, p=0.004, separation=(8, 8, 8))
    choice = choose_thresholds(calibration)
    lowest = [calibration.scores[k][calibration.ancestors(calibration.objects, 0, k)].min() for k in (1, 2)]
    assert choice.objects < 99
    assert any(t is not None and t < low for t, low in zip(choice.thresholds[1:], lowest, strict=True))
    assert "too few to measure so small a loss" in choice.reason
    assert choice.recall_interval[0] < 0.95


def test_tail_threshold_extends_the_lowest_scores():
    rng, share = np.random.default_rng(0), 0.002
    undercut = []
    for _ in range(300):  # logits 6 - exponential of mean 1
        scores = expit(6 - rng.exponential(1.0, 100)).astype(np.float32)
        threshold = tail_threshold(scores, share)
        assert threshold <= scores.min()
        assert tail_threshold(scores, share / 2) <= threshold
        undercut.append(np.exp(np.log(threshold / (1 - threshold)) - 6))
    assert 0.5 * share < np.median(undercut) < 1.5 * share
    assert tail_threshold(np.ones(10, np.float32), 0.01) < 1


def test_thresholds_stay_above_the_resolution_of_scores():
    saturated = np.array([0.02] + [1.0] * 30, np.float32)  # one object nearly missed, the rest beyond doubt
    assert tail_threshold(saturated, 1e-6) == pytest.approx(1 / 510)


def test_no_cascade_where_nothing_is_gained():
    dear = choose_thresholds(blocks(5, cost=(1.0, 20.0, 200.0)))
    assert (dear.levels, dear.saving, dear.calls, dear.recall) == ((0,), 0.0, (1.0, 0.0, 0.0), 1.0)
    assert (dear.recall_interval, dear.saving_interval, dear.expected_recall) == ((1.0, 1.0), (0.0, 0.0), 1.0)
    assert "the fastest cascade that keeps 99.0 % would take" in dear.reason
    blind = choose_thresholds(blocks(6, separation=(6, 0, 0), p=0.05, clustered=1.0))
    assert blind.levels == (0,)
    assert blind.rates[1].fpr is None
    assert blind.predicted.calls == (1.0, 0.0, 0.0)


def test_where_objects_are_everywhere_more_labels_are_not_asked_for():
    everywhere = Calibration(
        (np.full(64, 0.9), np.full(16, 0.5)), (np.arange(64) // 4,), np.ones(64, bool), np.arange(64), (1.0, 0.1), (4,)
    )
    reason = choose_thresholds(everywhere).reason
    assert reason == "No cascade: 100 % of the validation chunks hold objects; there is little to rule out."


def test_a_level_may_be_left_out():
    choice = choose_thresholds(blocks(7, separation=(6, 0.0, 7), tops=1500))
    assert choice.levels == (0, 2)
    assert (choice.thresholds[1], choice.calls[1]) == (None, 0.0)
    assert choice.predicted.calls[0] == pytest.approx(choice.calls[0], rel=0.1)
    assert choice.reason.startswith("Level 2 before level 0: saves")


def test_cost_decides_which_levels():
    calibration = blocks(8, separation=(6, 6, 6), tops=1500)
    assert 1 in choose_thresholds(replace(calibration, cost_s=(1.0, 0.01, 1.0))).levels
    assert 1 not in choose_thresholds(replace(calibration, cost_s=(1.0, 9.0, 0.01))).levels


def test_one_level_no_object_found_and_no_object():
    single = Calibration((np.array([0.1, 0.9]),), (), np.array([False, True]), np.array([1]), (1.0,), ())
    choice = choose_thresholds(single)
    assert (choice.thresholds, choice.levels) == ((pytest.approx(0.5),), (0,))
    assert choice.reason == "No cascade: there is only one level."
    missed = choose_thresholds(blocks(9), threshold=1.0)
    assert "level 0 finds none of the" in missed.reason
    with pytest.raises(InputError, match="the validation blocks hold no object"):
        choose_thresholds(blocks(9, p=0.0))
    for target in (0.0, 1.0, np.nan):
        with pytest.raises(InputError, match="got target_recall="):
            choose_thresholds(blocks(9), target)


def test_best_threshold_is_of_best_f1():
    scores = np.array([0.9, 0.8, 0.8, 0.4, 0.3, 0.1], np.float32)
    truth = np.array([True, True, False, True, False, False])
    assert best_threshold(scores, truth) == pytest.approx(0.35)
    assert best_threshold(np.array([0.2, 0.7], np.float32), np.array([True, True])) == pytest.approx(0.1)


def test_ragged_parents_and_unequal_factors():
    """Border parents have fewer children: calls are counted as if the volume went on."""
    parents = np.array([0] * 4 + [1] * 4 + [2] * 2)
    scores = (np.full(10, 0.9), np.array([0.9, 0.1, 0.1]))
    truth = np.arange(10) < 4
    calibration = Calibration(scores, (parents,), truth, np.arange(4), (1.0, 1.0), (4,))
    m = measure(calibration, (0.5, 0.5), calibration.objects)
    assert [c.tolist() for c in m.called] == [[True] * 4 + [False] * 6, [True] * 3]
    np.testing.assert_array_equal(calibration.chunk_truth(1), [True, False, False])
    np.testing.assert_array_equal(calibration.ancestors(np.array([3, 4, 9]), 0, 1), [0, 1, 2])
    np.testing.assert_array_equal(calibration.size, [1, 4])


def test_same_calibration_same_choice_and_json():
    calibration = blocks(10, tops=100, p=0.05)
    choice = choose_thresholds(calibration, 0.9)
    copy = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    for a, b in zip(copy.scores, calibration.scores, strict=True):
        np.testing.assert_array_equal(a, b)
    assert choose_thresholds(copy, 0.9) == choice
    assert json.loads(json.dumps(choice.to_json(), allow_nan=False))["thresholds"] == list(choice.thresholds)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scores": ()}, "none at some level"),
        ({"parents": ()}, "3 levels but 0 parents"),
        ({"cost_s": (1.0, 0.0, 1.0)}, "not all positive"),
        ({"branching": (8, 0.5)}, "below 1"),
        ({"truth": np.zeros(3, bool)}, "3 truths for"),
        ({"objects": np.array([10**6])}, "objects outside"),
    ],
)
def test_calibration_refuses(changes, match):
    with pytest.raises(InputError, match=match):
        replace(blocks(0, tops=10), **changes)


def test_calibration_refuses_bad_scores_and_parents():
    good = blocks(0, tops=10)
    with pytest.raises(InputError, match="scores outside 0 to 1"):
        replace(good, scores=(good.scores[0] * 2, *good.scores[1:]))
    with pytest.raises(InputError, match="scores outside 0 to 1"):
        replace(good, scores=(good.scores[0] * np.nan, *good.scores[1:]))
    with pytest.raises(InputError, match="parents at level 0 that do not point"):
        replace(good, parents=(good.parents[0] + 1, good.parents[1]))


@pytest.mark.parametrize("damage", [{"scores": 3}, {"truth": [10**9]}, {"cost_s": None}, {"parents": [["a"]]}, None])
def test_damaged_calibration_is_a_model_error(damage):
    data = blocks(0, tops=10).to_json()
    data = {**data, **damage} if damage else {}
    with pytest.raises(ModelError, match=r"calibration is damaged.*train the cascade again") as error:
        Calibration.from_json(data)
    assert "\n" not in str(error.value)
