"""Live search in a real viewer, with real (untrained) networks: moved, shown, ended."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import TooBigError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.cascade import setup as cascade_setup
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.cascade.live import LiveSearch
from napari_connecto.workflows.cascade.params import DetectParams
from tests import tiny

pytestmark = pytest.mark.gl
PARAMS = DetectParams(audit=0, ood_check="off", force_cascade=True, batch=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A volume on disk, and cascades for masks and for centres."""
    folder = tmp_path_factory.mktemp("live")
    path = tiny.volume(folder, (16, 320, 320))
    return path, {head: tiny.cascade(path, folder / head, head) for head in ("masks", "centres")}


@pytest.fixture
def open_dock(files, viewer, qtbot, monkeypatch, tmp_path):
    """Opens the dock on that volume with one of the cascades."""
    made = []

    def open_it(head):
        path, folders = files
        monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
        monkeypatch.setattr(cascade_setup, "list_job", lambda: _listed({"tiny": folders[head]}))
        data, keywords, _ = layer_data(open_volume(path))
        viewer.add_image(data, **keywords)
        dock = cascade.CascadeWidget(viewer)
        made.append(dock)
        viewer.window.add_dock_widget(dock, name="Cascade detection")
        qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=60_000)
        dock.options.form.value = PARAMS
        viewer.scene.camera.zoom = 2 * viewer.scene.camera.zoom
        return dock

    yield open_it
    for dock in made:
        dock.close_jobs()


def _listed(folders):
    yield from ()
    return folders


@pytest.fixture
def computed(monkeypatch):
    """Every tile that a live search computes or reads."""
    keys = []
    compute = LiveSearch.compute

    def counting(self, these):
        keys.extend(these)
        return compute(self, these)

    monkeypatch.setattr(LiveSearch, "compute", counting)
    return keys


def complete(dock, qtbot):
    """Wait until everything in view is there, and shown."""
    qtbot.waitUntil(lambda: dock.live.complete, timeout=60_000)
    qtbot.waitUntil(lambda: not dock.live._waiting, timeout=5000)
    assert dock.bar.status.text().startswith("Live: all ")


def preview(dock, qtbot):
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=60_000):
        dock.preview.click()


def test_live_centres_are_those_of_a_preview(open_dock, viewer, qtbot):
    """The same view: Live's points and scores are those that *Preview in view* finds in a folder of its own."""
    dock = open_dock("centres")
    dock.live.click()
    complete(dock, qtbot)
    live = viewer.layers["live detections (centres)"]
    centres = np.array([live.data_to_world(point) for point in live.data])
    scores = live.features["score"].to_numpy()
    dock.options.out.setText(str(dock.search().out) + "-preview")
    preview(dock, qtbot)
    assert not dock.live.isChecked()
    points = viewer.layers["detections (centres)"]
    right = np.array([points.data_to_world(point) for point in points.data])
    assert len(right) > 1
    order, wanted = np.lexsort(centres.T), np.lexsort(right.T)
    np.testing.assert_allclose(centres[order], right[wanted])
    np.testing.assert_allclose(scores[order], points.features["score"].to_numpy()[wanted], atol=1e-4)


def test_live_scores_are_the_map_of_a_preview_and_empty_elsewhere(open_dock, viewer, qtbot):
    """The layer on the finest grid: what a preview stores where it is stored, NaN where nothing was computed."""
    dock = open_dock("masks")
    dock.live.click()
    complete(dock, qtbot)
    heat = viewer.layers["live scores (masks)"]
    finest = heat.data[0] if heat.multiscale else heat.data
    shown = np.asarray(finest)
    out = dock.search().out
    dock.options.out.setText(str(out) + "-preview")
    preview(dock, qtbot)
    stored = open_volume(str(out) + "-preview/map/probability.zarr").levels[0]
    stored = stored.read(stored.box)
    inside = stored > 0
    assert inside.any()
    np.testing.assert_allclose(shown[inside] * 255, stored[inside], atol=1e-3)
    assert np.isnan(shown).any()
    labels = viewer.layers["objects (masks)"]
    ids = np.asarray(viewer.layers["live objects (masks)"].data[0])
    np.testing.assert_array_equal(ids > 0, np.asarray(labels.data[0]) > 0)


