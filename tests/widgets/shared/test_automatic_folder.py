from __future__ import annotations

import dataclasses
import os
import re

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.widgets.cascade.jobs import live_map
from napari_connecto.widgets.shared.settings import AutomaticFolder
from napari_connecto.widgets.viewer.spatial import serial
from napari_connecto.widgets.viewer.volumes import lasting
from napari_connecto.widgets.xray.jobs import live


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "models" / "cells [2]"
    folder.mkdir(parents=True)
    (folder / "cascade.json").write_text("{}")
    return folder


def volume():
    return Volume((Level(np.zeros((4, 8, 8), np.uint8), (40.0, 8.0, 8.0)),), name="em")


def test_another_session_finds_the_newest_folder_of_the_same_question(tmp_path):
    ask = {"name": "em.ome.zarr", "model": "cells", "parent": tmp_path}
    first = AutomaticFolder("em-like-")
    made = first.of("a", **ask, lasting="0a1b")
    assert not first.again
    assert re.fullmatch(r"em-like-em-cells-\d{8}-\d{6}-0a1b", made.name)
    made.mkdir()
    assert first.of("a", **ask, lasting="0a1b") == made
    later = tmp_path / made.name.replace(made.name[-20:-5], "29991231-000000")
    later.mkdir()
    other = AutomaticFolder("em-like-")
    assert other.of("a", **ask, lasting="0a1b") == later
    assert other.again
    assert other.of("b", **ask, lasting="ffff").name.endswith("-ffff")
    assert not other.again


def test_what_is_in_memory_is_asked_in_one_session_only(tmp_path, model, monkeypatch):
    monkeypatch.setattr(AutomaticFolder, "_asked", [])
    assert lasting(volume(), model) == ""
    first, reopened = AutomaticFolder(), AutomaticFolder()
    made = first.of("a", "em", "cells", tmp_path)
    assert reopened.of("a", "em", "cells", tmp_path / "elsewhere") != made
    made.mkdir()
    assert first.of("b", "em", "other", tmp_path) != made
    for dock in (first, reopened):  # the image is chosen again; the dock was closed and opened again
        assert dock.of("a", "em", "cells", tmp_path) == made
        assert dock.again
    AutomaticFolder._asked.clear()
    next_session = AutomaticFolder()
    next_session.of("a", "em", "cells", tmp_path)
    assert not next_session.again


def test_an_array_is_told_from_one_that_gets_its_place_in_memory():
    first = np.zeros(3)
    number, at = serial(first), id(first)
    assert serial(first) == number
    del first
    arrays = [np.zeros(3) for _ in range(50)]
    assert number not in {serial(array) for array in arrays}, at


def test_a_question_is_another_with_the_file_the_levels_the_model_and_the_parameters(tmp_path, model):
    save_volume(volume(), tmp_path / "em.zarr", levels=2)
    opened = open_volume(tmp_path / "em.zarr")
    asked = lasting(opened, model, 1)
    assert asked == lasting(open_volume(tmp_path / "em.zarr"), model, 1)
    others = {lasting(opened, model, 2), lasting(dataclasses.replace(opened, levels=opened.levels[1:]), model, 1)}
    os.utime(model / "cascade.json", ns=(0, 0))
    others.add(lasting(opened, model, 1))
    save_volume(volume(), tmp_path / "em.zarr", levels=2, overwrite=True)
    others.add(lasting(open_volume(tmp_path / "em.zarr"), model, 1))
    assert len(others | {asked}) == 5


def test_a_name_that_no_file_system_takes_is_no_folder(tmp_path):
    """It may be typed as the result's folder; the job then says what is wrong with it."""
    long = tmp_path / ("é" * 300)
    assert (live(long), live_map(long)) == (None, None)
    assert AutomaticFolder("search-").of("question", "em", "cells", long).parent == long


def test_two_questions_within_a_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    folder = AutomaticFolder("search-")
    first = folder.of("one", "em", "cells", tmp_path)
    first.mkdir(parents=True)
    assert folder.of("another", "em", "cells", tmp_path) != first
