"""The box "Use what was found" in a real viewer: a click ends in features and layers with the right numbers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import read_table
from napari_connecto.widgets.cascade.using import box as using
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.fields.plan import plan_fields
from napari_connecto.workflows.cascade.results.measure import measure
from napari_connecto.workflows.cascade.results.params import FieldParams
from napari_connecto.workflows.cascade.verdicts import REJECTED
from tests.widgets.cascade.test_cascade_dock import BOXES, CENTRES, POINTS, SCORES, dock, fake, run  # noqa: F401

pytestmark = pytest.mark.gl
VOXEL, ORIGIN = (50.0, 4.0, 4.0), (-25.0, -2.0, -2.0)  # napari's world begins in the middle of the first voxel
IMAGE = {"voxel_nm": VOXEL, "origin_nm": ORIGIN, "shape": (8, 100, 100)}


@pytest.fixture
def searched(dock, fake, qtbot):  # noqa: F811
    """The dock after a search for masks, whose table is in its folder."""
    labels = np.zeros((8, 100, 100), np.uint32)
    for number, (z0, y0, x0, z1, y1, x1) in enumerate(BOXES, 1):
        labels[z0:z1, y0:y1, x0:x1] = number
    volume = Volume((Level(labels, VOXEL, ORIGIN),), kind="labels")
    fake.found = Detections(CENTRES, SCORES, BOXES, np.arange(3), {"levels": [IMAGE], "image": IMAGE}, volume)
    run(dock, qtbot)
    fake.found.save(fake.calls[-1][0].out / "detections.csv")
    return dock


def columns(model):
    """As in files; the table's own headings are in words."""
    role = Qt.ItemDataRole.ToolTipRole
    return [model.headerData(i, Qt.Orientation.Horizontal, role) for i in range(model.columnCount())]


def press(bar, qtbot):
    bar.button.click()
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=20000)
    assert not bar.error.isVisibleTo(bar), bar.error.details.toPlainText() or bar.error.label.text()


def test_it_is_there_once_something_was_found(dock, fake, qtbot):  # noqa: F811
    assert not dock.use.isVisibleTo(dock)
    run(dock, qtbot)
    assert dock.use.isVisibleTo(dock)


def test_measure_ends_in_features_and_in_every_export(searched, fake, viewer, qtbot, tmp_path):  # noqa: F811
    searched.results.table.toggle()
    assert "mean" not in columns(searched.results.table.model)
    press(searched.use.measure, qtbot)
    expected = measure(fake.found, searched.image.full).measures
    points = viewer.layers[POINTS]
    np.testing.assert_allclose(points.features["mean"], expected["mean"], rtol=1e-4)
    assert set(expected) <= set(columns(searched.results.table.model))
    assert points.features["voxels"].tolist() == [72, 72, 72]
    table, _ = read_table(fake.calls[-1][0].out / "detections.csv")
    np.testing.assert_array_equal(table["sd"], expected["sd"])
    assert searched.use.measure.status.text().startswith("3 objects measured; median volume 5.76e-05 um^3")
    exporter = searched.results.exporter
    with qtbot.waitSignal(exporter.written, timeout=5000):
        exporter.export(searched.results.review, tmp_path / "kept.csv")
    np.testing.assert_array_equal(read_table(tmp_path / "kept.csv")[0]["minor_nm"], expected["minor_nm"])


