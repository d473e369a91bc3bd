from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.cascade.search.audit import (
    audit_bound,
    audit_sample,
    best_possible_bound,
    chunks_for,
)


def test_a_sample_has_the_nearest_chunks_and_random_others_each_at_most_once():
    rejected, closeness = np.arange(100, 1100, 2), np.linspace(0, 0.9, 500)
    sample = audit_sample(rejected, closeness, 50, seed=3)
    np.testing.assert_array_equal(sample.near, rejected[-5:])
    assert len(sample.random) == 45
    assert len(np.unique(sample.chunks)) == 50
    assert np.isin(sample.chunks, rejected).all()
    assert (np.diff(sample.chunks) > 0).all()
    again = audit_sample(rejected[::-1], closeness[::-1], 50, seed=3)
    np.testing.assert_array_equal(sample.chunks, again.chunks)
    assert (sample.random != audit_sample(rejected, closeness, 50, seed=4).random).any()
    np.testing.assert_array_equal(audit_sample(rejected, closeness, 10_000).chunks, rejected)
    assert audit_sample(np.empty(0, int), np.empty(0), 5).chunks.tolist() == []
    assert audit_sample(rejected, closeness, 0).chunks.tolist() == []
    with pytest.raises(InputError, match="got an audit of -1 chunks"):
        audit_sample(rejected, closeness, -1)


def test_without_scores_the_whole_sample_is_random():
    sample = audit_sample(np.arange(100), np.zeros(100), 30)
    assert (len(sample.near), len(sample.random)) == (0, 30)


def test_each_of_the_others_is_equally_likely():
    samples = [audit_sample(np.arange(20), np.zeros(20), 6, seed).random for seed in range(2000)]
    drawn = np.bincount(np.concatenate(samples), minlength=20)
    assert (np.abs(drawn - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)).all()


@pytest.mark.parametrize(("positives", "sampled"), [(0, 300), (3, 2000), (40, 100)])
def test_bound_is_clopper_pearson(positives, sampled):
    audit = audit_bound(positives, sampled, 100_000, 900)
    share = binomtest(positives, sampled, alternative="less").proportion_ci(0.95, method="exact").high
    assert audit.missed_upper == pytest.approx(share * 100_000)
    assert audit.lost_upper == pytest.approx(share * 100_000 / (share * 100_000 + 900))
    assert audit.missed == pytest.approx(positives / sampled * 100_000)
    assert audit.lost == pytest.approx(audit.missed / (audit.missed + 900))


def volumes(kind, rng, rejected, missed):
    """Closeness of rejected chunks, and which of them hold an object: related, unrelated, or against each other."""
    closeness = rng.random(rejected)
    truth = np.zeros(rejected, bool)
    order = {
        "informative": np.argsort(-closeness - 0.003 * rng.standard_normal(rejected)),
        "useless": rng.permutation(rejected),
        "adversarial": np.argsort(closeness),
    }
    truth[order[kind][:missed]] = True
    return closeness, truth


def audited(closeness, truth, n, found, seed):
    sample = audit_sample(np.arange(len(truth)), closeness, n, seed)
    near, random = truth[sample.near].sum(), truth[sample.random].sum()
    counts = (int(near + random), len(sample.chunks), len(truth), found)
    return audit_bound(*counts, near=len(sample.near), near_positives=int(near))


def share_held(kind, missed, n, repeats, rejected=3000, found=300):
    rng = np.random.default_rng(len(kind))
    held = []
    for seed in range(repeats):
        closeness, truth = volumes(kind, rng, rejected, missed)
        held.append(audited(closeness, truth, n, found, seed).lost_upper >= missed / (missed + found) - 1e-12)
    return np.mean(held)


@pytest.mark.parametrize("kind", ["informative", "useless", "adversarial"])
def test_the_bound_holds_in_nineteen_of_twenty_volumes(kind):
    assert share_held(kind, 60, 300, 400) >= 0.93  # 0.95 less two standard errors


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["informative", "useless", "adversarial"])
@pytest.mark.parametrize(("missed", "n"), [(0, 30), (3, 300), (20, 300), (60, 100), (300, 300), (60, 2000)])
def test_the_bound_holds_at_any_loss_and_size(kind, missed, n):
    assert share_held(kind, missed, n, 1000) >= 0.936  # 0.95 less two standard errors


