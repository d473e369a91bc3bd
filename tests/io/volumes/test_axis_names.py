from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.axis_names import axis_letter, check_axes, understood
from napari_connecto.io.volumes.read import open_volume


@pytest.mark.parametrize(
    ("names", "letters"),
    [
        (["depth", "height", "width"], "zyx"),
        (["width", "height", "depth"], "xyz"),
        (["plane", "row", "col"], "zyx"),
        (["X", "Y", "Z"], "xyz"),
        (["Time", "Channel", "Slice", "Row", "Column"], "tczyx"),
        (["c^", "z", "y", "x"], "czyx"),
        (["dim_z", "dim_y", "dim_x"], "zyx"),
        (["z_axis", "y_axis", "x_axis"], "zyx"),
        ("zyx", "zyx"),
        (["y", "x", "rgb"], "yxc"),
    ],
)
def test_words_capitals_and_orders_are_understood(names, letters):
    assert understood(names, range(2, 2 + len(names)), "'v'") == list(letters)


@pytest.mark.parametrize(
    "names", [None, [], [None, None, None], ["", "", ""], ["dim_0", "dim_1", "dim_2"], ["phony_dim_0"]]
)
def test_what_names_nothing_is_no_statement(names):
    assert understood(names, (2, 3, 4), "'v'") is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "c"], r"'v' names its axes \['a', 'b', 'c'\], of which 'a' is not understood; .*--axes zyx"),
        (["z", None, None], "some are empty"),
        (["slice", "depth", "x"], "two of them mean the same"),
        (["y", "x"], r"names the axes \['y', 'x'\] of an array of shape \(2, 3, 4\)"),
        ({"z": 0}, "names the axes"),
        (["z_um", "y", "x"], "'z_um' is not understood"),
    ],
)
def test_what_is_not_understood_is_asked_for(names, message):
    with pytest.raises(InputError, match=message):
        understood(names, (2, 3, 4), "'v'")


def test_an_axis_of_one_voxel_may_be_called_anything():
    assert understood(["angle", "y", "x"], (1, 3, 4), "'v'") == ["angle", "y", "x"]


@given(st.text(max_size=12))
def test_no_name_makes_a_traceback(name):
    assert axis_letter(name) in {None, *"tczyx"}


def test_axes_that_the_caller_gives_count(tmp_path):
    array = np.arange(2 * 3 * 4, dtype="u1").reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = array
    for axes, expected in (("xyz", array.T), ("zyx", array)):
        level = open_volume(tmp_path / "a.h5", axes=axes).levels[0]
        np.testing.assert_array_equal(level.read(level.box), expected)
    level = open_volume(tmp_path / "a.h5", axes="cyx", channel=1).levels[0]
    np.testing.assert_array_equal(level.read(level.box), array[1:])
    with pytest.raises(InputError, match=r"got axes='yx' for an array of shape \(2, 3, 4\)"):
        open_volume(tmp_path / "a.h5", axes="yx")
    for bad in ("zyy", "abc", "", "zx", 3):
        with pytest.raises(InputError, match="got axes="):
            check_axes(bad)
