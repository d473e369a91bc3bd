"""What napari sees of the plugin: manifest, samples, preferences, the demo; and the promise to open lightly."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels, Points
from npe2 import PluginManifest

import napari_connecto
from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.sample_data import PAIRS, SAMPLES, open_sample
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

MANIFEST = Path(napari_connecto.__file__).parent / "napari.yaml"


@pytest.fixture
def sample():
    try:
        return open_sample("cells")
    except InputError as error:
        pytest.skip(str(error))


def test_every_command_of_the_manifest_is_a_dock_a_sample_a_reader_or_a_writer():
    manifest = PluginManifest.from_file(MANIFEST)
    offered = manifest.contributions
    used = [*offered.widgets, *offered.sample_data, *offered.readers, *offered.writers]
    assert manifest.name == "napari-connecto"
    assert sorted(command.id for command in offered.commands) == sorted(entry.command for entry in used)


PIXELS = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
SAVED = {
    "image": Image(PIXELS, scale=(40, 8, 8), units="nm"),
    "labels": Labels(PIXELS, scale=(40, 8, 8), units="nm"),
    "points": Points([[1, 2, 3]], scale=(40, 8, 8), units="nm"),
}


def test_napari_saves_every_kind_of_file_that_the_manifest_promises(npe2pm, tmp_path):
    pytest.importorskip("tensorstore")
    pytest.importorskip("pyarrow")
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    for writer in PluginManifest.from_file(MANIFEST).contributions.writers:
        (kind,) = writer.layer_types
        for suffix in writer.filename_extensions:
            path = tmp_path / f"{kind}{suffix}"
            assert SAVED[kind].save(str(path), plugin="napari-connecto") == [str(path)]
            assert path.exists()


def test_manifest_reads_hdf5_and_no_other_volume_and_no_table_of_others():
    """For those there are other readers, between which napari would ask."""
    reader, volumes = PluginManifest.from_file(MANIFEST).contributions.readers
    assert not reader.accepts_directories
    for name in ("em.zarr", "em.tif", "points.csv", "table.parquet"):
        assert not any(fnmatch(name, pattern) for pattern in reader.filename_patterns)
    assert any(fnmatch("found/detections.csv", pattern) for pattern in reader.filename_patterns)
    assert (volumes.accepts_directories, volumes.filename_patterns) == (False, ["*.h5", "*.hdf5", "*.hdf"])


def test_preferences_have_defaults_and_are_used(plugin_settings, npe2pm, tmp_path, monkeypatch):
    monkeypatch.delenv("NAPARI_CONNECTO_RESULTS")
    from napari.settings import get_plugin_settings

    from napari_connecto.widgets.shared.settings import output_folder, recall

    if "napari-connecto" not in npe2pm:
        npe2pm.register(PluginManifest.from_file(MANIFEST))
    assert output_folder() == Path.home() / "napari-connecto"
    assert (recall("scheduler"), recall("run_on"), recall("workers")) == ("", "This machine", "2")
    get_plugin_settings("napari-connecto").cascade.output_folder = str(tmp_path)
    assert output_folder() == tmp_path


def test_preferences_without_napari_knowing_the_plugin(plugin_settings, monkeypatch):
    monkeypatch.delenv("NAPARI_CONNECTO_RESULTS")
    from napari_connecto.widgets.shared.settings import output_folder

    assert output_folder() == Path.home() / "napari-connecto"


def test_the_pair_opens_in_place_and_says_that_it_is_simulated(sample):
    from napari_connecto.widgets.samples import xray

    (_, seen, kind), (_, em, _), (_, neurons, truth) = xray()
    assert seen["name"] == "X-ray (simulated)"
    assert (kind, truth) == ("image", "labels")
    for other in (em, neurons):
        corners = [k["translate"] - k["scale"] / 2 for k in (seen, other)]
        np.testing.assert_allclose(*corners, atol=1e-6)


def test_every_sample_that_ships_is_in_the_menu_and_opens(sample):
    manifest = PluginManifest.from_file(MANIFEST)
    offered = {entry.key: entry.command for entry in manifest.contributions.sample_data}
    assert set(offered) == {*SAMPLES, *PAIRS}
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    for name, command in offered.items():
        module, function = commands[command].split(":")
        image, *truths = getattr(import_module(module), function)()
        finest = image[0][0] if image[1].get("multiscale") else image[0]
        np.testing.assert_array_equal(finest[0], open_sample(name).levels[0].array[0])
        assert len(truths) == len((SAMPLES | PAIRS)[name])


BESIDE = {
    "cells": "Cascade detection",
    "neuropil": "Adapt to my data",
    "xray": "X-ray to EM",
    "xray-test": "X-ray to EM",
}


@pytest.mark.gl
@pytest.mark.parametrize("key", ["cells", *(pytest.param(key, marks=pytest.mark.slow) for key in [*BESIDE][1:])])
def test_a_sample_opens_with_its_dock_on_its_first_layer(key, sample, viewer, qtbot):
    """The dock is on the sample even if another image came first, and a script's invisible viewer gets none."""
    viewer.add_image(np.zeros((8, 16, 16), np.uint8), name="other")
    viewer.open_sample("napari-connecto", key)
    qtbot.wait(50)
    assert not viewer.window.dock_widgets
    viewer.layers.clear()
    viewer.add_image(np.zeros((8, 16, 16), np.uint8), name="other")
    viewer.window.show()
    first = viewer.open_sample("napari-connecto", key)[0]
    title = f"{BESIDE[key]} (napari-connecto)"
    qtbot.waitUntil(lambda: title in viewer.window.dock_widgets, timeout=5000)
    dock = viewer.window.dock_widgets[title]
    assert dock.image.layer.name == viewer.layers.selection.active.name == first.name
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=5000)
    viewer.layers.selection.active = viewer.layers["other"]
    again = viewer.open_sample("napari-connecto", key)[0]
    qtbot.waitUntil(lambda: dock.image.layer.name == again.name, timeout=5000)
    assert list(viewer.window.dock_widgets) == [title]
    dock.close_jobs()


