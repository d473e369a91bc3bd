"""What a viewer does not show is not read."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.lazy import Flat, Relabelled, Stored, cut_first
from napari_connecto.widgets.viewer.show import layer_data, store_layer

WHOLE = np.arange(6 * 40 * 50, dtype=np.uint16).reshape(6, 40, 50)
KEYS = [
    (2,),
    (slice(None), slice(3, 9), slice(4, 44)),
    (slice(1, -1), slice(None), slice(5, 5)),
    (slice(None, None, 2), 3),
    (..., 7),
    (1, ..., slice(2, 9)),
    (-1, slice(-9, None), slice(None, None, -1)),
    (slice(0, 4), np.array([3, 5]), 2),
    (...,),
]


class Store:
    """Like zarr: reads what it is asked for, and counts it."""

    chunks = (2, 16, 16)

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim, self.read = array, array.shape, array.dtype, array.ndim, 0

    def __getitem__(self, key):
        found = self.array[key]
        self.read += found.size
        return found


def stores():
    return [Store(WHOLE), Store(WHOLE[:, ::2, ::2])]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("first", [(slice(None),), (slice(1, 6), slice(2, 38), slice(None, -2))], ids=["all", "cut"])
def test_it_is_the_array_that_it_stands_for(key, first):
    """Also if it is cut before, as napari does."""
    lazy = Stored(WHOLE)[first]
    np.testing.assert_array_equal(lazy[key], WHOLE[first][key])
    np.testing.assert_array_equal(lazy[key] + 1 > 5, WHOLE[first][key] + 1 > 5)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=["sections", "from the front"])
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_a_pyramid_reads_the_section_in_view_and_no_other(kind, order):
    """Whichever axis is sliced. napari cuts along the displayed axes first: the whole depth of an eager array."""
    read = stores()
    volume = Volume((Level(read[0], (30, 8, 8)), Level(read[1], (30, 16, 16))), kind=kind)
    data, keywords, _ = layer_data(volume, **({"contrast_limits": (0, 9)} if kind == "image" else {}))
    viewer = ViewerModel()
    layer = (viewer.add_image if kind == "image" else viewer.add_labels)(data, **keywords)
    viewer.dims.order = order
    for store in read:
        store.read = 0
    viewer.dims.set_current_step(order[0], 5)
    section = np.prod([WHOLE.shape[axis] for axis in order[1:]])
    assert 0 < sum(store.read for store in read) <= 2 * section  # it, and its thumbnail
    assert layer.multiscale


def test_result_layers_and_relabelled_ones_read_a_section_too():
    read = stores()
    volume = Volume((Level(read[0], (30, 8, 8)), Level(read[1], (30, 16, 16))), kind="labels")
    viewer = ViewerModel()
    image = viewer.add_image(WHOLE, scale=(30, 8, 8), units="nm")
    arrays, keywords = store_layer(volume, image, volume.levels[0])
    shown = viewer.add_labels([Relabelled(a, np.arange(2**16, dtype=np.uint32)) for a in arrays], **keywords)
    for store in read:
        store.read = 0
    viewer.dims.set_current_step(0, 5)
    assert 0 < sum(store.read for store in read) <= 2 * WHOLE[0].size
    np.testing.assert_array_equal(np.asarray(shown.data[0]), WHOLE)


def test_a_job_reads_from_the_store_itself():
    """The arrays of the viewer are not sent to workers."""
    read = stores()
    volume = Volume((Level(read[0], (30, 8, 8)), Level(read[1], (30, 16, 16))), kind="labels")
    data, keywords, _ = layer_data(volume)
    layer = ViewerModel().add_labels(data, **keywords)
    assert list(describe(layer).arrays) == read


def test_a_single_level_stays_what_it_is():
    """It is painted on, and napari picks its section first."""
    assert cut_first([WHOLE])[0] is WHOLE
    assert isinstance(cut_first([WHOLE, Store(WHOLE)])[1], Stored)


def test_the_only_section_of_a_flat_volume_has_two_axes():
    flat = Flat(Store(WHOLE[:1]))
    assert (flat.shape, flat.chunks) == ((40, 50), (16, 16))
    np.testing.assert_array_equal(flat[3:9, 4], WHOLE[0, 3:9, 4])
