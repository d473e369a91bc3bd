"""The cache has a size: what was used last stays. And settings reach the device and the threads."""

from __future__ import annotations

import os

import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.models.inference.device import cores, list_devices, pick_device
from napari_connecto.models.inference.kept import cache_folder, keep, kept, list_kept, shrink


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path))
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE_GB", "3.5e-6")  # three of 1 kB
    return tmp_path / "openvino"


def put(key: str, age: float) -> None:
    keep(key, b"a" * 500, b"b" * 500)
    os.utime(cache_folder() / key, (1e9 - age, 1e9 - age))


def test_what_was_not_used_for_longest_goes_first(cache):
    for age, key in enumerate(("new", "middle", "old")):
        put(key, age)
    assert [path.name for path, _, _ in list_kept()] == ["old", "middle", "new"]
    assert kept("old") == (b"a" * 500, b"b" * 500)  # which makes it the newest
    keep("more", b"a" * 500, b"b" * 500)
    assert sorted(path.name for path in cache.iterdir()) == ["more", "new", "old"]


def test_what_is_larger_than_the_cache_is_not_kept(cache, monkeypatch):
    put("small", 0)
    keep("large", b"a" * 4000, b"")
    assert [path.name for path in cache.iterdir()] == ["small"]
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE_GB", "0")
    keep("none", b"", b"")
    assert kept("none") is None


def test_emptied(cache):
    put("one", 0)
    assert shrink(0) == 1040
    assert list_kept() == []


def test_auto_is_the_device_of_the_settings(monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_DEVICE", "cpu")
    assert pick_device().type == "cpu"
    monkeypatch.setenv("NAPARI_CONNECTO_DEVICE", "cuda:99")
    with pytest.raises(InputError, match="NAPARI_CONNECTO_DEVICE or the settings say device 'cuda:99'"):
        pick_device()
    assert pick_device("cpu").type == "cpu"  # what is asked for by name goes before
    assert list_devices()[0] == "cpu"


def test_threads_are_no_more_than_set(monkeypatch):
    there = cores()
    monkeypatch.setenv("NAPARI_CONNECTO_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("NAPARI_CONNECTO_THREADS", "4096")
    assert cores() == there
