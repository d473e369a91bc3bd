"""What an HDF5 dataset states of axes, order, origin and units is used or refused, never ignored."""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.read import open_volume
from tests.io.travel import travelled

STACK = np.random.default_rng(0).integers(0, 60000, (6, 20, 30)).astype("u2")  # z y x


def tags(keys, **resolution):
    return json.dumps({"axes": [{"key": k, "typeFlags": 2, "resolution": resolution.get(k, 0.0)} for k in keys]})


def opened(path, array=STACK, labels=(), *, open=None, **attrs):
    path = path / f"{len(list(path.iterdir()))}.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", data=array)
        for name, value in attrs.items():
            dataset.attrs[name] = value
        for dim, label in zip(dataset.dims, labels, strict=False):
            dim.label = label
    return travelled(open_volume(path, **(open or {})))


def turned(order, array=STACK):
    """`STACK` (z y x) stored in another order."""
    return np.ascontiguousarray(array.transpose(["zyx".index(a) for a in order]))


@pytest.mark.parametrize("order", ["zyx", "xyz", "yxz", "yzx", "xzy"])
@pytest.mark.parametrize("how", ["axistags", "axistags in bytes", "axis_names", "axes", "dimensions", "words"])
def test_the_order_of_axes_is_that_which_is_stated(tmp_path, order, how):
    stored = turned(order)
    words = {"z": "Slices", "y": "height", "x": "width"}
    volume = {
        "axistags": lambda: opened(tmp_path, stored, axistags=tags(order)),
        "axistags in bytes": lambda: opened(tmp_path, stored, axistags=tags(order).encode()),
        "axis_names": lambda: opened(tmp_path, stored, axis_names=list(order)),
        "axes": lambda: opened(tmp_path, stored, axes=order.upper()),
        "dimensions": lambda: opened(tmp_path, stored, list(order)),
        "words": lambda: opened(tmp_path, stored, [words[a] for a in order]),
    }[how]()
    level = volume.levels[0]
    np.testing.assert_array_equal(level.read(level.box), STACK)


def test_channels_and_time_points_are_those_that_are_stated(tmp_path):
    flat = STACK.reshape(3, 2, 20, 30)
    choice = {"open": {"channel": 1}}
    level = opened(tmp_path, flat.transpose(0, 2, 3, 1), axistags=tags("zyxc"), **choice).levels[0]
    np.testing.assert_array_equal(level.read(level.box), flat[:, 1])
    with pytest.raises(InputError, match="got 3 times and none picked"):
        opened(tmp_path, flat, axistags=tags("tzyx"))
    level = opened(tmp_path, flat, axistags=tags("tzyx"), open={"time": 2}).levels[0]
    np.testing.assert_array_equal(level.read(level.box), flat[2])
    assert opened(tmp_path, STACK[:1, :, :, None], axistags=tags("zyxc")).levels[0].shape == (1, 20, 30)


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"axistags": tags("zy")}, r"names the axes \['z', 'y'\]"),
        ({"axistags": "no json"}, "axistags are not those of vigra"),
        ({"axistags": tags("zye")}, "'e' is not understood"),
        ({"axistags": tags("zyy")}, "two of them mean the same"),
        (
            {"axistags": tags("zyx"), "axis_names": list("xyz")},
            "names its axes differently .axistags: z y x, axis_names",
        ),
        ({"labels": ["z", "", ""]}, "some are empty"),
    ],
)
def test_axes_that_are_not_understood_are_asked_for(tmp_path, kept, says):
    with pytest.raises(InputError, match=rf"{says}.*--axes"):
        opened(tmp_path, **kept)
    level = opened(tmp_path, **kept, open={"axes": "zyx"}).levels[0]
    np.testing.assert_array_equal(level.read(level.box), STACK)


NM = (40.0, 8.0, 4.0)


