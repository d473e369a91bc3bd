"""The dock in a real viewer, with searches that are made up: what is clicked, shown, stopped, undone, written."""

from __future__ import annotations

import csv
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Points
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from vispy.color import ColorArray

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import read_table
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.cascade import keeping as cascade_keeping
from napari_connecto.widgets.cascade import layers as cascade_layers
from napari_connecto.widgets.cascade import setup as cascade_setup
from napari_connecto.widgets.cascade.jobs import CascadeAbout
from napari_connecto.widgets.shared import estimate_card
from napari_connecto.widgets.shared.commands import RunOn
from napari_connecto.widgets.shared.run_on import CLUSTER
from napari_connecto.widgets.viewer.view import OKABE_ITO
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.estimate import Estimate, LevelEstimate
from napari_connecto.workflows.cascade.verdicts import write_verdicts
from napari_connecto.workflows.ood.check import OodCheck
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.recipes.words import command_line
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

pytestmark = pytest.mark.gl

CENTRES = np.array([[0.0, 40, 80], [50, 160, 240], [150, 200, 120]])
SCORES = np.array([0.6, 0.9, 0.75])
BOXES = np.array([[0, 8, 18, 2, 14, 24], [1, 38, 58, 3, 44, 64], [3, 48, 28, 5, 54, 34]])
GATE = Gate.fit(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0))
LINES = ["level 1 (50x8x8 nm): 100% of the volume", "level 0 (50x4x4 nm): 3.1% of the volume"]


def detections(labels=None):
    return Detections(CENTRES, SCORES, BOXES, np.arange(3), {"cascade": "bodies"}, labels)


def part(i):
    return Detections(CENTRES[i : i + 1], SCORES[i : i + 1], BOXES[i : i + 1], np.array([i]))


POINTS = "detections (bodies)"


class Fake:
    """Stands in for the workflow: three detections one by one, endless if told so."""

    def __init__(self):
        self.calls, self.closed = [], threading.Event()
        self.endless, self.error, self.labels, self.unlike = False, None, None, False
        self.found, self.parts, self.fits = None, 3, True

    def search_job(self, search, region=None, first=None):
        self.calls.append((search, region, first))
        search.out.mkdir(parents=True, exist_ok=True)
        try:
            for i in range(self.parts):
                yield Progress(i, 3, "level 0", part(i))
            while self.endless:
                time.sleep(0.01)
                yield Progress(3, 9, "level 0")
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()
        return detections(self.labels) if self.found is None else self.found

    def check_job(self, search):
        yield Progress(0, 32, "comparing")
        if self.unlike:
            judged = Judgement(np.ones(32), np.zeros(32), np.arange(32) < 7, 0.05)
            return OodCheck("bodies", judged, gate=GATE)
        return OodCheck("bodies", reason="not fitted for this model")

    def estimate_job(self, search):
        yield Progress(0, 0, "timing")
        if not search.volume.calibrated or max(search.volume.levels[0].voxel_nm[1:]) > 5:
            raise VoxelSizeError("'em' has voxels of 50x8x8 nm, the model needs 50x4x4 nm within 25%; convert it")
        level = LevelEstimate("level 0", (8, 100, 100), (50.0, 4.0, 4.0), 1e-4, 12.0, 0.031, 1.5, (1, 64, 64))
        notes = ("a note",) if self.fits else ("Needs about 9 GB of memory, 1 GB are free: use a smaller batch.",)
        return Estimate((level,), 1.5, 15.0, 2**28, 2**20, "cpu", notes, self.fits, level, {"level 0": 1.5})


@pytest.fixture
def fake(monkeypatch, tmp_path):
    fake = Fake()
    folder = tmp_path / "cascades" / "bodies"
    folder.mkdir(parents=True)
    (folder / "cascade.json").write_text("{}")
    peeked = CascadeAbout("bodies", "centres", (50.0, 4.0, 4.0), 2, 40.0, 0.5, "a phantom")

    def list_job():
        yield Progress(0, 0)
        return {"bodies": folder}

    monkeypatch.setattr(cascade, "search_job", fake.search_job)
    monkeypatch.setattr(cascade, "estimate_job", fake.estimate_job)
    monkeypatch.setattr(cascade, "check_job", fake.check_job)
    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
    monkeypatch.setattr(cascade_setup, "list_job", list_job)
    monkeypatch.setattr(cascade_setup, "peek", lambda _: peeked)
    monkeypatch.setattr("napari_connecto.workflows.cascade.report.report_lines", lambda _: LINES)
    fake.peeked = peeked
    return fake


@pytest.fixture
def dock(fake, viewer, qtbot):
    ramp = np.arange(8 * 100 * 100, dtype=np.uint16).reshape(8, 100, 100) % 251
    viewer.add_image(
        [ramp, ramp[:, ::2, ::2]], multiscale=True, scale=(50, 4, 4), units="nm", name="em", contrast_limits=(0, 255)
    )
    widget = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cascade detection")
    qtbot.waitUntil(lambda: widget.card.estimate is not None, timeout=5000)
    yield widget
    widget.close_jobs()


