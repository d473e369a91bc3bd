"""What a search left, opened by napari's File > Open."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import h5py
from napari.layers import Image, Labels, Points

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import write_json
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.widgets.readers import get_reader, get_volume_reader
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED, Verdicts, write_verdicts

VOXEL, ORIGIN = (40.0, 8.0, 8.0), (400.0, 0.0, -80.0)


def labels():
    array = np.zeros((8, 64, 64), np.uint32)
    array[2:5, 10:20, 30:36] = 1
    array[6, 50:54, 4:8] = 2
    return Volume((Level(array, VOXEL, ORIGIN),), kind="labels", name="objects")


def found():
    box = np.array([[2, 10, 30, 5, 20, 36], [6, 50, 4, 7, 54, 8]])
    middle = (box[:, :3] + box[:, 3:]) / 2
    return Detections(middle * VOXEL + ORIGIN, np.array([0.9, 0.6]), box, np.arange(1))


@pytest.fixture
def folder(tmp_path):
    """A finished and reviewed search with masks."""
    found().save(tmp_path / "detections.csv")
    save_volume(labels(), tmp_path / "labels" / "objects.zarr", kind="labels", levels=2)
    write_json(tmp_path / "report.json", {"levels": [{"voxel_nm": VOXEL, "origin_nm": ORIGIN}]})
    write_verdicts(tmp_path, Verdicts(np.array([2]), found().centre_nm[1:], np.array([REJECTED]), 10.0))
    return tmp_path


def read(path):
    return get_reader(str(path))(str(path))


@pytest.mark.gl
def test_file_open_shows_a_search_where_its_image_is(folder, viewer):
    data, keywords, _ = layer_data(Volume((Level(np.zeros((8, 64, 64), np.uint8), VOXEL, ORIGIN),), name="em"))
    image = viewer.add_image(data, **keywords)
    objects, points = viewer.open(str(folder / "detections.csv"), plugin="napari-connecto")
    assert isinstance(objects, Labels)
    assert isinstance(points, Points)
    assert points.features["status"].tolist() == [NEW, REJECTED]
    assert points.features["id"].tolist() == [1, 2]
    assert [str(s) for s in points.symbol] == ["disc", "cross"]
    for i, place in enumerate(points.data):
        world = points.data_to_world(place)
        np.testing.assert_allclose(world, found().centre_nm[i])
        assert objects.data[0][tuple(np.floor(np.array(objects.world_to_data(world)) + 0.5).astype(int))] == i + 1
        np.testing.assert_allclose(image.world_to_data(world), found().box[i].reshape(2, 3).mean(axis=0) - 0.5)
    assert viewer.dims.range[-3].step == VOXEL[0]
    np.testing.assert_allclose(points.size * points.scale[2], [80 * 1.2, 32 * 1.2])


@pytest.mark.gl
def test_points_show_in_sections_half_a_usual_object_around(folder, viewer):
    (points,) = viewer.open(str(folder / "detections.csv"), plugin="napari-connecto")[1:]
    middle = found().centre_nm[0]  # objects are 120 and 40 nm deep, 80 in the median
    for away, shown in ((0, [0]), (40, [0]), (-40, [0]), (80, [1]), (-80, [])):
        viewer.dims.set_point(0, middle[0] + away)
        assert sorted(points._view_indices) == shown


def test_points_of_a_search_are_saved_as_voxels_of_its_image(folder, tmp_path):
    from napari_connecto.widgets.writers import write_points
    from napari_connecto.workflows.cascade.training.points import read_points

    _, (data, keywords, _) = read(folder / "detections.csv")
    attributes = Points(data, **keywords).as_layer_data_tuple()[1]
    level = labels().levels[0]
    for name in ("a.csv", "a.xml"):
        write_points(str(tmp_path / name), data, attributes)
        np.testing.assert_allclose(read_points(tmp_path / name, level), found().centre_nm, atol=40)
    assert "<MarkerZ>3</MarkerZ>" in (tmp_path / "a.xml").read_text()  # sections 2 to 4
    found().save(tmp_path / "my detections.csv")
    ((data, keywords, _),) = read(tmp_path / "my detections.csv")
    attributes = Points(data, **keywords).as_layer_data_tuple()[1]
    with pytest.raises(InputError, match=r"is unknown, so positions cannot be given in voxels; save as \.csv"):
        write_points(str(tmp_path / "b.xml"), data, attributes)


@pytest.mark.gl
def test_the_thickness_of_a_section_in_napari_hides_no_points(folder, viewer):
    (points,) = viewer.open(str(folder / "detections.csv"), plugin="napari-connecto")[1:]
    viewer.dims.margin_left = viewer.dims.margin_right = (20.0, 0.0, 0.0)
    viewer.dims.set_point(0, found().centre_nm[0, 0] + 40)
    assert sorted(points._view_indices) == [0]


def test_a_table_alone_says_no_voxel_size_and_lies_right(tmp_path):
    found().where(np.array([True, True])).save(tmp_path / "my detections.csv")
    ((data, keywords, kind),) = read(tmp_path / "my detections.csv")
    layer = Points(data, **keywords)
    assert kind == "points"
    np.testing.assert_allclose([layer.data_to_world(p) for p in layer.data], found().centre_nm)
    assert [str(u) for u in layer.units] == ["nanometer"] * 3


@pytest.mark.parametrize("rows", [slice(0), slice(1)])
def test_none_and_one(tmp_path, rows):
    found().where(np.arange(2)[rows]).save(tmp_path / "detections.csv")
    ((data, keywords, _),) = read(tmp_path / "detections.csv")
    layer = Points(data, **keywords)
    assert (len(layer.data), layer.ndim) == (rows.stop, 3)


def test_a_table_of_others_is_refused_in_words(tmp_path):
    (tmp_path / "their detections.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'z_nm'"):
        read(tmp_path / "their detections.csv")


def test_accepted_in_the_dock_is_accepted_here(folder):
    write_verdicts(folder, Verdicts(np.array([1]), found().centre_nm[:1], np.array([ACCEPTED]), 10.0))
    _, (_, keywords, _) = read(folder / "detections.csv")
    assert keywords["features"]["status"].tolist() == [ACCEPTED, NEW]


def test_an_hdf5_file_with_one_image_opens_with_its_voxel_size(tmp_path):
    """As `open_volume` reads it."""
    path = tmp_path / "em.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = np.arange(8 * 9 * 10, dtype=np.uint8).reshape(8, 9, 10)
        file["volumes/raw"].attrs["resolution"] = VOXEL
    ((data, keywords, kind),) = get_volume_reader(str(path))(str(path))
    layer = Image(data, **keywords)
    assert (kind, tuple(layer.scale), str(layer.units[0])) == ("image", VOXEL, "nanometer")
    np.testing.assert_array_equal(layer.data[2], np.arange(8 * 9 * 10, dtype=np.uint8).reshape(8, 9, 10)[2])


def test_an_hdf5_file_with_several_images_says_what_to_do(tmp_path):
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        for name in ("raw", "labels"):
            file[name] = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(InputError, match=r"'labels', 'raw'.*write one of these by nc\.save_volume\(nc\.open_volume"):
        get_volume_reader(str(path))(str(path))
