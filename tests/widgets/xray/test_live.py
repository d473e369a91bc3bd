"""Live translation in a real viewer: the numbers of the whole translation, tile by tile, only where one looked."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.jobs import Progress
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.xray import choose as xray_choose
from napari_connecto.widgets.xray import dock as translate
from napari_connecto.workflows.xray.live import LiveTranslation
from napari_connecto.workflows.xray.translate import translate as translate_headless
from napari_connecto.workflows.xray.translator import load_translator
from tests import translate_dock_parts

pytestmark = pytest.mark.gl
MEAN, SD = "live EM-like (from X-ray)", "live uncertainty"


@pytest.fixture
def dock(viewer, qtbot, monkeypatch, tmp_path):
    files = (*translate_dock_parts.pair(tmp_path), translate_dock_parts.translator(tmp_path / "tiny"))

    def list_job():
        yield Progress(0, 0)
        return {"tiny": files[2]}

    monkeypatch.setattr(translate, "output_folder", lambda: tmp_path / "results")
    monkeypatch.setattr(xray_choose, "list_job", list_job)
    data, keywords, _ = layer_data(open_volume(files[0]))
    viewer.add_image(data, **keywords)
    widget = translate.TranslateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="X-ray to EM")
    qtbot.waitUntil(lambda: widget.card.estimate is not None, timeout=60_000)
    yield widget, files
    widget.close_jobs()


def complete(dock, qtbot):
    qtbot.waitUntil(lambda: dock.live.complete and not dock.live._waiting, timeout=60_000)


def values(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def test_live_shows_the_translation_and_run_all_goes_on_from_it(dock, viewer, qtbot, monkeypatch):
    """Half of the image in view: its tile is that of `translate`, the other is NaN; then a move computes the other
    alone, and *Run all* computes nothing."""
    dock, files = dock
    keys = []
    compute = LiveTranslation.compute

    def counting(self, these):
        keys.extend(these)
        return compute(self, these)

    monkeypatch.setattr(LiveTranslation, "compute", counting)
    image, camera = viewer.layers[0], viewer.scene.camera
    width = image.extent.world[1][2] - image.extent.world[0][2]
    camera.zoom = viewer.canvas.size[1] / (width / 4)
    camera.center = (0, camera.center[1], image.extent.world[0][2] + width / 4)
    dock.live.click()
    complete(dock, qtbot)
    right = translate_headless(open_volume(files[0]), load_translator(files[2], backend="torch"))
    mean = right.mean.levels[0].read(right.mean.levels[0].box)
    total = np.hypot(*(v.levels[0].read(v.levels[0].box) for v in (right.aleatoric, right.epistemic)))
    shown, sd = values(viewer.layers[MEAN]), values(viewer.layers[SD])
    seen = np.isfinite(shown)
    assert seen[..., :96].all()
    assert not seen[..., 96:].any()
    np.testing.assert_allclose(shown[seen], mean[seen], atol=1e-3)
    np.testing.assert_allclose(sd[seen], total[seen], rtol=2e-3, atol=1e-3)
    assert keys == [("first pass", 0), ("mean", 0)]
    camera.center = (0, camera.center[1], image.extent.world[1][2] - width / 8)
    qtbot.waitUntil(lambda: len(keys) == 4, timeout=60_000)
    complete(dock, qtbot)
    assert keys[2:] == [("first pass", 1), ("mean", 1)]
    np.testing.assert_allclose(values(viewer.layers[MEAN]), mean, atol=1e-3)
    monkeypatch.setattr(
        "napari_connecto.models.inference.mixture.Mixture.__call__", lambda *_: pytest.fail("a network was called")
    )
    dock.bar.button.click()
    assert not dock.live.isChecked()
    assert not viewer.layers[MEAN].visible
    name = "EM-like (from X-ray)"

    def whole():  # while the run goes on to check the membranes
        run = [layer for layer in viewer.layers if layer.name.startswith(name)]
        return bool(run) and bool(np.array_equal(values(run[0]), mean))

    qtbot.waitUntil(whole, timeout=60_000)
    assert dock.bar.error.label.text() == ""


def test_removing_the_image_ends_it(dock, viewer, qtbot):
    dock, _ = dock
    dock.live.click()
    complete(dock, qtbot)
    viewer.layers.remove(dock.image.layer)
    assert not dock.live.isChecked()


def test_live_is_grey_without_an_image(dock, viewer, qtbot):
    """A button that can be pressed does something."""
    dock, _ = dock
    assert dock.live.isEnabled()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not dock.live.isEnabled(), timeout=5000)
    assert dock.live.toolTip().endswith("First open an image.")