def shown(dock):
    """How many points there are; 0 before there is a layer."""
    layers = dock.results.layers
    return 0 if layers is None or layers.points is None else len(layers.points.data)


def run(dock, qtbot):
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=5000):
        dock.bar.button.click()


def test_card_says_what_it_will_cost(dock):
    text = dock.card.text.text()
    assert "about 1.5 s" in text
    assert "exhaustive search: 15 s, 10.0×" in text
    assert "3.1 %" in text
    assert dock.card.notes.text() == "a note"


def test_card_says_whether_the_image_was_checked(dock, qtbot):
    qtbot.waitUntil(lambda: dock.card.check is not None, timeout=5000)
    sentence = "Out-of-distribution check for 'bodies' skipped: not fitted for this model."
    assert dock.card.unlike.text() == sentence
    assert dock.card.sure()


def test_an_unlike_image_is_asked_about_once_and_the_answer_goes_along(dock, fake, qtbot, monkeypatch):
    fake.unlike, asked = True, []
    dock.options.form.value = replace(dock.options.form.value, audit=7)
    dock.options.changed.emit()
    qtbot.waitUntil(lambda: dock.card.check is not None and dock.card.check.warns, timeout=5000)
    assert "7 of 32 tiles are out of distribution for 'bodies'" in dock.card.unlike.text()

    def answer(says):
        return lambda parent, sentence: asked.append(sentence) or says

    with qtbot.waitSignal(dock.bar.worker.returned, timeout=5000):
        dock.preview.click()  # that is how one finds out
    monkeypatch.setattr(estimate_card, "run_anyway", answer(False))
    dock.bar.button.click()
    assert len(fake.calls) == 1
    monkeypatch.setattr(estimate_card, "run_anyway", answer(True))
    run(dock, qtbot)
    run(dock, qtbot)
    assert len(asked) == 2
    assert [search.check.answer for search, _, _ in fake.calls] == ["", "run anyway", "run anyway"]
    assert fake.calls[1][0].check.to_json()["answer"] == "run anyway"


def test_the_question_can_be_answered(dock, qtbot):
    def press(word):
        def click():
            box = QApplication.activeModalWidget()
            next(b for b in box.buttons() if word in b.text()).click()

        QTimer.singleShot(100, click)
        return estimate_card.run_anyway(dock, "7 of 32 tiles are out of distribution")

    assert press("Run anyway")
    assert not press("Cancel")


def test_run_ends_in_points_at_the_right_place_with_features_and_words(dock, viewer, qtbot):
    run(dock, qtbot)
    points = viewer.layers[POINTS]
    world = np.array([points.data_to_world(p) for p in points.data])
    np.testing.assert_allclose(world, CENTRES)
    np.testing.assert_allclose(points.scale, (100, 24, 24))  # objects of 2 sections, 6 pixels of 4 nm across
    np.testing.assert_allclose(points.data * points.scale, CENTRES)
    assert points.features["score"].tolist() == [0.6, 0.9, 0.75]
    assert points.features["z_nm"].tolist() == [0, 50, 150]
    assert points.features["status"].tolist() == ["new"] * 3
    assert all(line in dock.results.report.text() for line in LINES)
    assert dock.bar.button.text() == "Run all"


def test_points_appear_while_the_search_runs(dock, fake, viewer, qtbot):
    fake.endless = True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: shown(dock) == 3, timeout=2000)
    assert dock.bar.button.text() == "Cancel"
    dock.bar.button.click()
    qtbot.waitUntil(fake.closed.is_set, timeout=1000)


def test_run_starts_with_the_field_of_view_and_preview_is_nothing_else(dock, fake, viewer, qtbot):
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=5000):
        dock.preview.click()
    run(dock, qtbot)
    (preview, region, middle), (whole, none, first) = fake.calls
    assert (preview.params.ood_check, whole.params.ood_check) == ("off", "warn")
    assert region.contains(middle)
    assert 0 < middle.size < region.size / 10
    np.testing.assert_allclose(middle.centre, region.centre, atol=1)
    assert preview.params.audit == 0
    assert whole.params.audit == 300
    assert none is None
    assert isinstance(region, Box)
    assert region == first
    assert region.size > 0
    assert preview.out == whole.out  # Run all goes on from the preview


def test_cancel_stops_keeps_points_and_resumes_in_the_same_folder(dock, fake, qtbot):
    fake.endless = True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: shown(dock) == 3, timeout=2000)
    dock.bar.button.click()
    assert dock.bar.button.text() == "Cancelling…"
    qtbot.waitUntil(lambda: dock.bar.button.text() == "Resume", timeout=20000)  # benchmarks/gui.py measures it
    assert fake.closed.is_set()
    assert shown(dock) == 3
    fake.endless = False
    run(dock, qtbot)
    assert fake.calls[0][0].out == fake.calls[1][0].out
    assert shown(dock) == 3


