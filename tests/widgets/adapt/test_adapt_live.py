"""Live segmentation in a real viewer: the chosen model's boundary map and segments where one looked."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model
from napari_connecto.workflows.segment.block import as_probability, segment_array
from napari_connecto.workflows.segment.live import APART, LiveSegments
from napari_connecto.workflows.segment.mode import resolved
from napari_connecto.workflows.segment.predict import predict

pytestmark = pytest.mark.gl
BOUNDARY, SEGMENTS = "live boundary", "live segments (per tile)"


@pytest.fixture
def computed(monkeypatch):
    """Every tile that a live segmentation computes."""
    keys = []
    compute = LiveSegments.compute

    def counting(self, these):
        keys.extend(these)
        return compute(self, these)

    monkeypatch.setattr(LiveSegments, "compute", counting)
    return keys


def complete(dock, qtbot):
    qtbot.waitUntil(lambda: dock.live.complete and not dock.live._waiting, timeout=60_000)


def values(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def test_live_shows_boundary_and_segments_of_the_chosen_model(dock, viewer, qtbot, files, computed, tmp_path):
    """The section in view: the map of `predict`, and per tile the segments of it; other sections are empty. Other
    thresholds call no network; another model is asked anew."""
    dock.choose.choose("near")
    viewer.dims.set_current_step(0, 3)
    dock.live.click()
    complete(dock, qtbot)
    model = load_model(files[2] / "near", backend="torch")
    right = predict(open_volume(files[0]), model, out=tmp_path / "right").levels[0]
    right = right.read(right.box)
    shown, segments = values(viewer.layers[BOUNDARY]), values(viewer.layers[SEGMENTS])
    np.testing.assert_allclose(shown[3] * 255, right[3], atol=1e-3)
    assert np.isnan(np.delete(shown, 3, axis=0)).all()
    assert not np.delete(segments, 3, axis=0).any()
    params = resolved(dock.segment.form.value, (8, 256, 256), (40.0, 8.0, 8.0))
    tile = segment_array(as_probability(right[3:4, :64, :64]), params, (40.0, 8.0, 8.0))
    np.testing.assert_array_equal(segments[3:4, :64, :64], tile + np.uint32(3 * 16 * APART % 2**31))
    assert len(computed) == len(set(computed)) == 2 * 16
    dock.segment.form.change(min_size=2000)
    qtbot.waitUntil(
        lambda: len(np.unique(values(viewer.layers[SEGMENTS])[3])) < len(np.unique(segments[3])), timeout=20_000
    )
    complete(dock, qtbot)
    assert {name for name, _ in computed[32:]} == {"segments"}
    before = len(computed)
    dock.choose.choose("far")
    qtbot.waitUntil(lambda: len(computed) >= before + 32, timeout=20_000)
    complete(dock, qtbot)
    far = load_model(files[2] / "far", backend="torch")
    other = predict(open_volume(files[0]), far, out=tmp_path / "far").levels[0]
    mine = next(layer for layer in viewer.layers if layer.name.startswith(BOUNDARY) and layer.visible)
    np.testing.assert_allclose(values(mine)[3] * 255, other.read(other.box)[3], atol=1e-3)


def test_it_is_grey_and_says_what_is_missing_until_there_is_a_model_and_an_image(dock, viewer, qtbot):
    """A button that can be pressed does something."""
    assert not dock.live.isEnabled()
    assert dock.live.toolTip().endswith("First choose a model in step 1.")
    dock.choose.choose("near")
    assert dock.live.isEnabled()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not dock.live.isEnabled(), timeout=5000)
    assert dock.live.toolTip().endswith("First open an image.")


def test_live_is_in_sight_at_every_step_and_goes_off_when_a_job_starts(dock, qtbot):
    """Its button stands in the footer; its line says why it went off."""
    dock.choose.choose("near")
    for step in range(1, 6):
        dock.go_to(step)
        assert dock.live.isVisibleTo(dock)
        assert dock.footer.isAncestorOf(dock.live)
    dock.live.click()
    assert dock.live.isChecked()
    dock.segment.bar.worker.start(lambda: iter(()))
    assert not dock.live.isChecked()
    assert not dock.live.isEnabled()
    assert dock.live_line.status.text() == "Live is off, because a job started."
    qtbot.waitUntil(lambda: not dock.segment.bar.worker.state.busy, timeout=10_000)
    assert dock.live.isEnabled()
