from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.views import guess_axes, view
from tests.io.travel import travelled


class Memory:
    """A source that notes what it is asked for."""

    chunks = None

    def __init__(self, array):
        self.array, self.asked = array, []
        self.shape, self.dtype = array.shape, array.dtype

    def read(self, index):
        self.asked.append(index)
        return self.array[index]


ARRAY = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
PART = st.one_of(
    st.integers(-4, 3),
    st.builds(slice, st.integers(-5, 5) | st.none(), st.integers(-5, 5) | st.none(), st.sampled_from([None, 1, 2])),
)


@given(key=st.tuples(PART, PART, PART), drop=st.integers(0, 3), dots=st.booleans())
def test_indexing_is_numpys(key, drop, dots):
    shown = view(Memory(ARRAY), "tczyx", 1, 0)
    key = key[drop:]
    key = (..., *key) if dots else key
    np.testing.assert_array_equal(shown[key], ARRAY[0, 1][key])


@given(axes=st.permutations("tczyx"), key=st.tuples(PART, PART, PART))
def test_any_stored_order_is_shown_as_c_z_y_x(axes, key):
    stored = ARRAY.transpose([("tczyx").index(a) for a in axes])
    shown = view(Memory(stored), list(axes), "all", 1)
    assert shown.shape == (3, 4, 5, 6)
    np.testing.assert_array_equal(shown[(..., *key)], ARRAY[1][(..., *key)])
    np.testing.assert_array_equal(np.asarray(travelled(shown)), ARRAY[1])


def test_only_what_is_asked_for_is_read():
    source = Memory(ARRAY)
    shown = view(source, "tczyx", 2, 1)
    shown[1:3, 2, 4:6]
    assert source.asked == [(slice(1, 2), slice(2, 3), slice(1, 3), slice(2, 3), slice(4, 6))]
    assert shown[0:0].shape == (0, 5, 6)
    assert len(source.asked) == 1


def test_bad_indices_are_refused():
    shown = view(Memory(ARRAY), "tczyx", 0, 0)
    with pytest.raises(IndexError, match="out of range for an axis of 4"):
        shown[4]
    with pytest.raises(IndexError, match="got 4 indices for an array of 3 axes"):
        shown[0, 0, 0, 0]
    with pytest.raises(IndexError, match="positive steps only"):
        shown[::-1]


def test_absent_axes():
    flat = view(Memory(ARRAY[0, 0, 0]), "yx", None, None)
    assert (flat.shape, flat.ndim, flat.nbytes) == ((1, 5, 6), 3, 240)
    assert view(Memory(ARRAY[0, 0]), "zyx", "all", 0).shape == (1, 4, 5, 6)
    with pytest.raises(InputError, match="got channel=1; there is no channel axis"):
        view(Memory(ARRAY[0, 0]), "zyx", 1, None)
    with pytest.raises(InputError, match="got time=1; there is no time axis"):
        view(Memory(ARRAY[0, 0]), "zyx", None, 1)


def test_axes_guessed_from_a_shape():
    shapes = {(9, 9): "yx", (9, 9, 9): "zyx", (9, 9, 3): "yxc", (2, 9, 9, 9): "czyx", (9, 9, 9, 4): "zyxc"}
    assert {shape: guess_axes(shape) for shape in shapes} == shapes
    assert guess_axes((4, 4, 4)) == "zyx"
    with pytest.raises(InputError, match=r"got an array of shape \(1,\)"):
        guess_axes((1,))