def test_detections_may_be_deleted_while_a_map_is_about_to_be_shown(dock, fake, viewer, qtbot, monkeypatch):
    monkeypatch.setattr(dock.cascade, "peeked", replace(fake.peeked, head="masks"))
    maps = Volume((Level(np.zeros((8, 50, 50), np.uint8), (50, 8, 8)),))
    monkeypatch.setattr(cascade_layers, "live_map", lambda out: maps if deleted.is_set() else None)
    deleted = threading.Event()
    fake.endless = True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: shown(dock) == 3, timeout=2000)
    viewer.layers.remove(POINTS)
    deleted.set()
    with qtbot.waitSignal(dock.bar.worker.reported, timeout=2000):
        pass
    fake.endless = False
    qtbot.waitUntil(lambda: "Their layer was removed" in dock.results.report.text(), timeout=5000)
    assert "probability" not in [layer.name for layer in viewer.layers]
    run(dock, qtbot)
    assert len(viewer.layers[POINTS].data) == 3


def test_an_error_reaches_the_user_in_one_line(dock, fake, qtbot):
    fake.error = InputError("got 3; allowed 1 to 2; choose less")
    with qtbot.waitSignal(dock.bar.worker.failed, timeout=5000):
        dock.bar.button.click()
    assert dock.bar.error.label.text() == "got 3; allowed 1 to 2; choose less"
    assert "Traceback" in dock.bar.error.details.toPlainText()


def test_what_was_said_of_one_image_is_gone_with_it(dock, fake, viewer, qtbot):
    said = (dock.bar.error, dock.bar.status, dock.bar.report)
    fake.error = InputError("got 3; allowed 1 to 2; choose less")
    with qtbot.waitSignal(dock.bar.worker.failed, timeout=5000):
        dock.bar.button.click()
    viewer.add_image(np.zeros((8, 100, 100), np.uint8), name="other", scale=(50, 4, 4), units="nm")
    assert [part.isVisibleTo(dock) for part in said] == [True, True, False]
    dock.image.layers.setCurrentText("other")
    assert not any(part.isVisibleTo(dock) for part in said)
    fake.error = None
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=5000)
    run(dock, qtbot)
    assert [part.isVisibleTo(dock) for part in said] == [False, True, True]
    dock.image.layers.setCurrentText("em")
    assert not any(part.isVisibleTo(dock) for part in said)


def test_closing_the_dock_closes_the_job(dock, fake, viewer, qtbot):
    fake.endless = True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: len(fake.calls) == 1, timeout=2000)
    viewer.window.remove_dock_widget(dock)
    assert fake.closed.wait(1)


def test_threshold_hides_points_without_a_new_search(dock, fake, viewer, qtbot):
    viewer.dims.ndisplay = 3  # in a section, points whose object does not reach it are hidden too
    run(dock, qtbot)
    dock.results.threshold.setValue(0.7)
    qtbot.waitUntil(lambda: dock.results.layers.points.shown.tolist() == [False, True, True], timeout=1000)
    assert dock.results.count.text().startswith("2 of 3 shown")
    dock.results.threshold.setValue(0.6)
    qtbot.waitUntil(lambda: dock.results.layers.points.shown.all(), timeout=1000)
    assert len(fake.calls) == 1


def press(viewer, points, key):
    """Press a key as napari does: the active layer first, then the viewer."""
    target = points if viewer.layers.selection.active == points else viewer
    for binding, act in target.keymap.items():
        if str(binding) == key:
            act(target)
            return
    raise AssertionError(f"{key} is not bound")


@pytest.mark.parametrize("active", [POINTS, "em"])
def test_keys_step_judge_and_undo(dock, viewer, qtbot, active):
    run(dock, qtbot)
    points = viewer.layers[POINTS]
    viewer.layers.selection.active = viewer.layers[active]
    press(viewer, points, "N")
    assert dock.results.review.current == 1  # the best score
    np.testing.assert_allclose(viewer.dims.point[0], 50)  # its section
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (160, 240))
    press(viewer, points, "A")
    press(viewer, points, "X")
    assert points.features["status"].tolist() == ["new", "accepted", "rejected"]
    assert [str(s) for s in points.symbol] == ["disc", "square", "cross"]
    press(viewer, points, "U")
    assert points.features["status"].tolist() == ["new", "accepted", "new"]
    press(viewer, points, "P")
    assert dock.results.review.current == 1


def test_keys_are_given_back_with_the_points_layer(dock, viewer, qtbot):
    viewer.bind_key("N", lambda _: None)
    mine = dict(viewer.keymap)
    run(dock, qtbot)
    assert {str(k) for k in viewer.keymap} == {"N", "P", "A", "X", "U", "M", "1", "L"}
    viewer.layers.remove(POINTS)
    assert dict(viewer.keymap) == mine