def test_sample_opens_in_nm_and_is_reopened_from_its_file(sample):
    from napari_connecto.widgets.samples import cells
    from napari_connecto.widgets.viewer.layers import describe

    (data, keywords, kind), *truths = cells()
    assert kind == "image"
    assert [t[2] for t in truths] == ["labels"]
    layer = Image(data, **keywords)
    assert layer.multiscale
    volume = describe(layer).volume()
    assert volume.source == sample.source
    assert [level.voxel_nm for level in volume.levels] == [level.voxel_nm for level in sample.levels]
    assert volume.fingerprint() == sample.fingerprint()


@pytest.mark.gl
def test_layer_read_by_napari_ome_zarr_is_reopened_with_its_voxel_sizes(sample, viewer):
    pytest.importorskip("napari_ome_zarr")
    from napari_connecto.widgets.viewer.layers import SPEC, describe

    (layer,) = viewer.open(sample.source, plugin="napari-ome-zarr")
    volume = describe(layer).volume()
    assert volume.source == sample.source
    assert volume.metadata[SPEC] == VolumeSpec(sample.source)
    for mine, level in zip(volume.levels, sample.levels, strict=True):
        assert (mine.voxel_nm, mine.origin_nm) == (level.voxel_nm, level.origin_nm)


@pytest.mark.gl
def test_a_result_on_part_of_a_volume_lies_on_it_when_both_are_dropped_on_napari(viewer, tmp_path):
    pytest.importorskip("napari_ome_zarr")
    from napari_connecto.widgets.viewer.layers import describe

    array = np.arange(16 * 64 * 64, dtype="u4").reshape(16, 64, 64)
    whole = Level(array.astype("u1"), (40.0, 8.0, 8.0))
    part = Level(array[4:12, 16:48, 16:48], (40.0, 8.0, 8.0), (160.0, 128.0, 128.0))
    save_volume(Volume((whole,)), tmp_path / "whole.zarr", levels=3)
    save_volume(Volume((part,), kind="labels"), tmp_path / "run" / "labels" / "objects.zarr", levels=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reader looks for an image two folders up
        (image,) = viewer.open(str(tmp_path / "whole.zarr"), plugin="napari-ome-zarr")
        (labels,) = viewer.open(str(tmp_path / "run" / "labels" / "objects.zarr"), plugin="napari-ome-zarr")
    inside = labels.world_to_data(image.data_to_world((5, 20, 30)))
    np.testing.assert_allclose(inside, (1, 4, 14))
    assert int(labels.data[0][1, 4, 14]) == array[5, 20, 30]
    assert describe(image).volume().levels[0].origin_nm == (0, 0, 0)
    assert describe(labels).volume().levels[0].origin_nm == (160, 128, 128)


@pytest.mark.gl
def test_demo_fills_a_viewer(sample, viewer, qtbot):
    from napari_connecto.widgets.demo import fill_viewer

    level = sample.levels[0]
    report = {"levels": [{"voxel_nm": list(level.voxel_nm)}]}
    found = Detections(
        level.to_nm([[10.5, 20.5, 30.5]]), np.array([0.9]), np.array([[8, 16, 26, 13, 25, 35]]), np.arange(1), report
    )
    dock = fill_viewer(viewer, {"cells": (sample, found)})
    points, image = viewer.layers["detections"], viewer.layers[0]
    np.testing.assert_allclose(image.world_to_data(points.data_to_world(points.data[0])), [10, 20, 30])
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=5000)
    dock.close_jobs()


OPEN = """
import sys, napari
viewer = napari.Viewer(show=False)
for dock in sys.argv[1:]:
    viewer.window.add_plugin_dock_widget("napari-connecto", dock)
    print(dock, sorted({"torch", "pandas", "ome_zarr_models", "aiohttp"} & set(sys.modules)))
viewer.close()
"""


@pytest.mark.gl
def test_opening_the_docks_loads_nothing_heavy(tmp_path):
    """Neither networks, tables nor readers of volumes: the first job loads them, in its thread."""
    env = {**os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    docks = [widget.display_name for widget in PluginManifest.from_file(MANIFEST).contributions.widgets]
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *docks], capture_output=True, text=True, env=env, timeout=120, check=False
    )
    assert done.stdout.splitlines()[-len(docks) :] == [f"{dock} []" for dock in docks], done.stderr