def test_moving_computes_only_new_tiles_and_keeps_limits_and_camera(open_dock, viewer, qtbot, computed):
    """Away and back: every tile once; contrast limits and camera are the user's."""
    dock = open_dock("centres")
    dock.live.click()
    complete(dock, qtbot)
    heat, camera = viewer.layers["live scores (centres)"], viewer.scene.camera
    heat.contrast_limits = (0.1, 0.7)
    first, here = len(computed), camera.center
    camera.center = (here[0], here[1] * 0.6, here[2] * 0.6)
    qtbot.waitUntil(lambda: len(computed) > first, timeout=20_000)
    complete(dock, qtbot)
    moved = len(computed)
    assert camera.center == (here[0], here[1] * 0.6, here[2] * 0.6)
    camera.center = here
    complete(dock, qtbot)
    assert len(computed) == moved == len(set(computed))
    assert tuple(heat.contrast_limits) == (0.1, 0.7)


def test_another_threshold_asks_no_network(open_dock, viewer, qtbot, computed):
    """Objects change with the threshold; no tile is computed or read again."""
    dock = open_dock("centres")
    dock.live.click()
    complete(dock, qtbot)
    points, tiles = viewer.layers["live detections (centres)"], len(computed)
    scores = np.sort(points.features["score"])
    threshold = (scores[0] + scores[-1]) / 2
    dock.options.form.change(threshold=float(threshold))
    qtbot.waitUntil(lambda: len(points.data) == (scores >= threshold).sum(), timeout=20_000)
    np.testing.assert_array_equal(np.sort(points.features["score"]), scores[scores >= threshold])
    assert scores[0] < threshold
    assert len(computed) == tiles


def test_it_ends_with_its_layer_and_with_the_dock(open_dock, viewer, qtbot):
    """Removing the layer switches Live off; so does closing the dock; its key works; no thread is left."""
    dock = open_dock("centres")
    dock.live._on_key()
    complete(dock, qtbot)
    viewer.layers.remove("live scores (centres)")
    assert not dock.live.isChecked()
    assert "removed" in dock.bar.status.text()
    dock.live.click()
    complete(dock, qtbot)
    assert "live scores (centres)" in viewer.layers
    thread = dock.live.worker._thread
    dock.close_jobs()
    assert not dock.live.isChecked()
    thread.join(5)
    assert not thread.is_alive()


def test_an_error_is_one_line_and_switches_it_off(open_dock, viewer, qtbot, monkeypatch):
    dock = open_dock("centres")

    def compute(self, keys):
        raise TooBigError("one tile does not fit into the memory of this machine; close other programs")

    monkeypatch.setattr(LiveSearch, "compute", compute)
    shown = []
    dock.live.worker.failed.connect(lambda error, _: shown.append(error))
    dock.live.click()
    qtbot.waitUntil(lambda: not dock.live.isChecked(), timeout=20_000)
    qtbot.wait(200)
    assert len(shown) == 1
    assert dock.bar.error.label.text().startswith("one tile does not fit")


def test_without_an_image_it_says_what_is_missing(open_dock, viewer):
    dock = open_dock("centres")
    viewer.layers.clear()
    assert not dock.live.isEnabled()
    assert dock.live.toolTip().endswith("First open an image.")


def test_a_run_waits_for_the_folder_and_takes_what_is_there(open_dock, viewer, qtbot, computed):
    """*Run all* right after Live: no "in use", and its layers take the place of Live's."""
    dock = open_dock("centres")
    dock.live.click()
    qtbot.waitUntil(lambda: len(computed) > 2, timeout=20_000)
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=60_000):
        dock.bar.button.click()
    assert not dock.live.isChecked()
    assert dock.live.isEnabled()
    assert len(dock.results.review.found)
    live = [layer for layer in viewer.layers if layer.name.startswith("live ")]
    assert not any(layer.visible for layer in live)