@pytest.mark.parametrize(
    ("attrs", "voxel_nm", "origin_nm"),
    [
        ({"resolution": NM}, NM, (0, 0, 0)),
        ({"resolution": NM, "offset": (80.0, 32.0, 12.0)}, NM, (80, 32, 12)),
        ({"resolution": NM, "offset": (-80, 0, 12)}, NM, (-80, 0, 12)),
        ({"resolution": (0.04, 0.008, 0.004), "offset": (1.0, 2.0, 3.0), "units": "um"}, NM, (1000, 2000, 3000)),
        ({"voxel_size": (40, 8, 4), "offset": (80, 32, 12), "units": ["nm"] * 3}, NM, (80, 32, 12)),
        ({"resolution": (40, 0.008, 4), "unit": ["nm", "µm", "nm"]}, NM, (0, 0, 0)),
        ({"element_size_um": (0.04, 0.008, 0.004)}, NM, (0, 0, 0)),
        ({"element_size_um": (0.04, 0.008, 0.004), "resolution": NM}, NM, (0, 0, 0)),
        ({"resolution": 8.0}, (8, 8, 8), (0, 0, 0)),
        ({"resolution": (0.04, 0.008, 0.004)}, None, (0, 0, 0)),
        ({"voxel_size_nm": (0.4, 0.8, 0.4)}, (0.4, 0.8, 0.4), (0, 0, 0)),
        ({"voxel_size_um": (0.04, 0.008, 0.004)}, NM, (0, 0, 0)),
        ({"voxelSize": NM, "origin": (100, 8, 4)}, NM, (80, 4, 2)),
        ({"spacing": (0.04, 0.008, 0.004), "unit": "micrometer"}, NM, (0, 0, 0)),
        ({"voxel_size_nm": NM, "unit": "um", "offset": (1, 2, 3)}, NM, (1000, 2000, 3000)),
        ({"voxel_size_um": (0.04, 0.008, 0.004), "unit": "nm", "offset": (1, 2, 3)}, NM, (1, 2, 3)),
        ({"spacing": NM}, None, (0, 0, 0)),
        ({"element_size_um": (0.04, 0.008, 0.004), "offset_nm": (80, 32, 12)}, NM, (80, 32, 12)),
        ({"pixelResolution": json.dumps({"unit": "nm", "dimensions": [4, 8, 40]})}, NM, (0, 0, 0)),
        ({"pixelResolution": (4, 8, 40)}, None, (0, 0, 0)),
        (
            {
                "pixelResolution": json.dumps({"unit": "nm", "dimensions": [2, 4, 40]}),
                "downsamplingFactors": (2, 2, 1),
            },
            NM,
            (0, 0, 0),
        ),
        ({"axistags": tags("zyx", z=5.0, y=1.0, x=1.0)}, None, (0, 0, 0)),
        ({"resolution": NM, "units": "pixels"}, None, (0, 0, 0)),
        ({"resolution": (0.0, 8.0, 4.0)}, None, (0, 0, 0)),
        ({"resolution": (np.nan, 8.0, 4.0)}, None, (0, 0, 0)),
        ({"resolution": (-40.0, 8.0, 4.0)}, None, (0, 0, 0)),
    ],
)
def test_voxel_size_units_and_origin(tmp_path, attrs, voxel_nm, origin_nm):
    volume = opened(tmp_path, **attrs)
    assert volume.calibrated is (voxel_nm is not None)
    if voxel_nm is not None:
        assert volume.levels[0].voxel_nm == pytest.approx(voxel_nm)
    assert volume.levels[0].origin_nm == pytest.approx(origin_nm)


def test_an_offset_with_a_unit_counts_beside_a_size_that_is_given(tmp_path):
    level = opened(tmp_path, offset=(80, 32, 12), unit="um", open={"voxel_nm": NM}).levels[0]
    assert level.origin_nm == pytest.approx((80e3, 32e3, 12e3))


def test_sizes_without_a_unit_are_ratios_and_never_of_lengths_to_pixels(tmp_path):
    assert opened(tmp_path, axistags=tags("zyx", z=5.0, y=1.0, x=1.0)).levels[0].voxel_nm == (5, 1, 1)
    assert opened(tmp_path, resolution=(40, 8, 1), units=["nm", "nm", "px"]).levels[0].voxel_nm == (1, 1, 1)


