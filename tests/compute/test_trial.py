from __future__ import annotations

import time

import numpy as np
import pytest

from napari_connecto.compute import trial
from napari_connecto.compute.trial import Trial, choose_batch
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.tiles import TilePlan
from tests.compute.parts import Chunked, Identity, Sleepy, level_of, noise


class PerCall(Sleepy):
    """As long for a batch as for one tile: the largest batch is best."""


class Counting(Sleepy):
    """Knows how often it was called."""

    count = 0

    def __call__(self, batch, seeds):
        self.count += 1
        return super().__call__(batch, seeds)


class PerTile(Sleepy):
    """Large batches suffer: the smallest is best."""

    def __call__(self, batch, seeds):
        time.sleep(self.seconds * len(batch) ** 2.5)
        return {"value": batch[:, 0]}


def _trial(model: Identity, **given) -> Trial:
    level = level_of(noise((16, 32, 32)))
    return choose_batch(level, TilePlan(level.shape, model.card.tile, model.card.halo), model, **given)


def test_finds_the_best_batch_and_its_price() -> None:
    best = _trial(PerCall((4, 16, 16), 0.02))
    assert best.batch == 8
    assert best.model_s == pytest.approx(0.02 / (8 * 2), rel=0.5)
    assert best.tile_s == best.model_s + best.read_s / 2
    assert _trial(PerTile((4, 16, 16), 0.02)).batch == 1


def test_calls_stay_short_enough_to_cancel() -> None:
    model = PerCall((4, 16, 16), 0.3)
    assert _trial(model).batch == 2  # the first size alone tells nothing
    assert model.total <= 12, "larger batches, whose calls would take longer, are not tried"


def test_a_slow_pass_is_timed_once(monkeypatch) -> None:
    monkeypatch.setattr(trial, "SLOW_S", 0.05)
    model = Counting((4, 16, 16), 0.1)
    assert _trial(model, sizes=(1,)).model_s == pytest.approx(0.1 / 2, rel=0.5)
    assert model.count == 2  # two calls at once


def test_ends_in_time() -> None:
    model = PerCall((4, 16, 16), 0.1)
    assert _trial(model, seconds=0.1).batch == 2
    assert model.total <= 12


def test_damaged_places_are_passed_over() -> None:
    model, plan = Identity((4, 8, 8)), TilePlan((4, 8, 64), (4, 8, 8))
    cells = [(0, 0, x) for x in range(8)]
    level = level_of(Chunked(noise((4, 8, 64)), (4, 8, 8), broken=cells[:7]))
    assert choose_batch(level, plan, model).batch >= 1
    level = level_of(Chunked(noise((4, 8, 64)), (4, 8, 8), broken=cells))
    with pytest.raises(ChunkError, match="is damaged"):
        choose_batch(level, plan, model)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(InputError, match=r"got sizes \(0, 1\)"):
        _trial(Identity((4, 16, 16)), sizes=(0, 1))
    assert np.isfinite(_trial(Identity((4, 16, 16)), sizes=(3,)).tile_s)
