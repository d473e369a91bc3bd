"""Positions in the files of other programs: cellfinder, ImageJ, QuPath, brainglobe."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto import cli
from napari_connecto.cli.export import POINT_FORMATS
from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.cell_xml import read_cells
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.training.point_formats import FORMATS, Told
from napari_connecto.workflows.cascade.training.points import read_points, write_points
from napari_connecto.workflows.cascade.verdicts import NEW, REJECTED

LEVEL = Level(np.zeros((20, 30, 40), "u1"), (5000.0, 2000.0, 2000.0), (10000.0, -4000.0, 0.0))
VOXELS = np.array([[0.5, 0.5, 0.5], [3.2, 29.75, 7.25], [19.5, 1.0, 39.9]])
POINTS = LEVEL.to_nm(VOXELS)


def found():
    status = np.array([NEW, REJECTED, NEW])
    box = np.zeros((3, 6), np.int64)
    return Detections(POINTS, np.array([0.5, 0.6, 0.7]), box, np.arange(3), id=np.array([4, 5, 9]), status=status)


def test_the_command_offers_every_format():
    assert tuple(FORMATS) == POINT_FORMATS


@pytest.mark.parametrize("name", ["t.zip", "t.geojson"])
def test_regions_and_features_keep_the_pixel_and_its_fraction(tmp_path, name):
    if name.endswith(".zip"):
        pytest.importorskip("roifile")
    write_points(tmp_path / name, POINTS, LEVEL)
    expected = np.column_stack([np.floor(VOXELS[:, 0]) + 0.5, VOXELS[:, 1:]])
    np.testing.assert_allclose(LEVEL.to_voxels(read_points(tmp_path / name, LEVEL)), expected, atol=1e-4)


@pytest.mark.parametrize(("name", "to"), [("t.xml", "cell-counter"), ("t.xml", None), ("t.csv", "brainglobe")])
def test_markers_keep_the_voxel(tmp_path, name, to):
    write_points(tmp_path / name, POINTS, LEVEL, Told(title="brain.tif"), to=to)
    np.testing.assert_allclose(LEVEL.to_voxels(read_points(tmp_path / name, LEVEL)), np.floor(VOXELS) + 0.5)


def test_the_cell_counter_wants_the_title_and_counts_sections_from_1(tmp_path):
    found().save(tmp_path / "t.xml", level=LEVEL, to="cell-counter", title="brain.tif")
    tree = ET.parse(tmp_path / "t.xml")
    assert tree.findtext("Image_Properties/Image_Filename") == "brain.tif"
    types = {t.findtext("Name"): t for t in tree.findall("Marker_Data/Marker_Type")}
    assert [m.findtext("MarkerZ") for m in types["cell"].findall("Marker")] == ["1", "20"]
    assert [m.findtext("MarkerX") for m in types["no cell"].findall("Marker")] == ["7"]
    assert read_cells(tmp_path / "t.xml")[0].tolist() == [[3, 29, 7], [0, 0, 0], [19, 1, 39]]
    assert len(read_points(tmp_path / "t.xml", LEVEL)) == 2
    with pytest.raises(InputError, match=r"title for ImageJ; name the image \(title=, --image IMAGE\)"):
        found().save(tmp_path / "u.xml", level=LEVEL, to="cell-counter")


def test_a_file_that_the_cell_counter_wrote_is_counted_from_1_and_all_its_types_are_cells(tmp_path):
    (tmp_path / "t.xml").write_text(
        "<CellCounter_Marker_File><Image_Properties><Image_Filename>a.tif</Image_Filename>"
        "<X_Calibration>1.0</X_Calibration></Image_Properties><Marker_Data><Current_Type>0</Current_Type>"
        "<Marker_Type><Type>1</Type><Name>Type 1</Name>"
        "<Marker><MarkerX>7</MarkerX><MarkerY>8</MarkerY><MarkerZ>1</MarkerZ></Marker></Marker_Type>"
        "<Marker_Type><Type>3</Type><Name>Type 3</Name>"
        "<Marker><MarkerX>1</MarkerX><MarkerY>2</MarkerY><MarkerZ>5</MarkerZ></Marker></Marker_Type>"
        "</Marker_Data></CellCounter_Marker_File>"
    )
    assert LEVEL.to_voxels(read_points(tmp_path / "t.xml", LEVEL)).tolist() == [[0.5, 8.5, 7.5], [4.5, 2.5, 1.5]]


def test_imagej_counts_from_the_centre_of_a_pixel_and_sections_from_1(tmp_path):
    roifile = pytest.importorskip("roifile")
    found().save(tmp_path / "t.zip", level=LEVEL)
    with zipfile.ZipFile(tmp_path / "t.zip") as packed:
        rois = [roifile.ImagejRoi.frombytes(packed.read(name)) for name in packed.namelist()]
    assert [roi.name for roi in rois] == ["4", "9"]  # what is rejected is left out
    assert [roi.roitype for roi in rois] == [roifile.ROI_TYPE.POINT] * 2
    assert [roi.position for roi in rois] == [1, 20]
    np.testing.assert_allclose([roi.coordinates()[0] for roi in rois], VOXELS[[0, 2]][:, :0:-1] - 0.5, atol=1e-4)


def test_regions_that_are_no_points_or_say_no_section_are_refused(tmp_path):
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi.frompoints([[1, 2], [3, 4], [9, 9]], name="outline")
    roi.tofile(tmp_path / "t.roi")
    with pytest.raises(InputError, match=r"region 't\.roi' of .* is a freehand; points are needed"):
        read_points(tmp_path / "t.roi", LEVEL)
    roi.roitype = roifile.ROI_TYPE.POINT
    roi.tofile(tmp_path / "t.roi")
    with pytest.raises(InputError, match="says no section of the stack"):
        read_points(tmp_path / "t.roi", LEVEL)
    flat = Level(np.zeros((1, 30, 40), "u1"), (1.0, 1.0, 1.0))
    assert read_points(tmp_path / "t.roi", flat).tolist() == [[0.5, 2.5, 1.5], [0.5, 4.5, 3.5], [0.5, 9.5, 9.5]]
    for name in ("bad.zip", "bad.roi"):
        (tmp_path / name).write_bytes(b"Iout and nothing else")
        with pytest.raises(InputError, match=r"cannot read .* as ImageJ regions"):
            read_points(tmp_path / name, LEVEL)
    with pytest.raises(InputError, match=r"got 3 points for .*a \.roi holds one"):
        write_points(tmp_path / "u.roi", POINTS, LEVEL)


def test_without_roifile_the_extra_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(InputError, match=r"install napari-connecto\[imagej\]"):
        cli.export.check_table(str(tmp_path / "new" / "t.zip"))
    assert not (tmp_path / "new").exists()


def test_qupath_has_class_score_and_plane(tmp_path):
    found().save(tmp_path / "t.geojson", level=LEVEL)
    features = json.loads((tmp_path / "t.geojson").read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["cell", "no cell", "cell"]
    assert [f["properties"]["measurements"]["score"] for f in features] == [0.5, 0.6, 0.7]
    assert [f["geometry"]["plane"]["z"] for f in features] == [0, 3, 19]
    np.testing.assert_allclose([f["geometry"]["coordinates"] for f in features], VOXELS[:, :0:-1])
    assert len(read_points(tmp_path / "t.geojson", LEVEL)) == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}},
            "feature 1 of .* is a Polygon; points",
        ),
        ({"geometry": {"type": "Point", "coordinates": [1, 2]}}, "states no plane, and the image has 20 sections"),
        ({"geometry": {"type": "Point", "coordinates": [1], "plane": {"z": 1}}}, "they are x and y in pixels"),
        ({"geometry": {"type": "Point", "coordinates": ["a", 2], "plane": {"z": 1}}}, "they are x and y in pixels"),
        ("text", "is not a GeoJSON feature collection"),
        ([1], "feature 1 of .* is a None"),
    ],
)
def test_other_geojson_is_refused(tmp_path, document, message):
    (tmp_path / "t.geojson").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        read_points(tmp_path / "t.geojson", LEVEL)


def test_multipoints_are_points(tmp_path):
    feature = {"geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]], "plane": {"c": -1, "z": 2, "t": 0}}}
    (tmp_path / "t.geojson").write_text(json.dumps([feature]))
    assert LEVEL.to_voxels(read_points(tmp_path / "t.geojson", LEVEL)).tolist() == [[2.5, 2, 1], [2.5, 4, 3]]


def test_brainglobes_table_counts_voxels_and_knows_types(tmp_path):
    (tmp_path / "t.csv").write_text(",x,y,z,type\n0,7,8,2,2\n1,1,2,3,1\n")
    assert LEVEL.to_voxels(read_points(tmp_path / "t.csv", LEVEL)).tolist() == [[2.5, 8.5, 7.5]]
    with pytest.raises(InputError, match=r"counts voxels; say of which image \(level=, --image IMAGE\)"):
        read_points(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("x,y,z\n7.5,8,2\n")
    with pytest.raises(InputError, match="has fractions as z, y, x, which are voxels"):
        read_points(tmp_path / "t.csv", LEVEL)
    found().save(tmp_path / "b.csv", level=LEVEL, to="brainglobe")
    assert (tmp_path / "b.csv").read_text() == "x,y,z,type\n0,0,0,2\n7,29,3,1\n39,1,19,2\n"


@pytest.mark.parametrize("name", ["a.xml", "a.zip", "a.geojson", "a.csv"])
def test_every_format_comes_back_through_the_command(tmp_path, name):
    if name.endswith(".zip"):
        pytest.importorskip("roifile")
    save_volume(Volume((LEVEL,)), tmp_path / "brain.zarr")
    write_points(tmp_path / "in.csv", LEVEL.to_nm(np.floor(VOXELS) + 0.5))
    image = ("--image", str(tmp_path / "brain.zarr"))
    for source, out in ((tmp_path / "in.csv", tmp_path / name), (tmp_path / name, tmp_path / "out.csv")):
        done = CliRunner().invoke(cli.cli, ["export", "points", str(source), str(out), *image], catch_exceptions=False)
        assert done.output == f"3 points written to {out}\n"
    np.testing.assert_allclose(read_points(tmp_path / "out.csv"), LEVEL.to_nm(np.floor(VOXELS) + 0.5), atol=0.5)
