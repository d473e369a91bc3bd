"""Scores that are shown: probabilities, in the order of the raw ones, over the whole range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import ModelError
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect, fingerprint
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.score_curve import ScoreCurve
from tests.workflows import fakes

GRID = np.linspace(0, 1, 256)


def drawn(seed, n, low=0.435, high=0.471):
    """Raw scores in a narrow band, of which the higher ones are the likelier objects."""
    rng = np.random.default_rng(seed)
    raw = rng.uniform(low, high, n)
    return raw, rng.random(n) < (raw - low) / (high - low)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.floats(0.1, 0.95))
def test_scores_rise_with_the_raw_ones_and_stay_within_0_and_1(held_out, threshold):
    raw, true = (np.array(part) for part in zip(*held_out, strict=True)) if held_out else (np.empty(0), np.empty(0))
    score = ScoreCurve.fit(raw, true, threshold)(GRID)
    assert (np.diff(score) > 0).all()
    assert score[0] >= 0
    assert score[-1] <= 1


@pytest.mark.parametrize("n", [12, 40, 400])
def test_a_narrow_band_of_raw_scores_is_spread(n):
    raw, true = drawn(0, n)
    score = ScoreCurve.fit(raw, true, 0.2)(raw)
    assert score.max() - score.min() > 0.5


def test_a_score_is_the_share_of_objects_among_such_detections():
    curve = ScoreCurve.fit(*drawn(1, 400), 0.2)
    raw, true = drawn(2, 4000)
    score = curve(raw)
    for low in np.arange(0, 1, 0.2):
        among = (score >= low) & (score < low + 0.2)
        assert true[among].mean() == pytest.approx(score[among].mean(), abs=0.08)


def test_few_detections_give_scores_by_the_threshold():
    none = ScoreCurve.fit(np.empty(0), np.empty(0), 0.5)
    assert none(np.array([0.5]))[0] < 0.1 < 0.9 < none(np.array([1.0]))[0]
    right, wrong = (ScoreCurve.fit(np.array([0.7, 0.7]), np.array([v, v]), 0.5)(np.array([0.7]))[0] for v in (1, 0))
    assert wrong < right


def test_it_is_the_same_after_json_and_damage_is_said():
    curve = ScoreCurve.fit(*drawn(3, 30), 0.3)
    assert ScoreCurve.from_json(curve.to_json()) == curve
    for damage in ({"slope": -1.0}, {"spread": "x"}, {"offset": float("nan")}):
        with pytest.raises(ModelError, match="the cascade's scores are damaged"):
            ScoreCurve.from_json({**curve.to_json(), **damage})


def cascade_with(curve):
    plain = fakes.cascade(factors=((1, 2, 2),))
    return replace(plain, calibration=replace(plain.calibration, score_curve=curve))


def test_a_search_finds_the_same_and_scores_it_by_the_curve(tmp_path):
    rng = np.random.default_rng(0)
    image = np.zeros((4, 64, 64), np.uint8)
    for y, x in rng.integers(4, 60, (12, 2)):
        image[1:3, y - 2 : y + 2, x - 2 : x + 2] = rng.integers(160, 256)
    volume = fakes.pyramid(image, ((1, 2, 2),))
    plain, curve = cascade_with(None), ScoreCurve.fit(np.array([0.6, 0.7, 0.8]), np.array([0, 1, 1]), 0.5)
    scored = cascade_with(curve)
    params = DetectParams(exhaustive=True, audit=0)
    raw, found = detect(volume, plain, params, out=tmp_path), detect(volume, scored, params, out=tmp_path)  # resumed
    assert fingerprint(volume, plain) == fingerprint(volume, scored)
    np.testing.assert_array_equal(found.centre_nm, raw.centre_nm)
    np.testing.assert_allclose(found.score, curve(raw.score))
    np.testing.assert_array_equal(np.argsort(-found.score, kind="stable"), np.argsort(-raw.score, kind="stable"))
    assert (raw.report["scores"], found.report["scores"]) == ("raw", "probability of being an object")


def test_older_cascades_have_none():
    data = fakes.cascade().calibration.to_json()
    assert "score_curve" not in data
    assert Calibration.from_json(data).score_curve is None
    assert isinstance(cascade_with(None), Cascade)