def test_regions_are_counted_of_what_is_shown_and_each_point_says_its_own(searched, viewer, qtbot):
    searched.use.count.button.click()
    assert "no regions are chosen" in searched.use.count.error.label.text()
    atlas = np.zeros((2, 10, 10), np.int32)
    atlas[:, :4], atlas[:, 4:] = 7, 9
    layer = viewer.add_labels(atlas, name="atlas", scale=(200, 40, 40), translate=(75, 18, 18), units="nm")
    layer.features = {"index": [7, 9], "name": ["upper", "lower"]}
    searched.results.threshold.setValue(0.7)
    qtbot.waitUntil(lambda: searched.results.review.threshold > 0.65, timeout=2000)
    searched.use.regions.choose(layer)
    press(searched.use.count, qtbot)
    expected = np.where(CENTRES[:, 1] < 160, 7, 9)  # the corner of the atlas is that of the image
    assert viewer.layers[POINTS].features["region"].tolist() == expected.tolist()
    told = layer.features.set_index("index")
    shown = SCORES >= 0.7
    assert told.loc[7, "objects"] == np.count_nonzero(shown & (expected == 7)) == 0
    assert told.loc[9, "objects"] == np.count_nonzero(shown & (expected == 9)) == 2
    assert told.loc[9, "volume_mm3"] == pytest.approx(400 * 240 * 400 / 1e18)
    assert told["name"].to_dict() == {7: "upper", 9: "lower"}
    assert "lower: 2 objects" in searched.use.count.status.text()


def test_fields_are_drawn_where_they_are_and_saved(searched, fake, viewer, qtbot, tmp_path, monkeypatch):  # noqa: F811
    searched.results.step(1)
    searched.results.judge(REJECTED)  # the best, object 2
    searched.use.form.change(size=(0.06, 0.08), margin=0.004)
    press(searched.use.plan, qtbot)
    params = FieldParams(size=(0.06, 0.08), margin=0.004)
    expected = plan_fields(fake.found.where(fake.found.id != 2), params)
    layer = next(layer for layer in viewer.layers if layer.name == "fields of view (em)")
    assert len(layer.data) == len(expected) == 2
    for rectangle, start, stop in zip(layer.data, expected.start_um, expected.stop_um, strict=True):
        world = np.array([layer.data_to_world(corner) for corner in rectangle])[:, -2:]
        np.testing.assert_allclose(world.min(axis=0), start[1:] * 1000)
        np.testing.assert_allclose(world.max(axis=0), stop[1:] * 1000)
    assert layer.features["objects"].tolist() == [1, 1]
    press(searched.use.plan, qtbot)
    assert sum(layer.name.startswith("fields of view") for layer in viewer.layers) == 1
    asked = (str(tmp_path / "f"), "JSON (*.json)")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: asked)
    searched.use.save.click()
    qtbot.waitUntil((tmp_path / "f.json").exists, timeout=5000)
    qtbot.waitUntil(lambda: "Written to" in searched.use.plan.status.text(), timeout=5000)


def test_a_job_can_be_cancelled_and_one_that_fails_says_why(searched, qtbot, monkeypatch):
    closed = threading.Event()

    def endless(_used):
        try:
            while True:
                time.sleep(0.01)
                yield Progress(0, 9, "measuring objects")
        finally:
            closed.set()

    monkeypatch.setattr(using, "measure_used_job", endless)
    searched.use.measure.clicked.disconnect()
    searched.use.measure.clicked.connect(lambda: searched.use._start(searched.use.measure, endless))
    searched.use.measure.button.click()
    qtbot.waitUntil(lambda: "measuring objects" in searched.use.measure.status.text(), timeout=5000)
    searched.use.measure.button.click()
    assert closed.wait(1)
    searched.use.form.change(size=(0.06, 0.08), margin=0.05)
    with qtbot.waitSignal(searched.use.plan.worker.failed, timeout=5000):
        searched.use.plan.button.click()
    assert "twice the margin must fit" in searched.use.plan.error.label.text()
    assert not searched.use.save.isEnabled()


def test_closing_the_dock_ends_what_is_measured(searched, viewer, qtbot):
    closed = threading.Event()

    def endless():
        try:
            while True:
                time.sleep(0.01)
                yield Progress(0, 9, "measuring objects")
        finally:
            closed.set()

    searched.use.measure.start(endless, resumable=False)
    qtbot.waitUntil(lambda: "measuring objects" in searched.use.measure.status.text(), timeout=5000)
    viewer.window.remove_dock_widget(searched)
    assert closed.wait(1)