def test_numbers_belong_to_the_axes_of_the_array(tmp_path):
    level = opened(tmp_path, turned("xyz"), axistags=tags("xyz"), resolution=(4.0, 8.0, 40.0), offset=(1, 2, 3)).levels[
        0
    ]
    assert (level.voxel_nm, level.origin_nm) == (NM, (3, 2, 1))
    level = opened(tmp_path, turned("xyz"), axistags=tags("xyz"), element_size_um=(0.04, 0.008, 0.004)).levels[0]
    assert level.voxel_nm == pytest.approx(NM)
    colour = np.stack([STACK, STACK], axis=-1)
    level = opened(tmp_path, colour, ["z", "y", "x", "c"], resolution=(*NM, 1.0), open={"channel": 0}).levels[0]
    assert level.voxel_nm == NM
    flat = opened(tmp_path, STACK[0], resolution=(8.0, 4.0), offset=(16, 12)).levels[0]
    assert (flat.voxel_nm, flat.origin_nm) == ((8, 8, 4), (0, 16, 12))
    section = opened(tmp_path, STACK[0], resolution=NM, offset=(80, 16, 12)).levels[0]
    assert (section.voxel_nm, section.origin_nm) == (NM, (80, 16, 12))


@pytest.mark.parametrize(
    ("attrs", "says"),
    [
        ({"offset": (80.0, 32.0, 32.0)}, "offset of .80.0, 32.0, 32.0. without a resolution"),
        ({"element_size_um": (0.04, 0.008, 0.004), "offset": (1.0, 2.0, 3.0)}, "offset of .* without a resolution"),
        ({"resolution": NM, "offset": (1, 2, 3), "origin": (1, 2, 3)}, "offset and origin; one origin"),
        ({"resolution": NM, "offset": (np.nan, 0, 0)}, "offset of .nan"),
        ({"resolution": (1.0, 2.0)}, "resolution of 2 numbers for the axes z y x.*--voxel-nm"),
        (
            {"resolution": NM, "element_size_um": (0.04, 0.008, 0.008)},
            "two voxel sizes .resolution 4 nm, element_size_um 8 nm",
        ),
        ({"resolution": NM, "downsamplingFactors": (2, 2, 1)}, "downsamplingFactors without a pixelResolution"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path, attrs, says):
    with pytest.raises(InputError, match=says):
        opened(tmp_path, **attrs)
    if attrs.get("offset") == (80.0, 32.0, 32.0):
        assert opened(tmp_path, **attrs, open={"voxel_nm": NM}).levels[0].origin_nm == (80, 32, 32)
    elif "offset" not in attrs:
        assert opened(tmp_path, **attrs, open={"voxel_nm": NM}).levels[0].voxel_nm == NM


@pytest.mark.parametrize(
    ("inner", "beside", "says"),
    [
        ("t00000/s00/0/cells", "s00/resolutions", "BigDataViewer"),
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data", "DataSetInfo/Image", "Imaris"),
    ],
)
def test_formats_that_keep_values_or_sizes_elsewhere_are_refused_by_name(tmp_path, inner, beside, says):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file[inner] = STACK.astype("i2")
        file[beside] = np.ones((1, 3))
    for array in (None, inner):
        with pytest.raises(InputError, match=f"is an? {says} file.*Fiji"):
            open_volume(tmp_path / "v.h5", array=array)


def test_a_filter_that_is_not_installed_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 1000)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(STACK.shape)
        made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_UINT16, h5py.h5s.create_simple(STACK.shape), made)
        file["a"].id.write_direct_chunk((0, 0, 0), b"x" * 10)
    with pytest.raises(InputError, match=r"'a' is compressed by Zstandard.*hdf5plugin.*napari-connecto.codecs."):
        open_volume(tmp_path / "v.h5")