def test_accepted_become_points_to_train_from(dock, viewer, qtbot):
    run(dock, qtbot)
    dock.results.buttons["train"].click()
    assert "no detection is accepted yet" in dock.results.error.label.text()
    dock.results.step(1)
    dock.results.judge("accepted")
    dock.results.buttons["train"].click()
    layer = viewer.layers["training bodies"]
    assert isinstance(layer, Points)
    assert dock.cascade.training
    assert dock.train.isVisibleTo(dock)
    training = dock.train.training()
    assert (training.params.name, training.params.head, training.params.diameter_nm) == ("bodies", "centres", 40)
    np.testing.assert_allclose(training.labels, CENTRES[[1]])


def test_export_leaves_out_hidden_and_rejected(dock, qtbot, tmp_path):
    run(dock, qtbot)
    dock.results.step(1)
    dock.results.judge("rejected")
    dock.results.threshold.setValue(0.7)
    qtbot.waitUntil(lambda: dock.results.review.threshold == 0.7, timeout=1000)
    with qtbot.waitSignal(dock.results.exporter.written, timeout=5000):
        dock.results.exporter.export(dock.results.review, tmp_path / "out.csv")
    rows = list(csv.DictReader(line for line in (tmp_path / "out.csv").open() if not line.startswith("#")))
    assert [float(row["score"]) for row in rows] == [0.75]
    assert [float(row["z_nm"]) for row in rows] == [150]
    assert [(row["id"], row["status"]) for row in rows] == [("3", "new")]
    with qtbot.waitSignal(dock.results.exporter.failed, timeout=5000):
        dock.results.exporter.export(dock.results.review, tmp_path / "out.zarr")
    assert "finds centres, not masks" in dock.results.error.label.text()


def test_masks_are_shown_filtered_exported_and_trained_from(dock, fake, viewer, qtbot, tmp_path):
    array = np.zeros((8, 50, 50), np.uint32)
    for i, (z, y, x) in enumerate([(0, 5, 10), (1, 20, 30), (3, 25, 15)], start=1):
        array[z : z + 2, y : y + 2, x : x + 2] = i
    fake.labels = Volume((Level(array, (50, 8, 8), (-25, -2, -2)),), kind="labels")
    run(dock, qtbot)
    layer = viewer.layers["objects (bodies)"]
    np.testing.assert_allclose(layer.scale, (50, 8, 8))
    np.testing.assert_allclose(layer.translate, (0, 2, 2))  # corners of voxel 0 coincide
    viewer.dims.set_point(0, 50)
    assert layer.get_value((50, 162, 242), world=True) == 2
    viewer.dims.set_point(0, 0)
    assert layer.get_value((0, 42, 82), world=True) == 1
    dock.results.threshold.setValue(0.7)
    qtbot.waitUntil(lambda: layer.get_value((0, 42, 82), world=True) in (0, None), timeout=1000)
    dock.results.step(1)
    dock.results.judge("accepted")
    with qtbot.waitSignal(dock.results.exporter.written, timeout=10000):
        dock.results.exporter.export(dock.results.review, tmp_path / "masks.zarr")
    from napari_connecto.io.volumes.read import open_volume

    written = open_volume(tmp_path / "masks.zarr").levels[0]
    assert set(np.unique(written.read(written.box))) == {0, 2, 3}
    with qtbot.waitSignal(dock.results.exporter.written, timeout=10000):
        dock.results.exporter.export(dock.results.review, tmp_path / "table.csv")
    table, _ = read_table(tmp_path / "table.csv")
    assert (table["id"].tolist(), table["status"].tolist()) == ([2, 3], ["accepted", "new"])
    dock.results.add_object(np.array([300.0, 300, 300]))
    with qtbot.waitSignal(dock.results.exporter.written, timeout=10000):
        dock.results.exporter.export(dock.results.review, tmp_path / "added.zarr")
    written = open_volume(tmp_path / "added.zarr").levels[0]
    values = written.read(written.box)
    assert set(np.unique(values)) == {0, 2, 3, 4}
    assert values[6, 37, 37] == 4  # its place in voxels
    dock.results.buttons["train"].click()
    assert dock.train.training().review.of("added").tolist() == [[300, 300, 300]]
    labels = dock.train.training().labels.levels[0]
    assert set(np.unique(labels.read(labels.box))) == {0, 2}


def names(viewer):
    return [layer.name for layer in viewer.layers]


def new_labels(viewer):
    """What napari's button adds."""
    viewer.__wrapped__._new_labels()
    return viewer.layers[-1]


@pytest.mark.parametrize("how", ["failed", "cancelled", "empty"])
def test_a_run_without_results_leaves_no_layer_and_the_image_selected(dock, fake, viewer, qtbot, how):
    fake.parts = 0
    fake.error = InputError("got 3; allowed 1 to 2; choose less") if how == "failed" else None
    fake.endless, fake.found = how == "cancelled", Detections.empty()
    dock.bar.button.click()
    qtbot.waitUntil(lambda: len(fake.calls) == 1 and dock.bar.button.text() == "Cancel", timeout=2000)
    if how == "cancelled":
        dock.bar.button.click()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=5000)
    assert names(viewer) == ["em"]
    assert viewer.layers.selection.active == viewer.layers["em"]
    assert new_labels(viewer).data.shape == (8, 100, 100)


