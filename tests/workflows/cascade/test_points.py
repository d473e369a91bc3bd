"""Positions in tables and in files of cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.io.tables.cell_xml import read_cells, write_cells
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.training.points import read_points, write_points
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED

LEVEL = Level(np.empty((20, 30, 40), bool), (5000.0, 2000.0, 2000.0), (10000.0, -4000.0, 0.0))
POINTS = LEVEL.to_nm(np.array([[0.5, 0.5, 0.5], [3.0, 29.99, 7.2], [19.5, 1.0, 39.9]]))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_keep_every_digit(tmp_path, suffix):
    write_points(tmp_path / f"t{suffix}", POINTS)
    np.testing.assert_array_equal(read_points(tmp_path / f"t{suffix}"), POINTS)


def test_cells_keep_the_voxel(tmp_path):
    write_points(tmp_path / "t.xml", POINTS, LEVEL)
    back = LEVEL.to_voxels(read_points(tmp_path / "t.xml", LEVEL))
    assert back.tolist() == [[0.5, 0.5, 0.5], [3.5, 29.5, 7.5], [19.5, 1.5, 39.5]]


def test_of_cells_and_others_only_the_cells_are_points(tmp_path):
    write_cells(tmp_path / "t.xml", np.array([[1, 1, 1], [2, 2, 2]]), np.array([1, 2]))
    assert LEVEL.to_voxels(read_points(tmp_path / "t.xml", LEVEL)).tolist() == [[2.5, 2.5, 2.5]]
    write_cells(tmp_path / "t.xml", np.array([[1, 1, 1], [2, 2, 2]]), 1)  # candidates
    assert len(read_points(tmp_path / "t.xml", LEVEL)) == 2


def test_what_was_rejected_is_no_point_and_no_cell(tmp_path):
    status = np.array([ACCEPTED, REJECTED, NEW])
    found = Detections(POINTS, np.ones(3), np.zeros((3, 6), np.int64), np.arange(3), status=status)
    for name in ("t.csv", "t.xml"):
        found.save(tmp_path / name, level=LEVEL)
    np.testing.assert_array_equal(read_points(tmp_path / "t.csv"), POINTS[[0, 2]])
    assert read_cells(tmp_path / "t.xml")[1].tolist() == [1, 2, 2]
    assert LEVEL.to_voxels(read_points(tmp_path / "t.xml", LEVEL)).tolist() == [[0.5, 0.5, 0.5], [19.5, 1.5, 39.5]]


def test_detections_know_what_was_searched(tmp_path):
    report = {"levels": [{"voxel_nm": [1.0, 1.0, 1.0]}, {"voxel_nm": LEVEL.voxel_nm, "origin_nm": LEVEL.origin_nm}]}
    box = np.zeros((3, 6), np.int64)
    found = Detections(POINTS, np.array([0.5, 0.6, 0.7]), box, np.arange(3), report)
    found.save(tmp_path / "t.xml")
    back = Detections.load(tmp_path / "t.xml", level=LEVEL)
    assert back.box[1].tolist() == [3, 29, 7, 4, 30, 8]
    assert back.score.tolist() == [1, 1, 1]
    np.testing.assert_allclose(back.centre_nm, LEVEL.to_nm(back.box[:, :3] + 0.5))


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"counts voxels; say of which image \(level=, --image IMAGE\)"):
        write_points(tmp_path / "t.xml", POINTS)
    with pytest.raises(InputError, match="counts voxels"):
        Detections.empty().save(tmp_path / "t.xml")
    (tmp_path / "t.csv").write_text("z_nm,y_nm\n1,2\n")
    with pytest.raises(InputError, match="has no column 'x_nm'; its columns are"):
        read_points(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("z_nm,y_nm,x_nm\n1,2,left\n")
    with pytest.raises(InputError, match=r"row \d+ of .* has '.*' as .*; it is a number"):
        read_points(tmp_path / "t.csv")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "", "N/A", "1e999"])
@pytest.mark.parametrize("suffix", [".csv", ".xml", ".parquet"])
def test_a_position_that_is_no_number_is_refused_by_its_row(tmp_path, value, suffix):
    (tmp_path / "t.csv").write_text(f"z_nm,y_nm,x_nm\n1,2,3\n\n1000,{value},3000\n")
    with pytest.raises(InputError, match=r"row 2 of .*t\.csv' has .* as y_nm"):
        read_points(tmp_path / "t.csv")
    positions = np.array([[1, 2, 3], [1000, np.nan, 3000]], float)
    with pytest.raises(InputError, match=r"row 2 of .* has nan as y_nm"):
        write_points(tmp_path / f"out{suffix}", positions, LEVEL)
    assert not (tmp_path / f"out{suffix}").exists()