def test_the_bound_is_little_above_that_of_a_random_sample_and_below_it_where_scores_tell():
    """No valid bound can be much below where nothing is seen, see `napari_connecto.workflows.cascade.search.audit`."""
    rng, ratio = np.random.default_rng(0), {}
    for kind in ("informative", "useless"):
        ours, random = [], []
        for seed in range(200):
            closeness, truth = volumes(kind, rng, 3000, 30)
            ours.append(audited(closeness, truth, 300, 300, seed).missed_upper)
            random.append(audited(np.zeros(3000), truth, 300, 300, seed).missed_upper)
        ratio[kind] = np.mean(ours) / np.mean(random)
    assert ratio["informative"] < 0.9
    assert ratio["useless"] < 1.12
    assert best_possible_bound(300, 10**6, 1000) < 1.02 * audit_bound(0, 300, 10**6, 1000).lost_upper


def test_missed_chunks_that_came_close_are_seen_where_a_random_sample_sees_none():
    closeness = np.linspace(0, 1, 100_000)
    truth = closeness > 0.9999
    assert audited(closeness, truth, 300, 90, 0).positives == truth.sum()
    assert audited(np.zeros(100_000), truth, 300, 90, 0).positives == 0


def test_rule_of_three():
    assert best_possible_bound(3000, 30_000, 970) == pytest.approx(33 / (33 + 970), rel=0.01)  # 3 / 2700 of 29 700
    assert best_possible_bound(0, 100, 10) == pytest.approx(100 / 110)
    assert best_possible_bound(0, 0, 10) == 0.0
    assert best_possible_bound(100, 100, 10) == 0.0


@pytest.mark.parametrize(("bound", "rejected", "found"), [(0.05, 10**6, 1000), (0.05, 900, 56), (0.2, 5000, 7)])
def test_fewest_chunks_for_a_bound(bound, rejected, found):
    n = chunks_for(bound, rejected, found)
    assert best_possible_bound(n, rejected, found) <= bound < best_possible_bound(n - 1, rejected, found)
    assert n <= rejected
    assert chunks_for(bound, rejected, 0) == rejected
    assert chunks_for(1.0, rejected, found) == 0


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (
            (0, 3000, 30_000, 1700),
            "At most 1.8 % of what an exhaustive search finds was missed (95 % confidence: the finest level "
            "finds an object in 0 of 3000 rejected chunks re-examined).",
        ),
        ((0, 0, 0, 10), "No chunk was rejected: nothing that an exhaustive search finds can be missed."),
        ((0, 0, 100, 10), "None of the 100 rejected chunks was re-examined: the share missed is unknown."),
        (
            (2, 50, 50, 10),
            "17 % of what an exhaustive search finds was missed: the finest level finds an object in 2 of 50 rejected "
            "chunks re-examined, which were all.",
        ),
        (
            (0, 100, 1000, 0),
            "Nothing was found; at most 29 of 1000 rejected chunks hold an object (95 % confidence: the finest level "
            "finds an object in 0 of 100 rejected chunks re-examined).",
        ),
    ],
)
def test_sentence(counts, sentence):
    assert audit_bound(*counts).sentence == sentence


def test_the_sentence_says_how_many_came_close():
    told = audit_bound(5, 300, 30_000, 1700, near=30, near_positives=4).sentence
    assert told.endswith(
        "in 5 of 300 rejected chunks re-examined, 4 of them among the 30 that came closest to passing)."
    )


@given(st.data())
def test_bounds_lie_between_the_estimate_and_all(data):
    rejected, found = data.draw(st.integers(0, 3000)), data.draw(st.integers(0, 500))
    sampled = data.draw(st.integers(0, rejected))
    near = data.draw(st.integers(0, sampled))
    lost_near, lost_random = data.draw(st.integers(0, near)), data.draw(st.integers(0, sampled - near))
    counts = (lost_near + lost_random, sampled, rejected, found)
    audit = audit_bound(*counts, near=near, near_positives=lost_near)
    assert 0 <= audit.lost_upper <= 1
    assert audit.missed_upper <= audit.positives + rejected - sampled
    if audit.missed is None:
        assert (sampled - near, audit.lost) == (0, None)
        assert rejected > near
    else:
        assert audit.missed <= audit.missed_upper + 1e-9
        assert audit.lost <= audit.lost_upper + 1e-9
    assert "\n" not in audit.sentence
    assert json.loads(json.dumps(asdict(audit)))["rejected"] == rejected


def test_everything_looked_at_is_exact():
    audit = audit_bound(3, 50, 50, 7)
    assert (audit.missed, audit.missed_upper, audit.lost, audit.lost_upper) == (3.0, 3.0, 0.3, 0.3)


@pytest.mark.parametrize("bad", [(5, 4, 10, 1), (0, 11, 10, 1), (-1, 4, 10, 1), (0, 4, 10, -1), (0, 4, 10, 1, 1.0)])
def test_refuses(bad):
    with pytest.raises(InputError, match="need 0 <= positive <= sampled <= rejected"):
        audit_bound(*bad)
