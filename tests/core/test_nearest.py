"""Nearest voxels of another grid: the same in pieces as at once, and never much more in memory than is asked for."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.views import nearest as home
from napari_connecto.core.views.nearest import nearest
from napari_connecto.core.volume import Level


class Counted:
    """An array that remembers the largest read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype, self.ndim, self.most = values, values.shape, values.dtype, 3, 0

    def __getitem__(self, key):
        found = self.values[key]
        self.most = max(self.most, found.size)
        return found


def test_of_a_much_finer_level_only_pieces_are_read(monkeypatch):
    fine = Counted(np.random.default_rng(0).integers(0, 255, (24, 48, 64), np.uint8))
    level, grid = Level(fine, (5.0, 5.0, 5.0)), Level(np.zeros((6, 12, 16)), (20.0, 20.0, 20.0))
    box = Box((1, 0, 2), (6, 12, 15))
    whole = nearest(level, grid, box)
    np.testing.assert_array_equal(whole, fine.values[2::4, 2::4, 2::4][box.slices])
    monkeypatch.setattr(home, "PIECE", 2000)
    fine.most = 0
    np.testing.assert_array_equal(nearest(level, grid, box), whole)
    assert fine.most <= 2000
