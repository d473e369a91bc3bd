"""Masks of a coarse map on the image's own grid: smooth, complete, and the same however they are tiled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.search.own_grid import drawing_level, is_coarser, own_plan, refined

FINE, FACTOR = Level(np.zeros((2, 97, 121), np.uint8), (40.0, 5.0, 5.0), (7.0, 3.0, 0.0)), 4


def true_mask(centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[: FINE.shape[1], : FINE.shape[2]] + 0.5
    return np.broadcast_to((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2, FINE.shape)


def coarse(mask: np.ndarray) -> Level:
    """The share of each voxel of 4 x 4 that is inside; the image's last row and column are cut off, as in pyramids."""
    share = mask[:, :96, :120].reshape(2, 24, FACTOR, 30, FACTOR).mean((2, 4))
    return Level(np.rint(255 * share).astype(np.uint8), (40.0, 20.0, 20.0), FINE.origin_nm)


def drawn(field: Level, ids: np.ndarray, tile: tuple[int, int, int] = (1, 16, 16)) -> np.ndarray:
    labels = replace(field, array=ids)
    boxes = [
        Box.from_row([*np.argwhere(ids == n).min(0), *(np.argwhere(ids == n).max(0) + 1)]) for n in np.unique(ids)[1:]
    ]
    out = np.zeros(FINE.shape, np.uint32)
    for done, block in refined(field, labels, FINE, TilePlan(FINE.shape, tile, (0, 0, 0)), boxes, 0.5):
        out[done.write.slices] = block
    return out


@pytest.mark.parametrize("tile", [(1, 16, 16), (2, 97, 121), (1, 31, 50)])
def test_a_disc_comes_back_as_a_disc(tile):
    mask = true_mask((40.3, 61.7), 17.0)
    field = coarse(mask)
    ids = (field.array >= 128).astype(np.uint32)
    fine = drawn(field, ids, tile) > 0
    overlap = 2 * (fine & mask).sum() / (fine.sum() + mask.sum())
    blocks = np.zeros(FINE.shape, bool)
    blocks[:, :96, :120] = np.repeat(np.repeat(ids > 0, FACTOR, 1), FACTOR, 2)
    assert overlap > 0.97
    assert overlap > 2 * (blocks & mask).sum() / (blocks.sum() + mask.sum())
    np.testing.assert_array_equal(drawn(field, ids, tile), drawn(field, ids))


def test_neighbours_keep_their_numbers_and_nothing_is_lost():
    field = coarse(true_mask((40, 40), 14) | true_mask((40, 75), 14) | true_mask((80, 100), 2.4))
    ids = np.zeros(field.shape, np.uint32)
    at = field.array >= 64
    ids[at], ids[:, :, 15:][at[:, :, 15:]] = 1, 2
    ids[:, 18:][at[:, 18:]] = 3  # one voxel, that is nowhere interpolated to the threshold
    fine = drawn(field, ids)
    assert np.unique(fine).tolist() == [0, 1, 2, 3]
    assert (fine[0, 40, 40], fine[0, 40, 75]) == (1, 2)


def test_only_coarser_maps_are_drawn_anew():
    assert is_coarser(coarse(true_mask((9, 9), 3)), FINE)
    assert not is_coarser(FINE, FINE)
    assert own_plan(coarse(true_mask((9, 9), 3)), FINE, (1, 8, 8)).tile == (1, 32, 32)


def test_a_gap_goes_to_the_object_that_is_nearer():
    field = coarse(true_mask((40, 60), 40))
    ids = np.zeros(field.shape, np.uint32)
    ids[:, 5:15, 8:14], ids[:, 5:15, 15:20] = 2, 1  # one column between them has no number
    fine = drawn(field, ids)
    assert (fine[0, 40, 4 * 14 + 1], fine[0, 40, 4 * 14 + 2]) == (2, 1)


def test_tiles_stay_small_and_grids_within_reason():
    map_level = Level(np.zeros((16, 8, 8), np.uint8), (80.0, 80.0, 80.0))
    fine = [Level(np.zeros((2, 2, 2), np.uint8), (f, f, f)) for f in (1.0, 10.0, 40.0)]
    own = drawing_level(Volume((*fine, map_level)), map_level)
    assert own.voxel_nm == (10, 10, 10)
    assert np.prod(own_plan(map_level, own, (32, 64, 64)).tile) <= 2**20
