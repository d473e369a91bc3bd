from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.io.tables.tables import read_table, write_table

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


# tables of spreadsheets ----------------------------------------------------------------------------------------------

SPREADSHEET = {
    "plain": "z_nm,y_nm,x_nm,note\n1000.5,2,3,a\n-4,5e3,6,b\n",
    "carriage returns": "z_nm,y_nm,x_nm,note\r\n1000.5,2,3,a\r\n-4,5e3,6,b\r\n",
    "old mac": "z_nm,y_nm,x_nm,note\r1000.5,2,3,a\r-4,5e3,6,b",
    "semicolons": "z_nm;y_nm;x_nm;note\n1000.5;2;3;a\n-4;5e3;6;b\n",
    "tabs": "z_nm\ty_nm\tx_nm\tnote\n1000.5\t2\t3\ta\n-4\t5e3\t6\tb\n",
    "decimal commas": "z_nm;y_nm;x_nm;note\n1000,5;2;3;a\n-4;5e3;6;b\n",
    "decimal commas and tabs": "z_nm\ty_nm\tx_nm\tnote\n1000,5\t2,0\t3\ta\n-4\t5e3\t6\tb\n",
    "sep": "sep=;\r\nz_nm;y_nm;x_nm;note\r\n1000,5;2;3;a\r\n-4;5e3;6;b\r\n",
    "quoted": '"z_nm","y_nm","x_nm","note"\n"1000.5","2","3","a"\n-4,5e3,6,b\n',
    "spaces": " z_nm , y_nm ,x_nm, note\n1000.5 , 2, 3, a\n -4,5e3,6 ,b \n",
    "blank lines": "\n\nz_nm,y_nm,x_nm,note\n1000.5,2,3,a\n\n   \n-4,5e3,6,b\n,,,\n\n\n",
    "empty last column": "z_nm,y_nm,x_nm,note,\n1000.5,2,3,a,\n-4,5e3,6,b,\n",
    "comma in a name": '"z_nm";"y_nm";"x_nm";"note"\n1000.5;2;3;a\n-4;5e3;6;b\n',
    "comments": "# by hand\n# mine: 3\nz_nm,y_nm,x_nm,note\n1000.5,2,3,a\n-4,5e3,6,b\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", SPREADSHEET.values(), ids=SPREADSHEET)
def test_tables_of_spreadsheets_are_read(tmp_path, text, encoding):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    columns, _ = read_table(tmp_path / "t.csv")
    assert {name: column.tolist() for name, column in columns.items()} == {
        "z_nm": [1000.5, -4],
        "y_nm": [2, 5000],
        "x_nm": [3, 6],
        "note": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a;b,c\n1;2,3\n", "not clear what separates the columns"),
        (b"a,b,a\n1,2,3\n", "the column 'a' more than once"),
        (b"a,b\n1,5,2,5\n", "line 2 of .* has 4 values for 2 columns"),
        (b"a,b\n\n\n1,2\n3\n", "line 5 of .* has 1 values for 2 columns"),
        ("a,\xb5m\n1,2\n".encode("latin-1"), "is not text in UTF-8 .*'CSV UTF-8'"),
        (b"a\0b\n1\n", "is not a text table"),
        (b"\xef\xbb\xbf", "no line of column names"),
        (b"sep=;\n", "no line of column names"),
    ],
)
def test_what_is_ambiguous_or_damaged_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.csv")


def test_commas_that_may_group_thousands_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1,000;2.5\n3,000;4.5\n")
    assert read_table(tmp_path / "t.csv")[0]["a"].tolist() == ["1,000", "3,000"]
    (tmp_path / "t.csv").write_text("a\tb\n1,000\t2\n3,000\t4\n")
    assert read_table(tmp_path / "t.csv")[0]["a"].tolist() == ["1,000", "3,000"]
    (tmp_path / "t.csv").write_text("a;b\n0,435;2\n0,471;4\n")
    assert read_table(tmp_path / "t.csv")[0]["a"].tolist() == [0.435, 0.471]


def test_tab_separated_tables_may_say_so(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n")
    assert read_table(tmp_path / "t.tsv")[0]["b"].tolist() == [2]