def test_results_do_not_take_the_selection_from_the_image(dock, viewer, qtbot):
    run(dock, qtbot)
    assert viewer.layers.selection.active == viewer.layers["em"]
    dock.results.step(1)
    labels = new_labels(viewer)
    assert labels.data.shape == (8, 100, 100)
    np.testing.assert_allclose(labels.scale, (50, 4, 4))


def test_a_run_that_fails_leaves_the_results_of_before_to_review(dock, fake, viewer, qtbot, tmp_path):
    run(dock, qtbot)
    dock.options.out.setText(str(tmp_path / "elsewhere"))
    fake.parts, fake.error = 0, InputError("got 3; allowed 1 to 2; choose less")
    with qtbot.waitSignal(dock.bar.worker.failed, timeout=5000):
        dock.bar.button.click()
    assert names(viewer) == ["em", POINTS]
    assert shown(dock) == 3
    dock.results.step(1)
    dock.results.judge("accepted")
    assert viewer.layers[POINTS].features["status"].tolist() == ["new", "accepted", "new"]
    assert not (tmp_path / "elsewhere" / "review.csv").exists()


def test_nothing_found_is_said_with_what_to_try(dock, fake, viewer, qtbot):
    fake.parts, fake.found = 0, Detections.empty()
    run(dock, qtbot)
    text = dock.results.report.text()
    assert text.startswith("Search of 'em' with the cascade 'bodies':\n• No objects found")
    assert "set Threshold below the cascade's 0.50" in text
    assert all(line in text for line in LINES)
    assert not dock.results.buttons["export"].isEnabled()


def test_results_of_two_cascades_are_told_apart(dock, fake, viewer, qtbot, tmp_path):
    run(dock, qtbot)
    again = tmp_path / "cascades" / "bodies-20261129-120000"
    again.mkdir()
    dock.cascade.use(again)
    run(dock, qtbot)
    assert names(viewer) == ["em", POINTS, "detections (bodies-20261129-120000)"]
    assert [layer.visible for layer in viewer.layers] == [True, False, True]
    assert "with the cascade 'bodies-20261129-120000'" in dock.results.report.text()


def test_nothing_can_be_run_under_a_red_card_and_the_reason_is_told(dock, fake, viewer, qtbot):
    buttons = (dock.bar.button, dock.preview)
    assert all(button.isEnabled() for button in buttons)
    dock.image.picker.combo.setCurrentIndex(1)
    qtbot.waitUntil(lambda: dock.card.error.isVisibleTo(dock), timeout=3000)
    assert not any(button.isEnabled() for button in buttons)
    assert all("the model needs 50x4x4 nm" in button.toolTip() for button in buttons)
    dock.card.fix.click()
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=3000)
    assert all(button.isEnabled() and "Not now" not in button.toolTip() for button in buttons)
    fake.fits = False
    dock.options.form.change(batch=1)
    qtbot.waitUntil(lambda: dock.card.error.isVisibleTo(dock), timeout=3000)
    assert not any(button.isEnabled() for button in buttons)
    fake.fits = True
    assert dock.card.fix.text() == "Estimate again"
    dock.card.fix.click()
    qtbot.waitUntil(lambda: dock.card.estimate is not None and dock.card.estimate.fits, timeout=3000)
    assert all(button.isEnabled() for button in buttons)
    viewer.layers.remove("em")
    assert not any(button.isEnabled() for button in buttons)
    assert "No image is open" in dock.bar.button.toolTip()


def test_an_error_goes_with_the_next_change(dock, fake, qtbot):
    fake.error = InputError("got 3; allowed 1 to 2; choose less")
    with qtbot.waitSignal(dock.bar.worker.failed, timeout=5000):
        dock.bar.button.click()
    assert dock.bar.error.isVisibleTo(dock)
    dock.options.form.change(audit=7)
    dock.options.changed.emit()
    assert not dock.bar.error.isVisibleTo(dock)


def narrow(scores=(0.4353, 0.471, 0.4512)):
    return Detections(CENTRES, np.array(scores), BOXES, np.arange(3), {"cascade": "bodies"})


def test_the_score_slider_spans_the_scores_and_never_hides_verdicts(dock, fake, viewer, qtbot):
    fake.parts, fake.found = 0, narrow()
    viewer.dims.ndisplay = 3  # in a section, points whose object does not reach it are hidden too
    run(dock, qtbot)
    slider, points = dock.results.threshold, viewer.layers[POINTS]
    assert (slider.minimum(), slider.maximum()) == pytest.approx((0.4353, 0.471), abs=1e-4)
    assert slider.singleStep() < 0.001
    assert points.shown.all()
    slider.setValue(slider.maximum())
    qtbot.waitUntil(lambda: points.shown.tolist() == [False, True, False], timeout=1000)
    slider.setValue(slider.minimum())
    qtbot.waitUntil(lambda: points.shown.all(), timeout=1000)
    for index, status in ((0, "accepted"), (2, "rejected")):
        dock.results.review.current = index
        dock.results.judge(status)
    slider.setValue(slider.maximum())
    qtbot.waitUntil(lambda: dock.results.review.threshold > 0.47, timeout=1000)
    assert points.shown.all()
    assert dock.results.count.text().startswith("3 of 3 shown; 1 accepted, 1 rejected")


