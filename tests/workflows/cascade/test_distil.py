"""Gates from a detector's own answers: without labels, weighted fairly, and true to what the detector finds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Volume
from napari_connecto.models.detectors.registered import registered
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.matching import match_points
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import choose_thresholds
from napari_connecto.workflows.cascade.training.distil.gates import Mixed
from napari_connecto.workflows.cascade.training.distil.places import SHARES, Strata, likeness, spread
from napari_connecto.workflows.cascade.training.summary import summarise
from napari_connecto.workflows.cascade.training.train import train_cascade
from tests import own_detectors

NM = (1.0, 1.0, 1.0)


def discs(count=40, side=640, seed=0):
    """Bright discs of 12 voxels in noise, in a few parts of the image alone."""
    rng = np.random.default_rng(seed)
    image, truth = rng.normal(30, 6, (1, side, side)), np.zeros((1, side, side), np.uint16)
    y, x = np.mgrid[:side, :side]
    middles = rng.uniform(60, side - 60, (4, 2))
    for label in range(1, count + 1):
        cy, cx = np.clip(middles[label % 4] + rng.normal(0, 30, 2), 10, side - 10)
        near = (y - cy) ** 2 + (x - cx) ** 2 <= 36
        image[0][near], truth[0][near & (truth[0] == 0)] = 200, label
    picture = Volume.from_array(np.clip(image, 0, 255).astype(np.uint8), NM, name="discs")
    return picture, Volume.from_array(truth, NM, name="truth", kind="labels")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    own_detectors.register(monkeypatch)


@pytest.mark.slow
def test_a_cascade_without_labels_keeps_what_its_detector_finds(tmp_path):
    image, truth = discs()
    bright = registered("bright", image, {"threshold": 0.5})
    params = TrainParams("discs", steps=60, width=4, calls=250, device="cpu")
    cascade = train_cascade(image, truth, params, detector=bright)
    assert cascade.metadata["detector"]["calls"] == 250
    everywhere = detect(image, cascade, DetectParams(exhaustive=True, audit=0))
    found = detect(image, cascade, DetectParams(target_recall=0.95, audit=0, force_cascade=True))
    kept = match_points(found.centre_nm, everywhere.centre_nm, 2.0).counts
    assert len(everywhere) > 20
    assert kept.tp >= 0.95 * len(everywhere)
    assert found.report["mode"] == "cascade"
    assert found.report["levels"][-1]["share"] < 0.6
    told = " ".join(summarise(cascade).lines)
    assert "trained on 250 calls of bright," in told
    assert "of what bright finds" in told
    assert "On the labels:" in told
    cascade.save(tmp_path / "c")
    again = detect(image, load_cascade(tmp_path / "c", backend="torch"), DetectParams(target_recall=0.95, audit=0))
    np.testing.assert_array_equal(again.centre_nm, found.centre_nm)
    np.testing.assert_array_equal(again.score, found.score)


def test_neither_labels_nor_a_detector_is_refused():
    image = Volume.from_array(np.zeros((1, 64, 64), np.uint8), NM)
    with pytest.raises(InputError, match="labels, points or a detector"):
        train_cascade(image)


def test_a_detector_that_finds_nothing_is_told():
    image = Volume.from_array(np.full((1, 64, 64), 9, np.uint8), NM)
    nothing = registered("bright", image, {"threshold": 99.0})
    with pytest.raises(InputError, match="finds nothing in 4 of 4 places"):
        train_cascade(image, detector=nothing)


@pytest.mark.parametrize("head", ["labels", "points"])
def test_an_image_of_few_places_gets_the_detector_alone(head):
    image = np.full((1, 64, 64), 9, np.uint8)
    image[0, 10:16, 12:18] = image[0, 40:46, 40:46] = 200
    name = {"labels": "bright", "points": "spots"}[head]
    volume = Volume.from_array(image, NM)
    cascade = train_cascade(volume, detector=registered(name, volume), params=TrainParams(device="cpu"))
    assert len(cascade.stages) == 1
    found = detect(volume, cascade, DetectParams(audit=0))
    np.testing.assert_allclose(found.centre_nm[:, 1:], [(13, 15), (43, 43)], atol=0.6)
    assert "No coarse levels" in " ".join(summarise(cascade).lines)


def test_places_stand_for_as_many_as_their_stratum_has():
    rng = np.random.default_rng(0)
    rank, value = rng.normal(size=4000), rng.random(4000)
    value += rank > 2  # what is to be estimated depends on the rank
    strata, seen, means = Strata.by(rank), spread(np.arange(4000), 200, 0), []
    assert np.bincount(strata.of).tolist() == pytest.approx([4000 * s for s in SHARES], abs=2)
    for seed in range(50):
        more = strata.more(seen, 200, seed)
        assert len(np.intersect1d(more, seen)) == 0
        everything = np.concatenate([seen, more])
        weights = strata.weights(everything)
        assert weights.sum() == pytest.approx(4000)
        means.append(np.average(value[everything], weights=weights))
    assert np.mean(means) == pytest.approx(value.mean(), abs=0.02)


def test_places_like_those_with_objects_rank_first():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(500, 4))
    features[:50, 2] += 4
    seen = np.arange(0, 500, 5)
    for positive in (seen < 50, seen < 0):  # known from some, or only unusual
        rank = likeness(features, seen, positive)
        assert np.mean(np.argsort(-rank)[:50] < 50) > 0.6


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_equal_weights_change_nothing(seed, weight):
    rng = np.random.default_rng(seed)
    n, truth = 60, np.arange(60) < 20
    scores = tuple(np.clip(rng.normal(truth * 0.5 + 0.3, 0.1), 0, 1) for _ in range(2))
    objects = np.flatnonzero(truth)
    plain = Calibration(scores, (np.arange(n),), truth, objects, (1.0, 0.05), (1.0,))
    same = replace(plain, weights=np.full(n, weight))
    a, b = choose_thresholds(plain, 0.9), choose_thresholds(same, 0.9)
    assert a.thresholds == b.thresholds
    assert a.recall == pytest.approx(b.recall)
    assert a.calls == pytest.approx(b.calls)
    assert Calibration.from_json(same.to_json()).weights.tolist() == same.weights.tolist()


def test_calls_follow_the_weights():
    scores = (np.array([0.9, 0.9, 0.1, 0.1]), np.array([0.9, 0.8, 0.1, 0.2]))
    weights = np.array([0.1, 0.1, 1.9, 1.9])  # of a hundred places one has an object, say
    told = Calibration(
        scores, (np.arange(4),), np.array([1, 1, 0, 0], bool), np.array([0, 1]), (1.0, 0.01), (1.0,), weights=weights
    )
    choice = choose_thresholds(told, 0.6, threshold=0.5)
    assert choice.calls == pytest.approx((0.05, 1.0))
    assert choice.rates[0].prevalence == pytest.approx(0.05)
    with pytest.raises(InputError, match="weights"):
        replace(told, weights=np.array([1.0, 0, 1, 1]))


def test_places_at_the_rim_of_an_image_that_no_tile_divides_are_learnt_from_or_left_out():
    image, _ = discs(side=257)  # coarse levels end short of the last places, which are one voxel wide
    params = TrainParams("discs", steps=2, width=2, calls=100, device="cpu")
    cascade = train_cascade(image, detector=registered("bright", image, {"threshold": 0.5}), params=params)
    assert len(cascade.stages) > 1
    assert all(np.isfinite(scores).all() for scores in cascade.calibration.scores)


@pytest.mark.parametrize("positive", [(), (0,), (0, 1, 2)])
def test_samples_of_a_gate_are_drawn_whatever_places_hold_objects(positive):
    class Place:
        """Gives its own number, as `Patches` give samples."""

        def __init__(self, number):
            self.number = number

        def draw(self, batch, seed):
            while True:
                yield (np.full((batch, 1), self.number),) * 3

    mixed = Mixed([Place(k) for k in range(3)], np.isin(np.arange(3), positive))
    drawn = np.concatenate([sample[0] for sample in islice(mixed.draw(4, 0), 50)]).ravel()
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    expected = [0.5 / max(1, len(positive)) * (k in positive) + (0.5 if positive else 1.0) / 3 for k in range(3)]
    np.testing.assert_allclose(shares, expected, atol=0.12)
