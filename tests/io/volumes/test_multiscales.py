"""OME-Zarr metadata: what they state of axes, order, origin and units is used or refused."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume

IMAGE = np.random.default_rng(0).integers(0, 99, (8, 16, 20)).astype("u2")
HALF = IMAGE[::2, ::2, ::2]


def axes(names="zyx", unit="micrometer"):
    return [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in names]


def scale(*values):
    return {"type": "scale", "scale": list(values)}


def shift(*values):
    return {"type": "translation", "translation": list(values)}


def sequence(*steps):
    return {"type": "sequence", "transformations": list(steps)}


def store(path, multiscale, version="0.6", arrays=(IMAGE, HALF), names=None):
    """An OME-Zarr image as others may write it: 0.4 in zarr 2, others in zarr 3."""
    old = version < "0.5"
    group = zarr.open_group(path, mode="w", zarr_format=2 if old else 3)
    for k, array in enumerate(arrays):
        group.create_array(str(k), data=array, **({"dimension_names": names} if names else {}))
    attributes = {"multiscales": [multiscale]}
    group.attrs.update(
        {"multiscales": [{"version": version, **multiscale}]} if old else {"ome": {"version": version, **attributes}}
    )
    return path


def new(*steps, systems=None, output="w", **more):
    """Metadata of 0.6 whose levels are each mapped to ``output`` by one transformation."""
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [{**step, "input": {"path": str(k)}, "output": {"name": output}}]
            if step
            else [],
        }
        for k, step in enumerate(steps)
    ]
    return {"coordinateSystems": systems or [{"name": "w", "axes": axes()}], "datasets": datasets, **more}


def old(*steps, named=None, **more):
    datasets = [
        {"path": str(k), **({} if step is None else {"coordinateTransformations": step})}
        for k, step in enumerate(steps)
    ]
    return {"axes": axes() if named is None else named, "datasets": datasets, **more}


def geometry(path, **options):
    volume = open_volume(path, **options)
    for level, array in zip(volume.levels, (IMAGE, HALF), strict=False):
        if level.shape == array.shape:
            np.testing.assert_array_equal(level.read(level.box), array)
    return [level.voxel_nm for level in volume.levels], [level.origin_nm for level in volume.levels]


# 0.6 -----------------------------------------------------------------------------------------------------------------

SIZES = [(500, 100, 100), (1000, 200, 200)]
EYE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("steps", "corner"),
    [
        ((scale(0.5, 0.1, 0.1), scale(1, 0.2, 0.2)), (-250, -50, -50)),
        ((scale(0.5, 0.1, 0.1), None), (-250, -50, -50)),
        (
            (
                sequence(scale(0.5, 0.1, 0.1), shift(1, 2, 3)),
                sequence(scale(1, 0.2, 0.2), sequence(shift(1.25, 2.05, 3.05), {"type": "identity"})),
            ),
            (750, 1950, 2950),
        ),
        ((sequence(shift(2, 20, 30), scale(0.5, 0.1, 0.1)), None), (750, 1950, 2950)),
        (
            (
                {"type": "affine", "affine": [[0.5, 0, 0, 1], [0, 0.1, 0, 2], [0, 0, 0.1, 3]]},
                sequence(scale(1, 0.2, 0.2), {"type": "rotation", "rotation": EYE}, shift(1.25, 2.05, 3.05)),
            ),
            (750, 1950, 2950),
        ),
        (
            (
                {
                    "type": "byDimension",
                    "transformations": [
                        {"inputAxes": [0], "outputAxes": [0], "transformation": sequence(scale(0.5), shift(1))},
                        {"input_axes": [1, 2], "output_axes": [1, 2], **sequence(scale(0.1, 0.1), shift(2, 3))},
                    ],
                },
                None,
            ),
            (750, 1950, 2950),
        ),
    ],
)
def test_transformations_along_the_axes_are_applied(tmp_path, steps, corner):
    sizes, origins = geometry(store(tmp_path / "a.zarr", new(*steps)))
    np.testing.assert_allclose(sizes, SIZES)
    np.testing.assert_allclose(origins, [corner] * 2)


@pytest.mark.parametrize("version", ["0.6", "0.6.0", "0.6rc0", "0.6.dev2", "0.6dev1", "0.5"])
def test_drafts_name_coordinate_systems_by_text(tmp_path, version):
    found = new(scale(0.5, 0.1, 0.1), scale(1, 0.2, 0.2))
    for k, dataset in enumerate(found["datasets"]):
        dataset["coordinateTransformations"][0] |= {"input": str(k), "output": "w"}
    sizes, _ = geometry(store(tmp_path / "a.zarr", found, version))
    np.testing.assert_allclose(sizes, SIZES)


def test_axes_are_those_of_the_system_that_levels_are_mapped_to(tmp_path):
    systems = [{"name": "other", "axes": axes("xyz", "meter")}, {"name": "w", "axes": axes("xyz", "nanometer")}]
    step = sequence({"type": "mapAxis", "mapAxis": [2, 1, 0]}, scale(4, 5, 40))
    sizes, _ = geometry(store(tmp_path / "a.zarr", new(step, systems=systems), arrays=[IMAGE]))
    assert sizes == [(40, 5, 4)]
    level = open_volume(store(tmp_path / "b.zarr", new(scale(4, 5, 40), systems=systems), arrays=[IMAGE])).levels[0]
    assert level.voxel_nm == (40, 5, 4)
    np.testing.assert_array_equal(level.read(level.box), IMAGE.T)


def test_a_system_with_units_counts_where_that_of_the_levels_has_none(tmp_path):
    beyond = {**scale(0.5, 0.1, 0.1), "input": {"name": "w"}, "output": {"name": "physical"}}
    for unit, expected in ((None, SIZES), ("nanometer", [(1, 1, 1), (2, 2, 2)])):
        systems = [{"name": "w", "axes": axes(unit=unit)}, {"name": "physical", "axes": axes()}]
        found = new({"type": "identity"}, scale(2, 2, 2), systems=systems, coordinateTransformations=[beyond])
        path = store(tmp_path / f"{unit}.zarr", found)
        np.testing.assert_allclose(geometry(path)[0], expected)
        assert open_volume(path).calibrated


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "affine", "affine": [[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}, "an affine .* turns or shears"),
        ({"type": "affine", "affine": [[1, 0, 0], [0, 1, 0]]}, "it has a row for each of 3 axes"),
        ({"type": "affine", "path": "matrix"}, r"keeps its affine in an array \('matrix'\)"),
        ({"type": "rotation", "rotation": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}, "a rotation .* turns or mirrors"),
        ({"type": "rotation", "rotation": [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]]}, "turns or shears"),
        ({"type": "scale", "path": "scales"}, "keeps its scale in an array"),
        ({"type": "mapAxis", "mapAxis": {"x": "i"}}, "states mapAxis"),
        (
            {"type": "bijection", "forward": scale(1, 1, 1), "inverse": scale(1, 1, 1)},
            "of type 'bijection'; can be read",
        ),
        ({"type": "displacements", "path": "field"}, "of type 'displacements'"),
        ({"type": "coordinates", "path": "field"}, "of type 'coordinates'"),
        ({"type": "projectAxis", "droppedInputs": [0]}, "of type 'projectAxis'"),
        ({"type": "sequence", "transformations": []}, "a sequence without transformations"),
        (
            {"type": "byDimension", "transformations": [{"inputAxes": [0], "outputAxes": [0], **scale(1)}]},
            "byDimension for",
        ),
        (scale(1, 1), r"states \[1, 1\] where 3 numbers"),
        ({"scale": [1, 1, 1]}, "which has no type"),
    ],
)
def test_other_transformations_are_refused_by_name(tmp_path, step, message):
    path = store(tmp_path / "a.zarr", new(step), arrays=[IMAGE])
    with pytest.raises(InputError, match=message) as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)
    level = open_volume(path, array="0", voxel_nm=(40, 4, 4)).levels[0]  # as the message says
    assert level.voxel_nm == (40, 4, 4)


def test_unknown_versions_are_refused(tmp_path):
    for version in ("0.7", "0.61", "1.0", "next"):
        path = store(tmp_path / f"{version}.zarr", old([scale(1, 1, 1)]), version, arrays=[IMAGE])
        with pytest.raises(InputError, match=f"is OME-Zarr '{version}'; 0.1 to 0.6 can be read"):
            open_volume(path)


def test_systems_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"maps its levels to \['q'\]; its coordinate systems are \['w'\]"):
        open_volume(store(tmp_path / "a.zarr", new(scale(1, 1, 1), output="q"), arrays=[IMAGE]))
    systems = [{"name": "w", "axes": axes("zyy")}]
    with pytest.raises(InputError, match=r"got axes \['z', 'y', 'y'\].*--axes zyx"):
        open_volume(store(tmp_path / "b.zarr", new(scale(1, 1, 1), systems=systems), arrays=[IMAGE]))
    with pytest.raises(InputError, match="each has a name of its own"):
        open_volume(store(tmp_path / "c.zarr", new(scale(1, 1, 1), systems=[{"axes": axes()}]), arrays=[IMAGE]))


# levels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "corner"),
    [
        (([scale(0.5, 0.1, 0.1)], None), (-250, -50, -50)),
        (([scale(0.5, 0.1, 0.1)], []), (-250, -50, -50)),
        ((None, [scale(1, 0.2, 0.2)]), (-250, -50, -50)),
        (([scale(0.5, 0.1, 0.1), shift(1, 2, 3)], None), (750, 1950, 2950)),
        (([scale(0.5, 0.1, 0.1), shift(1, 2, 3)], [scale(1, 0.2, 0.2)]), (750, 1950, 2950)),
        (([scale(0.5, 0.1, 0.1), shift(1, 2, 3)], [shift(1.25, 2.05, 3.05)]), (750, 1950, 2950)),
    ],
)
def test_a_level_without_a_scale_takes_level_0s_by_the_shapes_and_shares_its_corner(tmp_path, steps, corner):
    sizes, origins = geometry(store(tmp_path / "a.zarr", old(*steps), "0.4"))
    np.testing.assert_allclose(sizes, SIZES)
    np.testing.assert_allclose(origins, [corner] * 2)


@pytest.mark.parametrize(
    ("steps", "second", "message"),
    [
        (
            ([scale(0.5, 0.1, 0.1)], [scale(1, 0.2, 0.2)]),
            IMAGE,
            "along z 8 voxels of 0.5 on level 0 and 8 of 1 on level 1",
        ),
        (([scale(0.1, 0.1, 0.5)], [scale(0.2, 0.2, 0.5)]), IMAGE[:, ::2, ::2], "along z 8 voxels of 0.1"),
        (([scale(0.5, 0.1, 0.1)], [scale(0.5, 0.1, 0.1)]), HALF, "along z 8 voxels of 0.5 on level 0 and 4 of 0.5"),
        (([scale(1, 1, 1)], [scale(2, 2, 2), shift(0.5, 8.5, 0.5)]), HALF, "level 0 at -0.5 along y, level 1 at 7.5"),
    ],
)
def test_levels_that_do_not_show_the_same_place_are_refused(tmp_path, steps, second, message):
    path = store(tmp_path / "a.zarr", old(*steps), "0.4", (IMAGE, second))
    with pytest.raises(InputError, match=message) as caught:
        open_volume(path)
    assert "--array NAME" in str(caught.value)
    assert open_volume(path, array="0").calibrated


def test_rounded_and_padded_shapes_are_no_contradiction(tmp_path):
    sizes = [(9, 33, 101), (4, 16, 50), (3, 9, 26), (1, 4, 13)]
    steps = [[scale(2**k, 2**k, 2**k)] for k in range(4)]
    volume = open_volume(store(tmp_path / "a.zarr", old(*steps), "0.4", [np.zeros(s, "u1") for s in sizes]))
    assert [level.shape for level in volume.levels] == sizes


def test_levels_of_several_types_are_refused_and_one_can_be_opened(tmp_path):
    path = store(tmp_path / "a.zarr", old([scale(1, 1, 1)], [scale(2, 2, 2)]), "0.4", (IMAGE, HALF / 99))
    with pytest.raises(
        InputError, match=r"levels of uint16, float64 in 'a'; all levels must have one type: .*--array NAME"
    ):
        open_volume(path)
    assert open_volume(path, array="1").levels[0].voxel_nm == (2000, 2000, 2000)
    with pytest.raises(InputError, match="levels of uint16, float64"):
        Volume((Level(IMAGE, (1, 1, 1)), Level(HALF / 99, (2, 2, 2))))
    swapped = store(tmp_path / "b.zarr", old([scale(1, 1, 1)], [scale(2, 2, 2)]), "0.4", (IMAGE, HALF.astype(">u2")))
    assert geometry(swapped)[0][1] == (2000, 2000, 2000)


@pytest.mark.parametrize("name", ["0", "1"])
@pytest.mark.parametrize(
    ("steps", "corner"),
    [
        (([scale(0.5, 0.1, 0.1), shift(1, 2, 3)], [scale(1, 0.2, 0.2), shift(1.25, 2.05, 3.05)]), (750, 1950, 2950)),
        (([scale(0.5, 0.1, 0.1)], [scale(1, 0.2, 0.2)]), (-250, -50, -50)),
        (([scale(0.5, 0.1, 0.1)], None), (-250, -50, -50)),
        (([scale(0.5, 0.1, 0.1), shift(1, 2, 3)], None), (750, 1950, 2950)),
    ],
)
def test_a_level_opened_by_its_own_name_lies_where_the_image_says(tmp_path, name, steps, corner):
    path = store(tmp_path / "a.zarr", old(*steps), "0.5")
    for level in (open_volume(path, array=name).levels[0], open_volume(path / name).levels[0]):
        np.testing.assert_allclose(level.voxel_nm, SIZES[int(name)])
        np.testing.assert_allclose(level.origin_nm, corner)
        np.testing.assert_array_equal(level.read(level.box), (IMAGE, HALF)[int(name)])


def test_a_level_can_be_opened_where_another_is_absent(tmp_path):
    path = store(tmp_path / "a.zarr", old([scale(0.5, 0.1, 0.1)], [scale(1, 0.2, 0.2)]), "0.5", (IMAGE,))
    with pytest.raises(InputError):
        open_volume(path)
    assert open_volume(path, array="0").levels[0].voxel_nm == pytest.approx(SIZES[0])


# axes and units ------------------------------------------------------------------------------------------------------


def test_axes_in_words_are_understood_and_others_asked_for(tmp_path):
    words = old([scale(0.1, 0.2, 0.5)], named=axes(["width", "height", "depth"]))
    level = open_volume(store(tmp_path / "a.zarr", words, "0.4", [IMAGE])).levels[0]
    assert level.voxel_nm == (500, 200, 100)
    np.testing.assert_array_equal(level.read(level.box), IMAGE.T)
    odd = store(tmp_path / "b.zarr", old([scale(0.5, 0.2, 0.1)], named=axes("abc")), "0.4", [IMAGE])
    with pytest.raises(InputError, match=r"got axes \['a', 'b', 'c'\].*--axes zyx"):
        open_volume(odd)
    assert open_volume(odd, axes="zyx").levels[0].voxel_nm == (500, 200, 100)
    none = old([scale(1, 1, 1)])
    del none["axes"]
    with pytest.raises(InputError, match=r"is OME-Zarr 0.4 and states no axes; .*--axes zyx"):
        open_volume(store(tmp_path / "c.zarr", none, "0.4", [IMAGE]))


def test_names_of_the_arrays_must_not_contradict(tmp_path):
    path = store(tmp_path / "a.zarr", old([scale(1, 2, 3)]), "0.5", [IMAGE], names=["x", "y", "z"])
    with pytest.raises(InputError, match=r"states axes \['z', 'y', 'x'\], its level 0 \['x', 'y', 'z'\]"):
        open_volume(path)
    assert open_volume(path, axes="xyz").levels[0].shape == IMAGE.T.shape


def test_units_count_per_axis_and_are_not_assumed(tmp_path):
    mixed = [*axes("z", "nanometer"), *axes("yx")]
    path = store(tmp_path / "a.zarr", old([scale(40, 0.1, 0.2)], named=mixed), "0.4", [IMAGE])
    np.testing.assert_allclose(geometry(path)[0], [(40, 100, 200)])
    partly = [*axes("z", None), *axes("yx")]
    path = store(tmp_path / "b.zarr", old([scale(40, 0.1, 0.2)], named=partly), "0.4", [IMAGE])
    with pytest.raises(InputError, match=r"states a unit of length along x, y and none along z; .*--voxel-nm"):
        open_volume(path)
    assert open_volume(path, voxel_nm=(40, 100, 200)).levels[0].voxel_nm == (40, 100, 200)
    assert not open_volume(store(tmp_path / "c.zarr", old(None), "0.4", [IMAGE])).calibrated  # a unit, but no size


def test_labels_are_told_by_the_group_that_holds_them(tmp_path):
    store(tmp_path / "a.zarr", old([scale(1, 1, 1)]), "0.4", [IMAGE])
    path = store(tmp_path / "a.zarr" / "labels" / "cells", old([scale(1, 1, 1)]), "0.4", [IMAGE])
    assert open_volume(path).kind == "labels"
    assert open_volume(tmp_path / "a.zarr", array="labels/cells").kind == "labels"
    assert open_volume(tmp_path / "a.zarr").kind == "image"


def cosem(*parts):
    keys = ("scale", "translate")
    return {
        "datasets": [
            {
                "path": str(k),
                "transform": {"axes": list("zyx"), "units": ["nm"] * 3, **dict(zip(keys, part, strict=True))},
            }
            for k, part in enumerate(parts)
        ]
    }


def test_transforms_of_cosems_datasets_count(tmp_path):
    found = cosem(([40, 4, 5], [100, 10, 10]), ([80, 8, 10], [120, 12, 12.5]))
    path = store(tmp_path / "a.zarr", found, "0.4")
    assert geometry(path) == ([(40, 4, 5), (80, 8, 10)], [(80, 8, 7.5)] * 2)
    assert open_volume(path).calibrated
    for dataset in found["datasets"]:
        dataset["transform"] |= {
            "order": "F",
            **{k: dataset["transform"][k][::-1] for k in ("axes", "scale", "translate")},
        }
    assert geometry(store(tmp_path / "f.zarr", found, "0.4"))[0] == [(40, 4, 5), (80, 8, 10)]
    found["datasets"][1]["transform"]["units"] = ["um"] * 3
    with pytest.raises(InputError, match="states other axes or units on some levels"):
        open_volume(store(tmp_path / "b.zarr", found, "0.4"))
    del found["datasets"][1]["transform"]
    with pytest.raises(InputError, match="states a transform for some of its datasets"):
        open_volume(store(tmp_path / "c.zarr", found, "0.4"))