def test_an_export_says_how_many_and_an_empty_one_is_refused(dock, fake, qtbot, tmp_path, monkeypatch):
    asked = []
    named = []

    def answer(_parent, _title, name, _filters):
        named.append(name)
        return str(asked[0]), ""

    monkeypatch.setattr("napari_connecto.widgets.cascade.export.QFileDialog.getSaveFileName", answer)
    run(dock, qtbot)
    for index in range(3):
        dock.results.review.current = index
        dock.results.judge("rejected")
    dock.results.buttons["export"].click()
    assert dock.results.error.label.text().startswith("nothing to export: 0 detections are below the minimum score")
    assert not named
    dock.results.undo()
    dock.results.review.current = 0
    dock.results.judge("accepted")
    asked.append(tmp_path / "out.csv")
    with qtbot.waitSignal(dock.results.exporter.written, timeout=5000):
        dock.results.buttons["export"].click()
    assert not dock.results.error.isVisibleTo(dock)
    assert dock.results.count.text().endswith(f"2 detections (1 accepted) written to {tmp_path / 'out.csv'}")
    assert read_table(tmp_path / "out.csv")[0]["id"].tolist() == [1, 3]
    assert named == ["em-detections.csv"]  # of two images none is written over the other


def seen_at(dock, viewer, z_nm):
    viewer.dims.set_point(viewer.dims.ndim - 3, z_nm)
    points = dock.results.layers.points
    return sorted(getattr(points, "__wrapped__", points)._view_indices)


def deep():
    """Two objects of 5 sections, 250 nm, that tiles of one section cut while they are found."""
    boxes = BOXES.copy()
    boxes[:, 0], boxes[:, 3] = [0, 1, 3], [1, 6, 8]
    return Detections(np.array([[0.0, 40, 80], [150, 160, 240], [250, 200, 120]]), SCORES, boxes, np.arange(3))


@pytest.mark.parametrize("unit", ["nm", "um"])
def test_a_detection_shows_in_every_section_that_its_object_spans(dock, fake, viewer, qtbot, unit):
    per = {"nm": 1.0, "um": 1000.0}[unit]
    viewer.add_image(np.zeros((100, 100)), name="flat", scale=(4, 4), units="nm")
    viewer.layers["em"].scale = np.array((50, 4, 4)) / per
    viewer.layers["em"].units = (unit,) * 3
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.card.estimate is not None, timeout=3000)
    fake.found = deep()
    run(dock, qtbot)
    assert [i for i in seen_at(dock, viewer, 150) if i] == [1, 2]
    assert seen_at(dock, viewer, 50) == [1]  # the other is one section deep, whatever its neighbours are
    assert seen_at(dock, viewer, 250) == [1, 2]
    assert seen_at(dock, viewer, 350) == [2]
    assert not any(viewer.dims.margin_left)  # a thick section would average the image
    fake.found = detections()  # of 2 sections
    run(dock, qtbot)
    assert seen_at(dock, viewer, 100) == [1, 2]
    assert seen_at(dock, viewer, 200) == [2]
    assert seen_at(dock, viewer, 250) == []


def test_locked_level_too_coarse_for_the_cascade_is_refused_with_a_way_out(dock, viewer, qtbot):
    assert dock.image.picker.index == 0
    dock.image.picker.combo.setCurrentIndex(1)
    qtbot.waitUntil(lambda: dock.card.error.isVisibleTo(dock), timeout=3000)
    assert "the model needs 50x4x4 nm" in dock.card.error.label.text()
    assert dock.card.fix.text() == "Use level 0"
    dock.card.fix.click()
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=3000)
    assert dock.image.picker.index == 0


def test_layer_without_unit_asks_for_its_voxel_size(dock, viewer, qtbot):
    viewer.add_image(np.zeros((4, 64, 64), np.uint8), name="bare", contrast_limits=(0, 255))
    dock.image.layers.setCurrentText("bare")
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=3000)
    assert dock.image.correct.isChecked()
    assert dock.image.voxel.isVisibleTo(dock)
    assert not dock.image.full.calibrated
    for box, nm in zip(dock.image.voxel.boxes, (50, 4, 4), strict=True):
        box.setValue(nm)
    qtbot.waitUntil(
        lambda: dock.image.full is not None and dock.image.full.levels[0].voxel_nm == (50, 4, 4), timeout=3000
    )
    assert dock.search().volume.calibrated


