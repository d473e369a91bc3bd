"""An attack by hand on a network whose weights are known: bars across or along, of which one is called a boundary."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets.nets import Residual, Sections
from napari_connecto.workflows.inspect.missed.attack import attack
from napari_connecto.workflows.inspect.missed.attacked import Attack
from napari_connecto.workflows.inspect.missed.params import AttackParams
from tests.workflows.inspect.missed.test_why_missed import CARD, NM

UPRIGHT, LEVEL, BRIGHT = range(3)
SOURCE = Box((0, 0, 0), (1, 64, 64))
FEW = AttackParams(side=9, controls=2)
PLACES = np.array([(0, y, x) for y in (84, 104) for x in range(20, 110, 20)])


def known() -> TorchPredictor:
    """Channels: upright bars, level bars, brightness; the answer is that of upright bars less a little brightness."""
    bar = torch.full((5, 5), -0.05)
    bar[:, 2] = 0.2
    first, head, same = nn.Conv2d(1, 3, 5, padding=2), nn.Conv2d(3, 1, 1), Residual(2, 3)
    with torch.no_grad():
        first.weight[:] = torch.stack([bar, bar.T, torch.full((5, 5), 0.04)])[:, None]
        first.bias[:] = 0
        head.weight[:] = torch.tensor([8.0, 0.0, -0.1])[None, :, None, None]
        head.bias[:] = -2
        for conv in (same.body[0], same.body[3]):
            conv.weight[:] = 0
    return TorchPredictor(CARD, Sections(nn.Sequential(first, nn.ReLU(), same, head), 0), "cpu")


def image() -> Volume:
    """Grey noise with one upright and one level bar, and a bright disc."""
    drawn = np.random.default_rng(0)
    found = drawn.normal(0.3, 0.01, (1, 128, 128)).astype(np.float32)
    found[0, 20:31, 20] = 1
    found[0, 45, 40:51] = 1
    found[0, 10:20, 45:55] += 0.3
    return Volume((Level(found, NM),), name="bars")


@pytest.fixture(scope="module")
def found() -> Attack:
    return attack(known(), image(), ("encoder.2", UPRIGHT), SOURCE, PLACES, FEW)


def test_the_pattern_of_the_channel_flips_the_answer_and_only_with_the_channel(found: Attack) -> None:
    """The pattern is the upright bar; ablating its channel undoes it, ablating others not; other patterns fail."""
    z, y, x = found.pattern
    assert (z, x) == (0, 20)
    assert 20 <= y < 31
    n = len(PLACES)
    flips = {name: (run.flips, run.tried) for name, run in found.runs.items()}
    assert flips["pattern"] == (n, n)
    assert flips["pattern, ablated"] == (0, n)
    assert flips["pattern, other ablated"] == (2 * n, 2 * n)
    assert flips["other pattern"] == (0, 2 * n)
    assert flips["random piece"][0] <= 1  # a piece may hold the bar
    assert found.kept < 0.05
    assert found.kept_other > 0.95


def test_a_channel_that_nothing_reads_makes_no_attack() -> None:
    told = attack(known(), image(), ("encoder.2", BRIGHT), SOURCE, PLACES, FEW)
    assert told.runs["pattern"].flips == 0
    assert told.kept > 0.95


def test_patterns_come_from_where_they_are_allowed(found: Attack) -> None:
    """Without the upright bar among the centres, its channel has no pattern that flips anything."""
    allowed = np.zeros(SOURCE.shape, bool)
    allowed[0, 40:50, 36:56] = True
    told = attack(known(), image(), found.channel, SOURCE, PLACES, FEW, allowed=allowed)
    assert allowed[told.pattern]
    assert told.runs["pattern"].flips < found.runs["pattern"].flips


def test_places_where_the_model_already_answers_are_left_out(found: Attack) -> None:
    on_the_bar = np.array([(0, 25, 20)])
    told = attack(known(), image(), found.channel, SOURCE, np.concatenate([PLACES, on_the_bar]), FEW)
    assert [list(at) for at in told.places] == PLACES.tolist()
    with pytest.raises(InputError, match="at all of which the model already answers"):
        attack(known(), image(), found.channel, SOURCE, on_the_bar, FEW)


def test_places_that_are_not_given_are_those_that_the_model_leaves_empty(found: Attack) -> None:
    """All are clean, far from the bar that is called an object, and apart; the attack is the same as at given ones."""
    told = attack(known(), image(), found.channel, SOURCE, params=AttackParams(side=9, controls=2, places=6))
    assert len(told.places) == 6
    assert all(told.flipped)
    assert told.runs["pattern, ablated"].flips == 0
    at = np.array(told.places)
    assert (np.abs(at[:, None] - at[None]).max(-1) + 99 * np.eye(6) >= 9).all()
    away = np.hypot(np.clip(np.maximum(20 - at[:, 1], at[:, 1] - 30), 0, None), at[:, 2] - 20)
    assert away.min() > 4


def test_what_cannot_be_asked_is_refused(found: Attack) -> None:
    with pytest.raises(InputError, match=r"got the channel encoder.9:0; the model has stages encoder.1, encoder.2"):
        attack(known(), image(), ("encoder.9", 0), SOURCE, PLACES)
    with pytest.raises(InputError, match="no allowed centre for a disc of 99 voxels"):
        attack(known(), image(), found.channel, SOURCE, PLACES, AttackParams(side=99))
    with pytest.raises(InputError, match=r"got \(1, 9, 9\) for allowed"):
        attack(known(), image(), found.channel, SOURCE, PLACES, allowed=np.ones((1, 9, 9), bool))


def test_the_answer_is_sentences_and_json(found: Attack) -> None:
    told = json.loads(json.dumps(found.to_json()))
    assert told["runs"]["pattern"]["flips"] == len(PLACES)
    low, high = found.runs["pattern"].interval
    assert 0.6 < low < 1 == pytest.approx(high)
    assert any(line.startswith(f"pattern, ablated: 0 of {len(PLACES)} (0 %") for line in found.lines())