def test_coordinates_of_dimensions_are_those_of_centres(tmp_path):
    def scaled(name, unit, attrs=(), **steps):
        with h5py.File(tmp_path / name, "w") as file:
            dataset = file.create_dataset("a", data=turned("xzy"))
            dataset.attrs.update(attrs)
            for dim, axis, n in zip(dataset.dims, "xzy", dataset.shape, strict=True):
                scale = file.create_dataset(axis, data=100 + np.arange(n) * steps[axis])
                scale.attrs["units"] = unit
                scale.make_scale(axis)
                dim.attach_scale(scale)
        return travelled(open_volume(tmp_path / name, array="a"))

    volume = scaled("a.h5", "nm", z=40.0, y=8.0, x=4.0)
    assert volume.calibrated
    assert (volume.levels[0].voxel_nm, volume.levels[0].origin_nm) == (NM, (80, 96, 98))
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), STACK)
    with pytest.raises(InputError, match="coordinates along z that are not evenly spaced"):
        scaled("b.h5", "nm", z=-40.0, y=8.0, x=4.0)
    assert scaled("c.h5", "nm", {"voxel_size_um": (0.004, 0.04, 0.008)}, z=40.0, y=8.0, x=4.0).levels[0].voxel_nm == NM
    with pytest.raises(InputError, match=r"two voxel sizes \(voxel_size_um 50 nm, coordinates 40 nm along z"):
        scaled("d.h5", "nm", {"voxel_size_um": (0.004, 0.05, 0.008)}, z=40.0, y=8.0, x=4.0)


@pytest.mark.parametrize("labels", [np.array([b"x", b"y", b"z"]), "xyz", np.bytes_("xyz")])
def test_labels_of_dimensions_count_in_every_type_of_text(tmp_path, labels):
    level = opened(tmp_path, turned("xyz"), DIMENSION_LABELS=labels).levels[0]
    np.testing.assert_array_equal(level.read(level.box), STACK)


@pytest.mark.parametrize("labels", [np.array([1.5, 2.5]), np.array([b"x", b"y"])])
def test_labels_of_dimensions_that_do_not_fit_are_refused(tmp_path, labels):
    with pytest.raises(InputError, match="dimensions, names the axes"):
        opened(tmp_path, DIMENSION_LABELS=labels)


@pytest.mark.parametrize("damaged", ["xyz", np.arange(3), np.array([b"x", b"y", b"z"])])
def test_scales_of_another_type_than_hdf5_writes_are_no_scales(tmp_path, damaged):
    assert opened(tmp_path, DIMENSION_LIST=damaged).levels[0].voxel_nm == (1, 1, 1)


def test_dimensions_of_netcdf_without_coordinates_are_called_as_their_datasets(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=turned("xyz"))
        for dim, axis, n in zip(dataset.dims, "xyz", dataset.shape, strict=True):
            scale = file.create_dataset(axis, data=np.zeros(n, "f4"))
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {n:9}")
            dim.attach_scale(scale)
    level = travelled(open_volume(tmp_path / "a.h5", array="a")).levels[0]
    np.testing.assert_array_equal(level.read(level.box), STACK)


def test_what_the_group_states_counts_where_it_is_clear_of_which_array(tmp_path):
    def grouped(name, *arrays, **attrs):
        with h5py.File(tmp_path / name, "w") as file:
            group = file.create_group("volumes")
            group.attrs.update(attrs)
            for array in arrays:
                group.create_dataset(array, data=turned("xyz"))
        return tmp_path / name

    stated = {"resolution": NM[::-1], "offset": (12.0, 16.0, 80.0), "axes": "xyz"}
    volume = travelled(open_volume(grouped("a.h5", "raw", **stated)))
    level = volume.levels[0]
    assert (volume.calibrated, level.voxel_nm, level.origin_nm) == (True, NM, (80, 16, 12))
    np.testing.assert_array_equal(level.read(level.box), STACK)
    two = grouped("b.h5", "raw", "labels", resolution=NM)
    with pytest.raises(InputError, match=r"states resolution, but not of which of its arrays.*--voxel-nm"):
        open_volume(two, array="volumes/raw")
    assert open_volume(two, array="volumes/raw", voxel_nm=NM).levels[0].voxel_nm == NM
