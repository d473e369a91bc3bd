from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.io.tables.tables import read_table, write_table
from napari_connecto.workflows.cascade.detections import Detections, join
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED


def some(n=5, seed=0):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 900, (n, 3))
    box = np.concatenate([start, start + rng.integers(1, 9, (n, 3))], axis=1)
    return Detections(rng.uniform(0, 1e6, (n, 3)), rng.random(n), box, np.array([1, 4]), {"objects": n})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_saved_table_is_read_back_to_the_last_bit(tmp_path, suffix, n):
    found = some(n)
    found.save(tmp_path / f"t.{suffix}")
    back = Detections.load(tmp_path / f"t.{suffix}")
    np.testing.assert_array_equal(back.centre_nm, found.centre_nm)
    np.testing.assert_array_equal(back.score, found.score)
    np.testing.assert_array_equal(back.box, found.box)
    assert (len(back), back.box.dtype, back.chunks.size) == (n, np.int64, 0)
    assert back.id.tolist() == list(range(1, n + 1))
    assert back.status.tolist() == [NEW] * n


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_and_verdicts_survive_filter_and_file(tmp_path, suffix):
    found = replace(some(5), status=np.array([NEW, ACCEPTED, REJECTED, ACCEPTED, NEW]))
    kept = found.where(found.status != NEW)
    kept.save(tmp_path / f"t.{suffix}")
    back = Detections.load(tmp_path / f"t.{suffix}")
    assert back.id.tolist() == [2, 3, 4]
    assert back.status.tolist() == [ACCEPTED, REJECTED, ACCEPTED]
    np.testing.assert_array_equal(back.centre_nm, found.centre_nm[1:4])
    np.testing.assert_array_equal(back.box, found.box[1:4])


def test_a_table_without_ids_or_statuses_is_numbered_and_new(tmp_path):
    some(3).save(tmp_path / "t.csv")
    table, _ = read_table(tmp_path / "t.csv")
    write_table(tmp_path / "old.csv", {name: table[name] for name in table if name not in ("id", "status")})
    back = Detections.load(tmp_path / "old.csv")
    assert (back.id.tolist(), back.status.tolist()) == ([1, 2, 3], [NEW] * 3)


@pytest.mark.parametrize(
    ("name", "column", "line"),
    [
        ("id", [1, 1, 2], "not whole numbers from 1, each once"),
        ("id", [0, 1, 2], "not whole numbers from 1, each once"),
        ("id", [1, 2.5, 3], "not whole numbers from 1, each once"),
        ("status", [NEW, "perhaps", NEW], "got the status 'perhaps' in .*; allowed: new, accepted, rejected"),
        ("z_nm", [1.0, np.inf, 2.0], "row 2 of .* has inf as z_nm"),
    ],
)
def test_ids_and_statuses_that_are_none_are_refused(tmp_path, name, column, line):
    some(3).save(tmp_path / "t.csv")
    write_table(tmp_path / "t.csv", read_table(tmp_path / "t.csv")[0] | {name: np.array(column)})
    with pytest.raises(InputError, match=line):
        Detections.load(tmp_path / "t.csv")


def test_ids_are_as_many_as_detections():
    with pytest.raises(InputError, match="got 2 values of id for 3 detections"):
        replace(some(3), id=np.array([1, 2]))


def test_the_table_is_what_a_spreadsheet_shows(tmp_path):
    Detections(np.array([[1.5, 2.5, 3.5]]), np.array([0.25]), np.array([[0, 1, 2, 3, 4, 5]]), np.array([0])).save(
        tmp_path / "t.csv"
    )
    head, row = (tmp_path / "t.csv").read_text().split()
    assert head == "id,z_nm,y_nm,x_nm,score,z_start,y_start,x_start,z_stop,y_stop,x_stop,status"
    assert row.split(",") == ["1", "1.5", "2.5", "3.5", "0.25", "0", "1", "2", "3", "4", "5", "new"]


def test_at_keeps_what_reaches_the_threshold():
    found = some(50)
    for threshold in (0.0, float(found.score[7]), 0.5, 1.1):
        kept = found.at(threshold)
        np.testing.assert_array_equal(kept.score, found.score[found.score >= threshold])
        np.testing.assert_array_equal(kept.centre_nm, found.centre_nm[found.score >= threshold])
        np.testing.assert_array_equal(kept.box, found.box[found.score >= threshold])
        np.testing.assert_array_equal(kept.id, 1 + np.flatnonzero(found.score >= threshold))
        assert kept.report == found.report
    assert len(found.at(float(found.score[7]))) >= 1


def test_join():
    a, b = some(3, 1).where(np.array([False, True, True])), replace(some(2, 2), status=np.array([NEW, REJECTED]))
    both = join([a, b, Detections.empty()])
    np.testing.assert_array_equal(both.score, [*a.score, *b.score])
    np.testing.assert_array_equal(both.box, [*a.box, *b.box])
    assert both.chunks.tolist() == [1, 4]
    assert (both.id.tolist(), both.status.tolist()) == ([1, 2, 3, 4], [NEW, NEW, NEW, REJECTED])
    assert len(join([])) == len(Detections.empty()) == 0


def test_another_table_is_refused(tmp_path):
    write_table(tmp_path / "t.csv", {"z_nm": np.arange(3), "y_nm": np.arange(3)})
    with pytest.raises(InputError, match="has no column 'x_nm'; its columns are z_nm, y_nm"):
        Detections.load(tmp_path / "t.csv")


def test_text_among_the_numbers_is_refused(tmp_path):
    some(2, 1).save(tmp_path / "t.csv")
    table, _ = read_table(tmp_path / "t.csv")
    for name in ("x_nm", "score", "z_start"):
        write_table(tmp_path / "bad.csv", table | {name: np.array(["1", "high"])})
        with pytest.raises(InputError, match=f"row 2 of '.*' has 'high' as {name}; it is a number"):
            Detections.load(tmp_path / "bad.csv")


@pytest.mark.parametrize("name", ["z_nm", "score", "x_stop", "id"])
@pytest.mark.parametrize("value", ["nan", "inf", ""])
def test_a_detection_that_is_no_number_is_refused_by_its_row(tmp_path, name, value):
    some(3).save(tmp_path / "t.csv")
    table, _ = read_table(tmp_path / "t.csv")
    texts = [str(v) for v in table[name]]
    write_table(tmp_path / "t.csv", table | {name: np.array([*texts[:1], value, *texts[2:]])})
    with pytest.raises(InputError, match=f"row 2 of .* as {name}"):
        Detections.load(tmp_path / "t.csv")
