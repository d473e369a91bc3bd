from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.io.tables import read_table, write_table

COLUMNS = {
    "z_nm": np.array([0.1 + 0.2, 1e-17, -3.0]),
    "chunk": np.array([0, 5, 2**60]),
    "kept": np.array([True, False, True]),
    "note": np.array(["a, b", 'say "x"', ""]),
}
HEADER = {"model": "abc", "params": {"threshold": 0.5}, "count": np.int64(3)}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_digit_and_the_header_come_back(tmp_path, suffix):
    write_table(tmp_path / f"t{suffix}", COLUMNS, HEADER)
    columns, header = read_table(tmp_path / f"t{suffix}")
    assert header == {"model": "abc", "params": {"threshold": 0.5}, "count": 3}
    assert list(columns) == list(COLUMNS)
    for name, column in COLUMNS.items():
        assert columns[name].tolist() == column.tolist()
    assert columns["z_nm"].dtype == np.float64
    assert columns["chunk"].dtype == np.int64
    assert columns["kept"].dtype == bool
    assert [p.name for p in tmp_path.iterdir()] == [f"t{suffix}"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_without_rows(tmp_path, suffix):
    write_table(tmp_path / f"t{suffix}", {"a": np.empty(0), "b": np.empty(0, int)})
    columns, header = read_table(tmp_path / f"t{suffix}")
    assert {name: len(column) for name, column in columns.items()} == {"a": 0, "b": 0}
    assert header == {}


def test_csv_is_what_others_read(tmp_path):
    write_table(tmp_path / "t.csv", {"a": np.array([1, 2]), "b": np.array([0.5, np.nan])}, {"k": [1]})
    assert (tmp_path / "t.csv").read_text() == "# k: [1]\na,b\n1,0.5\n2,nan\n"


def test_foreign_csv_without_header(tmp_path):
    (tmp_path / "t.csv").write_text("# by hand\nx,y\r\n1,2.5\r\n")
    columns, header = read_table(tmp_path / "t.csv")
    assert columns["x"].tolist() == [1]
    assert columns["y"].tolist() == [2.5]
    assert header == {"by hand": ""}


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"allowed: names that end in \.csv or \.parquet"):
        write_table(tmp_path / "t.xlsx", COLUMNS)
    with pytest.raises(InputError, match=r"got columns of shapes \{'a': \(2,\), 'b': \(3,\)\}"):
        write_table(tmp_path / "t.csv", {"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(InputError, match="no table at"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(InputError, match=r"line 3 of .* has 1 values for 2 columns"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="no line of column names"):
        read_table(tmp_path / "empty.csv")
    (tmp_path / "t.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(InputError, match="cannot read the table"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(StoreError, match="cannot write"):
        write_table(tmp_path / "t.csv" / "u.csv", COLUMNS)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"install napari-connecto\[parquet\]"):
        write_table(tmp_path / "t.parquet", COLUMNS)
    assert not list(tmp_path.iterdir())
