"""Plain zarr arrays: what they state of axes, order, origin and units is used or refused, never ignored."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.read import open_volume

ARRAY = np.random.default_rng(0).integers(0, 99, (8, 6, 10)).astype("u1")


def plain(path, attributes=None, array=ARRAY, names=None, zarr_format=3):
    stored = zarr.create_array(
        path, shape=array.shape, dtype=array.dtype, dimension_names=names, zarr_format=zarr_format
    )
    stored[...] = array
    stored.attrs.update(attributes or {})
    return path


@pytest.mark.parametrize("where", ["dimension_names", "_ARRAY_DIMENSIONS", "axis_names", "axes"])
@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["depth", "height", "width"], (0, 1, 2)),
        (["x", "y", "z"], (2, 1, 0)),
        (["row", "col", "plane"], (2, 0, 1)),
        (["Y", "X", "Z"], (2, 0, 1)),
        (["dim_0", "dim_1", "dim_2"], (0, 1, 2)),
    ],
)
def test_names_of_axes_count(tmp_path, where, names, order):
    if where == "dimension_names":
        path = plain(tmp_path / "a", names=names)
    else:
        path = plain(tmp_path / "a", {where: names}, zarr_format=2)
    level = open_volume(path).levels[0]
    np.testing.assert_array_equal(level.read(level.box), ARRAY.transpose(order))


@pytest.mark.parametrize("as_text", [True, False])
def test_axistags_count(tmp_path, as_text):
    def tagged(name, tags):
        return plain(tmp_path / name, {"axistags": json.dumps(tags) if as_text else tags}, zarr_format=2)

    level = open_volume(tagged("a", {"axes": [{"key": key} for key in "xyz"]})).levels[0]
    np.testing.assert_array_equal(level.read(level.box), ARRAY.transpose(2, 1, 0))
    with pytest.raises(InputError, match="got 8 times and none picked"):
        open_volume(tagged("b", {"axes": [{"key": key} for key in "tyx"]}))
    with pytest.raises(InputError, match="axistags are not those of vigra"):
        open_volume(tagged("c", {"tags": []}))


def test_names_that_are_not_understood_are_asked_for(tmp_path):
    path = plain(tmp_path / "a", names=["a", "b", "c"])
    with pytest.raises(InputError, match=r"names its axes \['a', 'b', 'c'\].*--axes zyx"):
        open_volume(path)
    level = open_volume(path, axes="yxz").levels[0]
    np.testing.assert_array_equal(level.read(level.box), ARRAY.transpose(2, 0, 1))
    with pytest.raises(InputError, match=r"names its axes \['z', 'y', 'x'\] and \['x', 'y', 'z'\]"):
        open_volume(plain(tmp_path / "b", {"axis_names": ["x", "y", "z"]}, names=["z", "y", "x"]))
    with pytest.raises(InputError, match="got 8 times and none picked"):
        open_volume(plain(tmp_path / "c", names=["time", "y", "x"]))


@pytest.mark.parametrize(
    ("attributes", "voxel", "origin"),
    [
        ({"resolution": [40, 4, 5], "offset": [80, 32, 30]}, (40, 4, 5), (80, 32, 30)),
        (
            {"voxel_size": [0.5, 0.1, 0.2], "units": ["um"] * 3, "offset": [1, 2, 3]},
            (500, 100, 200),
            (1000, 2000, 3000),
        ),
        ({"voxel_size": [0.5, 0.1, 0.2], "units": "micrometer"}, (500, 100, 200), (0, 0, 0)),
        ({"resolution": [4, 5, 40], "offset": [32, 30, 80], "axis_names": ["x", "y", "z"]}, (40, 5, 4), (80, 30, 32)),
        ({"pixelResolution": {"dimensions": [4, 4, 4], "unit": "nm"}}, (4, 4, 4), (0, 0, 0)),
        ({"pixelResolution": {"dimensions": [0.4] * 3, "unit": "um"}}, (400, 400, 400), (0, 0, 0)),
        (
            {"transform": {"axes": list("zyx"), "scale": [40, 4, 4], "translate": [100, 10, 10], "units": ["nm"] * 3}},
            (40, 4, 4),
            (80, 8, 8),
        ),
        ({"element_size_um": [0.5, 0.1, 0.1]}, (500, 100, 100), (0, 0, 0)),
        ({"element_size_um": [0.04, 0.004, 0.004], "offset_nm": [80, 32, 32]}, (40, 4, 4), (80, 32, 32)),
        ({"element_size_um": [0.04, 0.004, 0.004], "resolution": [40, 4, 4]}, (40, 4, 4), (0, 0, 0)),
        ({"voxel_size_nm": [40, 4, 4], "unit": "um", "offset": [1, 2, 3]}, (40, 4, 4), (1000, 2000, 3000)),
        ({"voxel_size_um": [0.04, 0.004, 0.004], "unit": "nm", "offset": [1, 2, 3]}, (40, 4, 4), (1, 2, 3)),
        ({"resolution": [0.04, 0.004, 0.004], "unit": "um", "offset_nm": [80, 32, 32]}, (40, 4, 4), (80, 32, 32)),
        ({"spacing": [0.5, 0.1, 0.1], "unit": "um", "origin": [1, 1, 1]}, (500, 100, 100), (750, 950, 950)),
    ],
)
def test_sizes_origins_and_units_are_used(tmp_path, attributes, voxel, origin):
    volume = open_volume(plain(tmp_path / "a", attributes))
    assert volume.calibrated
    np.testing.assert_allclose(volume.levels[0].voxel_nm, voxel)
    np.testing.assert_allclose(volume.levels[0].origin_nm, origin)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}, r"\[4, 4, 40\], x y z or z y x"),
        ({"resolution": [4, 4, 4], "downsamplingFactors": [2, 2, 2]}, "states downsamplingFactors"),
        ({"offset": [80, 32, 32]}, r"states offset \[80, 32, 32\] and no voxel size"),
        ({"element_size_um": [0.04, 0.004, 0.004], "offset": [1, 2, 3]}, "states offset .* no voxel size in its unit"),
        ({"element_size_um": [0.04, 0.004, 0.004], "resolution": [30, 4, 4]}, "element_size_um, which differ"),
        ({"resolution": "high"}, "states 'high' for 3 axes"),
        ({"resolution": [0, 1, 1]}, "sizes are positive numbers"),
        ({"resolution": [4, 4]}, r"states \[4, 4\] for 3 axes"),
        ({"resolution": [4, 4, 4], "voxel_size": [4, 4, 8]}, "states resolution and voxel_size, which differ"),
        ({"resolution": [4, 4, 4], "units": ["nm", "nm"]}, "states units"),
        ({"resolution": [4, 4, 4], "offset": [1, 1, 1], "origin": [2, 2, 2]}, "states offset and origin"),
    ],
)
def test_what_is_not_understood_is_refused_until_the_size_is_given(tmp_path, attributes, message):
    path = plain(tmp_path / "a", attributes)
    with pytest.raises(InputError, match=message) as caught:
        open_volume(path)
    assert "--voxel-nm Z Y X" in str(caught.value)
    assert open_volume(path, voxel_nm=(40, 4, 4)).levels[0].voxel_nm == (40, 4, 4)


def test_an_offset_counts_beside_a_size_that_is_given(tmp_path):
    level = open_volume(plain(tmp_path / "a", {"offset": [80, 32, 32]}), voxel_nm=(40, 4, 4)).levels[0]
    assert level.origin_nm == (80, 32, 32)
    micrometres = plain(tmp_path / "b", {"offset": [80, 32, 32], "unit": "um"})
    assert open_volume(micrometres, voxel_nm=(40, 4, 4)).levels[0].origin_nm == (80e3, 32e3, 32e3)


@pytest.mark.parametrize(
    "attributes", [{"voxel_size": [0.5, 0.1, 0.1]}, {"spacing": [5, 1, 1]}, {"resolution": [5, 1, 1], "units": "pixel"}]
)
def test_sizes_without_a_known_unit_are_ratios(tmp_path, attributes):
    volume = open_volume(plain(tmp_path / "a", attributes))
    assert not volume.calibrated
    np.testing.assert_allclose(np.array(volume.levels[0].voxel_nm) / volume.levels[0].voxel_nm[1], (5, 1, 1))


def test_channels_have_no_size(tmp_path):
    for size in ([40, 4, 4], [1, 40, 4, 4]):
        attributes = {"axis_names": ["c^", "z", "y", "x"], "resolution": size}
        volume = open_volume(plain(tmp_path / str(len(size)), attributes, ARRAY[None]), channel=0)
        assert volume.levels[0].voxel_nm == (40, 4, 4)


def dataset(path, coordinates):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("data", data=ARRAY).attrs["_ARRAY_DIMENSIONS"] = list("zyx")
    for name, (values, unit) in coordinates.items():
        array = group.create_array(name, data=np.asarray(values))
        array.attrs.update({"_ARRAY_DIMENSIONS": [name], **({"units": unit} if unit else {})})
    return path


def test_xarrays_coordinates_are_centres(tmp_path):
    steps = {"z": (0.5, 1), "y": (0.1, 2), "x": (0.2, 3)}
    places = {a: (o + s * np.arange(n), "um") for (a, (s, o)), n in zip(steps.items(), ARRAY.shape, strict=True)}
    path = dataset(tmp_path / "a", places)
    for volume in (open_volume(path, array="data"), open_volume(path / "data")):
        assert volume.calibrated
        np.testing.assert_allclose(volume.levels[0].voxel_nm, (500, 100, 200))
        np.testing.assert_allclose(volume.levels[0].origin_nm, (750, 1950, 2900))
    counted = dataset(tmp_path / "b", {a: (np.arange(n), None) for a, n in zip("zyx", ARRAY.shape, strict=True)})
    assert open_volume(counted, array="data").levels[0].origin_nm == (0, 0, 0)
    uneven = dataset(tmp_path / "c", {**places, "z": (np.arange(8.0) ** 2, "um")})
    with pytest.raises(InputError, match=r"along 'z' that are not evenly spaced and increasing; .*--voxel-nm"):
        open_volume(uneven, array="data")


def test_attributes_and_coordinates_must_not_contradict(tmp_path):
    places = {a: (0.1 * np.arange(n), "um") for a, n in zip("zyx", ARRAY.shape, strict=True)}
    path = dataset(tmp_path / "a", places)
    array = zarr.open_group(path, mode="a")["data"]
    array.attrs["resolution"] = [100, 100, 100]
    assert open_volume(path, array="data").levels[0].voxel_nm == (100, 100, 100)
    array.attrs["resolution"] = [300, 100, 100]
    with pytest.raises(InputError, match="voxel size of 300 nm, its coordinates 100 nm"):
        open_volume(path, array="data")
    assert open_volume(path, array="data", voxel_nm=(40, 4, 4)).levels[0].voxel_nm == (40, 4, 4)


def test_what_the_group_states_counts_where_it_is_clear_of_which_array(tmp_path):
    group = zarr.open_group(tmp_path / "g", mode="w")
    group.create_array("raw", data=ARRAY)
    group.attrs.update({"resolution": [40, 4, 4], "offset": [80, 32, 32]})
    for volume in (open_volume(tmp_path / "g", array="raw"), open_volume(tmp_path / "g" / "raw")):
        assert (volume.levels[0].voxel_nm, volume.levels[0].origin_nm) == ((40, 4, 4), (80, 32, 32))
    group.create_array("half", data=ARRAY[:, ::2, ::2])
    with pytest.raises(InputError, match=r"the group of 'half' states offset, resolution, .*--voxel-nm"):
        open_volume(tmp_path / "g", array="half")
    assert open_volume(tmp_path / "g", array="half", voxel_nm=(40, 8, 8)).levels[0].voxel_nm == (40, 8, 8)
    group["half"].attrs["resolution"] = [40, 8, 8]
    assert open_volume(tmp_path / "g", array="half").levels[0].voxel_nm == (40, 8, 8)
