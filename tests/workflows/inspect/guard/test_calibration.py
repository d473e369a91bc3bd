"""The limit of a guard: its false alarms are those stated, and combining checks is no worse than the best of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.metrics import auroc
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.verdict import Verdict

NAMES = ("pair", "input", "noise")


def tiles(rng: np.random.Generator, n: int, shift: tuple[float, ...]) -> np.ndarray:
    return rng.normal(size=(n, 3)) * [2, 5, 1] + shift


def fitted(rng: np.random.Generator, false_alarm: float = 0.1, n: int = 200) -> Calibration:
    learning = np.concatenate([tiles(rng, 100, (0, 0, 0)), tiles(rng, 100, (4, 10, 0))])
    return Calibration.fit(NAMES, tiles(rng, n, (0, 0, 0)), learning, np.arange(200) >= 100, false_alarm)


def test_false_alarms_are_those_stated():
    """Over 50 calibrations, the mean share of new good tiles above the limit is at most what is stated."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(50):
        made = fitted(rng)
        shares.append((made.score(tiles(rng, 500, (0, 0, 0))) > made.limit).mean())
    assert 0.08 < np.mean(shares) < 0.105


def test_weights_follow_what_tells_bad_tiles():
    rng = np.random.default_rng(1)
    made = fitted(rng)
    bad = np.arange(400) >= 200
    seen = np.concatenate([tiles(rng, 200, (0, 0, 0)), tiles(rng, 200, (4, 10, 0))])
    assert made.weights[2] < 0.3 * made.weights[:2].min()
    assert auroc(made.score(seen), bad) > max(auroc(seen[:, k], bad) for k in range(3))


def test_a_check_that_points_the_wrong_way_is_left_out():
    rng = np.random.default_rng(2)
    learning = np.concatenate([tiles(rng, 100, (0, 0, 0)), tiles(rng, 100, (4, -10, 0))])
    made = Calibration.fit(NAMES, tiles(rng, 100, (0, 0, 0)), learning, np.arange(200) >= 100, 0.1)
    assert made.weights[1] == 0
    assert made.weights[0] > 0


def test_without_both_sorts_checks_count_alike():
    rng = np.random.default_rng(3)
    made = Calibration.fit(NAMES, tiles(rng, 50, (0, 0, 0)), tiles(rng, 9, (0, 0, 0)), np.zeros(9, bool), 0.1)
    assert np.allclose(made.weights, 1 / 3)


def test_either_of_two_checks_flags_a_tile_at_the_stated_rate():
    """Where one check falls as the other rises, their sum is blind and the larger of them is not."""
    rng = np.random.default_rng(6)
    good = rng.normal(size=(400, 2))
    made = Calibration.either(("pair", "output"), good[:200], 0.1)
    assert (made.score(good[200:]) > made.limit).mean() == pytest.approx(0.1, abs=0.05)
    bad = rng.normal(size=(200, 2)) + np.where(rng.random((200, 1)) < 0.5, [6, -6], [-6, 6])
    assert (made.score(bad) > made.limit).mean() > 0.95
    alike = Calibration.fit(("pair", "output"), good[:200], good[:0], np.zeros(0, bool), 0.1)
    assert (alike.score(bad) > alike.limit).mean() < 0.3
    assert Calibration.from_json(made.to_json()).score(bad) == pytest.approx(made.score(bad))


def test_too_few_tiles_are_refused():
    rng = np.random.default_rng(4)
    with pytest.raises(InputError, match="a false-alarm rate of 5 % needs 19 or more"):
        fitted(rng, 0.05, 18)


def test_a_calibration_survives_json_and_damage_is_told():
    made = fitted(np.random.default_rng(5))
    told = json.loads(json.dumps(made.to_json()))
    again = Calibration.from_json(told)
    assert (again.limit, again.names, again.alarms) == (made.limit, NAMES, made.alarms)
    assert np.array_equal(again.weights, made.weights)
    for change in ({"mean": [0.0]}, {"limit": float("nan")}, {"scale": [0, 1, 1]}, {"tiles": 0}):
        with pytest.raises(ModelError, match="calibration of a guard is damaged"):
            Calibration.from_json({**told, **change})
    with pytest.raises(ModelError, match="damaged"):
        Calibration.from_json({key: value for key, value in told.items() if key != "limit"})


@pytest.mark.parametrize(("flagged", "light"), [(3, "green"), (9, "amber"), (20, "red")])
def test_the_light_is_what_chance_explains(flagged, light):
    verdict = Verdict(np.arange(64) < flagged, np.ones(64), 0.06, NAMES)
    assert verdict.light == light
    assert f"{flagged} of 64 tiles flagged" in verdict.lines()[0]
    assert verdict.to_json()["light"] == light


def test_nothing_judged_has_no_light():
    verdict = replace(Verdict(np.zeros(0, bool), np.zeros(0), 0.05, ()), reason="no tissue was found in the image")
    assert (verdict.light, verdict.p) == ("none", 1.0)
    assert verdict.lines() == ["No verdict: no tissue was found in the image."]


def test_an_unusual_input_is_told_and_does_not_change_the_light():
    verdict = Verdict(np.zeros(64, bool), np.ones(64), 0.06, NAMES, unusual=np.ones(64, bool))
    assert verdict.light == "green"
    assert verdict.lines()[1] == "The input of 64 of 64 tiles is unlike the guard's examples."
    assert verdict.to_json()["unusual"] == 64