def test_points_to_train_from_are_centres_and_need_a_diameter(dock, viewer):
    dock.train.form.change(head="masks")
    viewer.add_points([[1, 40, 60], [3, 50, 30]], scale=(50, 4, 4), units="nm", name="mine")
    dock.train.labels.setCurrentText("mine")
    assert dock.train.form.value.head == "centres"
    with pytest.raises(InputError, match=r"points need a diameter: set Diameter \(nm\)"):
        dock.train.training()
    dock.train.form.change(diameter_nm=40.0)
    np.testing.assert_allclose(dock.train.training().labels, [[50, 160, 240], [150, 200, 120]])


def test_result_layers_are_not_offered_as_input(dock, viewer, qtbot):
    run(dock, qtbot)
    viewer.add_image(np.zeros((4, 8, 8)), name="other")
    combo = dock.image.layers
    assert [combo.itemText(i) for i in range(combo.count())] == ["em", "other"]
    viewer.layers.remove("em")
    assert combo.layer == viewer.layers["other"]


def test_command_line_needs_a_file(dock):
    dock.options.copy.click()
    assert "'em' is not stored in a file; save it as OME-Zarr first" in dock.bar.error.label.text()


def test_command_line_says_all_that_differs_from_the_defaults(dock, tmp_path):
    search = dock.search()
    line = command_line(_differing(search, tmp_path), RunOn("tcp://here:8786").words)
    assert line == (
        f"napari-connecto detect '{tmp_path}/a b.zarr' --voxel-nm 50 4 4 --channel 1 --out {search.out} "
        f"--cascade {search.model} --exhaustive --audit 20 --scheduler tcp://here:8786"
    )


def _differing(search, tmp_path):
    from dataclasses import replace

    params = replace(search.params, audit=20, exhaustive=True)
    spec = VolumeSpec(f"{tmp_path}/a b.zarr", channel=1, voxel_nm=(50.0, 4.0, 4.0))
    return replace(search, spec=spec, params=params).run()


def test_cluster_needs_an_address(dock, qtbot):
    dock.options.run_on.where.setCurrentText(CLUSTER)
    dock.bar.button.click()
    assert "No cluster address is given" in dock.card.text.text()
    assert not dock.bar.button.isEnabled()
    dock.options.run_on.address.setText("tcp://here:8786")
    assert dock.search().run_on.scheduler == "tcp://here:8786"


def test_a_view_beside_the_image_cannot_be_previewed(dock, fake, viewer):
    viewer.scene.camera.center = (0, 1e6, 1e6)
    dock.preview.click()
    assert "the view does not touch 'em'" in dock.bar.error.label.text()
    assert fake.calls == []


def test_verdicts_survive_the_same_search_and_their_layer_another(dock, viewer, qtbot, tmp_path):
    run(dock, qtbot)
    dock.results.step(1)
    dock.results.judge("accepted")
    run(dock, qtbot)
    assert viewer.layers[POINTS].features["status"].tolist() == ["new", "accepted", "new"]
    dock.options.out.setText(str(tmp_path / "elsewhere"))
    run(dock, qtbot)
    assert viewer.layers[f"{POINTS} [1]"].features["status"].tolist() == ["new"] * 3
    assert viewer.layers[POINTS].features["status"].tolist() == ["new", "accepted", "new"]


def review_of(out):
    """Ids and statuses in the file."""
    table, _ = read_table(out / "review.csv")
    return dict(zip(table["id"].tolist(), table["status"].tolist(), strict=True))


def kept(dock, out, expected, qtbot):
    qtbot.waitUntil(lambda: (out / "review.csv").exists() and review_of(out) == expected, timeout=3000)


@pytest.fixture
def reviewed(dock, viewer, qtbot, tmp_path):
    """A result folder whose detections 2 and 3 were judged, in a viewer that is gone."""
    out = tmp_path / "run"
    dock.options.out.setText(str(out))
    run(dock, qtbot)
    dock.results.step(1)
    for status in ("accepted", "rejected"):
        dock.results.judge(status)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.remove(POINTS)
    return out


@pytest.fixture
def again(reviewed, viewer, qtbot):
    """A new dock that will search into that folder."""
    widget = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cascade detection again")
    qtbot.waitUntil(lambda: widget.card.estimate is not None, timeout=5000)
    widget.options.out.setText(str(reviewed))
    yield widget
    widget.close_jobs()


def test_verdicts_are_on_disk_as_they_are_made_and_undone(dock, qtbot, tmp_path):
    out = tmp_path / "run"
    dock.options.out.setText(str(out))
    run(dock, qtbot)
    assert not (out / "review.csv").exists()
    dock.results.step(1)
    dock.results.judge("accepted")
    kept(dock, out, {2: "accepted"}, qtbot)
    dock.results.judge("rejected")
    kept(dock, out, {2: "accepted", 3: "rejected"}, qtbot)
    table, header = read_table(out / "review.csv")
    np.testing.assert_array_equal(np.stack([table[f"{a}_nm"] for a in "zyx"], axis=1), CENTRES[1:])
    assert header["reach_nm"] == 20
    dock.results.undo()
    kept(dock, out, {2: "accepted"}, qtbot)
    dock.results.undo()
    kept(dock, out, {}, qtbot)


