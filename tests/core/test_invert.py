"""Dark and bright exchanged: right values of every type, lazily, and another identity than the original's."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Volume


def volume(values, dtype="uint8", kind="image"):
    array = np.asarray(values, dtype).reshape(1, 1, -1)
    return Volume.from_array(array, (4.0, 2.0, 2.0), name="em", kind=kind)


@pytest.mark.parametrize(
    ("dtype", "values", "wanted"),
    [
        ("uint8", [0, 1, 255], [255, 254, 0]),
        ("uint16", [0, 4095, 65535], [65535, 61440, 0]),
        ("int16", [-32768, 0, 32767], [32767, -1, -32768]),
        ("float32", [0.0, 0.25, 1.0], [1.0, 0.75, 0.0]),
    ],
)
def test_values_of_every_type(dtype, values, wanted):
    level = inverted(volume(values, dtype)).levels[0]
    block = level.read(level.box)
    assert block.dtype == level.dtype == np.dtype(dtype)
    assert block.ravel().tolist() == wanted
    twice = inverted(inverted(volume(values, dtype))).levels[0]
    assert twice.read(twice.box).ravel().tolist() == values


class Counted:
    shape, dtype, chunks = (4, 8, 8), np.dtype("uint8"), (1, 8, 8)

    def __init__(self):
        self.read = []

    def __getitem__(self, key):
        self.read.append(key)
        return np.zeros(self.shape, self.dtype)[key]


def test_nothing_is_read_before_it_is_asked_for_and_then_only_that():
    array = Counted()
    level = inverted(Volume.from_array(array, (4.0, 2.0, 2.0))).levels[0]
    assert (level.array.chunks, level.array.size, array.read) == ((1, 8, 8), 256, [])
    assert level.read(Box((1, 0, 0), (2, 4, 4))).tolist() == [[[255] * 4] * 4]
    assert array.read == [(..., slice(1, 2), slice(0, 4), slice(0, 4))]


def test_a_result_of_one_is_not_taken_for_one_of_the_other():
    plain = volume([1, 2, 3])
    seen = inverted(plain)
    assert seen.fingerprint() != plain.fingerprint()
    assert seen.metadata["inverted"] is True
    assert inverted(plain).fingerprint() == seen.fingerprint()


def test_it_can_be_resampled_and_read_as_an_array():
    seen = inverted(volume([0, 0, 8, 0, 0, 0, 0, 0]))
    small = resampled(seen.levels[0], (4.0, 2.0, 4.0))
    assert small.read(small.box).ravel().tolist() == [254.0, 252.0, 255.0, 255.0]
    assert np.asarray(seen.levels[0].array).ravel().tolist() == [255, 255, 247, 255, 255, 255, 255, 255]


def test_labels_are_refused():
    with pytest.raises(InputError, match="cannot invert the labels 'em'; only images have intensities"):
        inverted(volume([1], kind="labels"))
