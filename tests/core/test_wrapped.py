"""Law: a view of an array has its array's extent, and is read whole as it is read in parts."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.views.holes import holed
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.views.without import without
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.on_grid import part_of

VALUES = np.random.default_rng(0).integers(0, 9, (4, 6, 8), np.uint8)
LEVEL = Level(VALUES, (1.0, 1.0, 1.0))
VIEWS = {
    "inverted": (inverted(Volume((LEVEL,))).levels[0].array, 255 - VALUES),
    "without": (without(Volume((LEVEL,), kind="labels"), [3]).levels[0].array, np.where(VALUES == 3, 0, VALUES)),
    "holed": (holed(LEVEL).array, VALUES.astype(np.float32)),
    "part": (part_of(LEVEL, Box((1, 2, 3), (4, 6, 7))).array, VALUES[1:4, 2:6, 3:7]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_an_array(name):
    view, expected = VIEWS[name]
    assert (view.shape, view.dtype, view.ndim, view.size) == (
        expected.shape, expected.dtype, expected.ndim, expected.size,
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(view), expected)
    np.testing.assert_array_equal(view[(slice(1, 3), slice(0, 2), slice(2, 4))], expected[1:3, :2, 2:4])


def test_chunks_are_those_of_the_array_where_it_has_some():
    class Chunked:
        shape, dtype, chunks = VALUES.shape, VALUES.dtype, (2, 3, 4)

    chunked = Level(Chunked(), LEVEL.voxel_nm)
    assert inverted(Volume((chunked,))).levels[0].array.chunks == (2, 3, 4)
    assert VIEWS["inverted"][0].chunks is None
    assert not hasattr(holed(chunked).array, "chunks")  # a hole is as large as what is read