def test_a_new_dock_shows_the_verdicts_of_the_folder(again, viewer, qtbot):
    run(again, qtbot)
    points = viewer.layers[POINTS]
    qtbot.waitUntil(lambda: points.features["status"].tolist() == ["new", "accepted", "rejected"], timeout=3000)
    assert points.features["id"].tolist() == [1, 2, 3]
    assert [str(s) for s in points.symbol] == ["disc", "square", "cross"]
    colours = ColorArray([OKABE_ITO[s] for s in ("new", "accepted", "rejected")]).rgba
    np.testing.assert_allclose(points.border_color, colours, atol=1e-3)
    assert again.results.count.text().startswith("3 of 3 shown; 1 accepted, 1 rejected")


def test_another_search_of_the_folder_gives_verdicts_to_the_same_places_alone(again, fake, viewer, qtbot, reviewed):
    fake.found = Detections(  # the accepted one is now the first, the rejected one is gone, another is near neither
        CENTRES[[1, 0]] + [[0, 8, 0], [0, 30, 0]], SCORES[[1, 0]], BOXES[[1, 0]], np.arange(2), {"cascade": "bodies"}
    )
    run(again, qtbot)
    points = viewer.layers[POINTS]
    qtbot.waitUntil(lambda: points.features["status"].tolist() == ["accepted", "new"], timeout=3000)
    again.results.review.current = 1
    again.results.judge("rejected")
    qtbot.waitUntil(lambda: len(read_table(reviewed / "review.csv")[0]["id"]) == 3, timeout=3000)
    table, _ = read_table(reviewed / "review.csv")
    assert (table["id"].tolist(), table["status"].tolist()) == ([1, 2, 0], ["accepted", "rejected", "rejected"])
    assert table["z_nm"][2] == 150, "what was said of the one that is gone waits for it"


def test_a_burst_ends_in_the_latest_and_closing_loses_nothing(dock, viewer, qtbot, tmp_path, monkeypatch):
    out, written = tmp_path / "run", []

    def slowly(folder, verdicts):
        written.append((len(verdicts), threading.current_thread() is threading.main_thread()))
        time.sleep(0.2)
        write_verdicts(folder, verdicts)

    monkeypatch.setattr(cascade_keeping, "write_verdicts", slowly)
    dock.options.out.setText(str(out))
    run(dock, qtbot)
    qtbot.waitUntil(lambda: not dock.results.keeper._worker.state.busy, timeout=3000)
    dock.results.step(1)
    for status in ("accepted", "rejected", "accepted"):
        dock.results.judge(status)
    viewer.window.remove_dock_widget(dock)
    assert review_of(out) == {1: "accepted", 2: "accepted", 3: "rejected"}
    assert written == [(1, False), (3, False)]


def test_a_folder_that_cannot_be_written_is_said_once_and_the_review_goes_on(dock, qtbot, tmp_path):
    out = tmp_path / "run"
    dock.options.out.setText(str(out))
    run(dock, qtbot)
    out.rmdir()
    said = []
    dock.results.keeper.failed.connect(lambda error, _: said.append(str(error)))
    dock.results.step(1)
    dock.results.judge("accepted")
    qtbot.waitUntil(lambda: len(said) == 1, timeout=3000)
    line = dock.results.error.label.text()
    assert line.startswith(f"cannot write '{out / 'review.csv'}': No such file or directory; choose another place")
    assert line.endswith("until then verdicts are only in memory: export before you close napari")
    dock.results.judge("rejected")
    qtbot.waitUntil(lambda: not dock.results.keeper._worker.state.busy, timeout=3000)
    assert len(said) == 1
    assert dock.results.layers.points.features["status"].tolist() == ["new", "accepted", "rejected"]
    out.mkdir()
    dock.results.judge("accepted")
    kept(dock, out, {1: "accepted", 2: "accepted", 3: "rejected"}, qtbot)


def test_a_damaged_file_is_said_left_alone_and_blocks_nothing(dock, qtbot, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "review.csv").write_text("my notes\n")
    dock.options.out.setText(str(out))
    run(dock, qtbot)
    qtbot.waitUntil(lambda: dock.results.error.isVisibleTo(dock), timeout=3000)
    line = dock.results.error.label.text()
    assert "review.csv' has no column 'status'" in line
    assert "correct it, or move it out of the folder; until then verdicts are only in memory" in line
    dock.results.step(1)
    dock.results.judge("accepted")
    qtbot.waitUntil(lambda: not dock.results.keeper._worker.state.busy, timeout=3000)
    assert (out / "review.csv").read_text() == "my notes\n"
    (out / "review.csv").unlink()
    dock.results.judge("rejected")
    kept(dock, out, {2: "accepted", 3: "rejected"}, qtbot)


def test_dock_fits_a_laptop(dock):
    assert dock.minimumWidth() <= 300
    assert dock.minimumHeight() <= 400
    assert dock.scroller.widget().minimumSizeHint().width() <= 300
