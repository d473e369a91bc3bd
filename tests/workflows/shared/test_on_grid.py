"""Masks and labels on grids that differ: nearest voxels, read as napari and numpy read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.on_grid import kept_where, on_grid, placed_on

RNG = np.random.default_rng(0)
FINE = RNG.integers(1, 99, (6, 8, 10)).astype(np.uint16)


def test_the_same_grid_is_the_same_array():
    level = Level(FINE, (10.0, 10.0, 10.0), (5.0, 0.0, 0.0))
    seen = on_grid(level, Level(np.zeros(FINE.shape), level.voxel_nm, level.origin_nm))
    np.testing.assert_array_equal(seen.read(seen.box), FINE)
    assert seen.dtype == np.uint16


@pytest.mark.parametrize("key", [2, (2,), (slice(1, 4), 3), (..., slice(2, 7)), (2, ..., 1), (slice(0, 6, 2), 1, 2)])
def test_it_is_indexed_as_an_array(key):
    level = Level(FINE, (10.0, 10.0, 10.0))
    np.testing.assert_array_equal(on_grid(level, level).array[key], FINE[key])


def test_coarser_voxels_cover_finer_ones_and_outside_is_0():
    coarse = Level(np.arange(1, 9, dtype=np.uint8).reshape(2, 2, 2), (20.0, 20.0, 20.0), (0.0, 20.0, 0.0))
    grid = Level(np.zeros((5, 6, 4)), (10.0, 10.0, 10.0))
    seen = on_grid(coarse, grid).array[:, :, :]
    expected = np.zeros((5, 6, 4))
    expected[:4, 2:6] = np.kron(coarse.array, np.ones((2, 2, 2)))
    np.testing.assert_array_equal(seen, expected)


def test_labels_are_kept_where_the_mask_of_another_grid_says():
    labels = Volume((Level(FINE, (10.0, 10.0, 10.0)), Level(FINE[::2, ::2, ::2], (20.0, 20.0, 20.0))), kind="labels")
    mask = Volume((Level(RNG.integers(0, 2, (3, 4, 5)).astype(np.uint8), (20.0, 20.0, 20.0)),), kind="labels")
    kept = kept_where(labels, mask)
    big = np.kron(mask.levels[0].array, np.ones((2, 2, 2), np.uint16))
    np.testing.assert_array_equal(kept.levels[0].read(kept.levels[0].box), FINE * big)
    np.testing.assert_array_equal(kept.levels[1].array[1], (FINE[::2, ::2, ::2] * mask.levels[0].array)[1])
    assert kept.levels[0].dtype == np.uint16
    assert (kept.levels[0].array.ndim, kept.levels[0].array.size) == (3, FINE.size)


def test_labels_without_a_voxel_size_lie_on_the_image_voxel_for_voxel():
    """A TIFF file that states no size has voxels of 1: taken as nm, it would cover a corner of the image."""
    image = Volume((Level(FINE, (40.0, 8.0, 8.0), (0.0, 16.0, 0.0)),), name="em")
    coarse = Level(FINE[:, ::2, ::2], (40.0, 16.0, 16.0), (0.0, 16.0, 0.0))
    unstated = Volume((Level(FINE, (1.0, 1.0, 1.0)),), calibrated=False)
    for labels in (FINE, unstated):
        seen = placed_on(labels, image, image.levels[0])
        np.testing.assert_array_equal(seen.read(seen.box), FINE)
    np.testing.assert_array_equal(placed_on(FINE[:, ::2, ::2], image, coarse).array[:], FINE[:, ::2, ::2])
    section = Volume((replace(image.levels[0], array=FINE[:1]),))
    np.testing.assert_array_equal(placed_on(FINE[0], section, section.levels[0]).array[:], FINE[:1])


def test_labels_without_a_voxel_size_and_of_another_shape_are_refused():
    image = Volume((Level(FINE, (40.0, 8.0, 8.0)),), name="em")
    with pytest.raises(InputError, match=r"got labels of shape \(6, 8, 9\) without a voxel size for 'em'"):
        placed_on(FINE[..., :9], image, image.levels[0])
