"""Packages from elsewhere: whatever is in them, one line comes out and nothing outside is read."""

from __future__ import annotations

import pickle
import struct
import zipfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import ModelError
from napari_connecto.io.packages import package_files
from napari_connecto.io.packages.package_files import opened
from napari_connecto.io.packages.plain_data import safe_array, safe_yaml
from tests.packages import npy


def _zip(path: Path, *entries: zipfile.ZipInfo | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(entry, b"12345")
    return path


def test_files_are_read_from_zip_and_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    for package in (tmp_path, _zip(tmp_path / "p.zip", "a")):
        with opened(package) as files:
            assert "a" in files.names
            assert files.read("./a") == b"12345"
            with pytest.raises(ModelError, match="has no file 'b'; download the full package"):
                files.read("b")


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/etc/passwd", "..\\a", "C:/a", "c:a", "a\\..\\b"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="outside the package"), opened(_zip(tmp_path / "p.zip", name)):
        pass
    with opened(tmp_path) as files, pytest.raises(ModelError, match="outside the package"):
        files.read(name)


def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as files, pytest.raises(ModelError, match="outside the package"):
        files.read("weights\ud800.pt")


def test_urls_are_never_fetched(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="nothing is downloaded: download the full package"),
        opened("https://a.b/c.zip"),
    ):
        pass
    with opened(tmp_path) as files, pytest.raises(ModelError, match="nothing is downloaded"):
        files.read("https://a.b/weights.pt")


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ModelError, match=r"'a' in .* is a link"), opened(_zip(tmp_path / "p.zip", link)):
        pass
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a").symlink_to(tmp_path / "p.zip")
    with opened(tmp_path / "package") as files, pytest.raises(ModelError, match="a link that leads out"):
        files.read("a")


def test_bombs_are_refused_by_what_they_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":
            archive.writestr(name, bytes(2**20))
    monkeypatch.setattr(package_files, "MAX_BYTES", 2 * 2**20)
    assert (tmp_path / "p.zip").stat().st_size < 5000
    with pytest.raises(ModelError, match="would take 3145728 bytes; allowed are 2097152"), opened(tmp_path / "p.zip"):
        pass


def test_a_file_never_grows_beyond_its_declared_size(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2**20))
    data = path.read_bytes().replace(struct.pack("<I", 2**20), struct.pack("<I", 100))
    path.write_bytes(data)
    with opened(path) as files, pytest.raises(ModelError, match=r"'a' in .* is damaged"):
        files.read("a")


def test_too_many_files_and_no_zip_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_files, "MAX_FILES", 2)
    with (
        pytest.raises(ModelError, match=r"holds 3 files; .* at most 2"),
        opened(_zip(tmp_path / "p", *"abc")),
    ):
        pass
    (tmp_path / "q.zip").write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="is not a zip file"), opened(tmp_path / "q.zip"):
        pass
    with pytest.raises(ModelError, match="there is no package at"), opened(tmp_path / "r.zip"):
        pass


LAUGHS = "a: &a [lol]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: !!python/object/apply:os.system ['echo hi']", "has the YAML tag '.*os.system'"),
        ("a: !!python/name:os.system", "YAML tag"),
        ("a: &x [1, *x]", "YAML aliases that grow to more than is allowed"),
        (LAUGHS, "YAML aliases that grow to more than is allowed"),
        ("[" * 100000, "more than 30 levels"),
        ("a: [1, 2", "is not YAML"),
        ("a: 2000-99-99", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_yaml_holds_plain_values_only(text: str, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        safe_yaml(text.encode(), "'rdf.yaml'")


def test_yaml_aliases_are_read_where_they_stay_small() -> None:
    text = "a: &x [1, {b: two}]\nc: [*x, *x]\nd: {<<: &y {e: 3}, f: *y}"
    expected = {"a": [1, {"b": "two"}], "c": [[1, {"b": "two"}]] * 2, "d": {"e": 3, "f": {"e": 3}}}
    assert safe_yaml(text.encode(), "'rdf.yaml'") == expected


def test_arrays_are_read_as_written() -> None:
    array = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    np.testing.assert_array_equal(safe_array(npy(array), "'a'"), array)
    np.testing.assert_array_equal(safe_array(npy(np.asfortranarray(array)), "'a'"), array)


def test_arrays_that_lie_are_refused_before_anything_is_allocated() -> None:
    honest = npy(np.zeros((2, 3), np.float32))
    huge = honest.replace(b"(2, 3), }          ", b"(2, 99999999999), }")
    assert huge != honest
    for data in (huge, honest[:-1], honest.replace(b"<f4", b"<f8"), npy(np.array(["a"])), b"", pickle.dumps([1])):
        with pytest.raises(ModelError, match="'a' is not an array of numbers"):
            safe_array(data, "'a'")
    with pytest.raises(ModelError, match="values of type object"):
        safe_array(npy(np.array([{}], object)), "'a'")


@given(st.binary(max_size=200), st.integers(0, 100))
def test_no_bytes_bring_anything_but_our_errors(data: bytes, at: int) -> None:
    whole = npy(np.arange(6, dtype=np.int16))
    for read, given_bytes in ((safe_array, whole[:at] + data + whole[at:]), (safe_yaml, data)):
        with suppress(ModelError):
            read(given_bytes, "'a'")
