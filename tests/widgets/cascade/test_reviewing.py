"""Reviewing in a real viewer: added objects, tags, the table, pictures, and learning from the review."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_connecto.core.jobs import Progress
from napari_connecto.io.tables.tables import read_table
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.cascade.reviewing.rows import DetectionModel, Filter, heading
from napari_connecto.widgets.cascade.reviewing.strip import coloured
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, REJECTED, read_verdicts
from napari_connecto.workflows.recipes.entries.run import Summary
from tests.widgets.adapt_steps import canvas_of, press
from tests.widgets.cascade.test_cascade_dock import CENTRES, POINTS, dock, fake, run  # noqa: F401

pytestmark = pytest.mark.gl


@pytest.fixture
def reviewing(dock, qtbot, tmp_path):  # noqa: F811
    """Three detections, none of them judged, in a folder."""
    dock.options.out.setText(str(tmp_path / "run"))
    run(dock, qtbot)
    return dock.results


def click_in_the_middle(canvas):
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(canvas.width() // 2, canvas.height() // 2))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_click_adds_an_object_at_its_place_in_nm(reviewing, viewer, qtbot, order):
    canvas = canvas_of(viewer, qtbot)
    wanted = np.array([250.0, 100.0, 300.0])
    viewer.dims.order = order
    viewer.dims.set_point(range(3), wanted.tolist())
    viewer.scene.camera.center = tuple(wanted[list(order)])
    viewer.scene.camera.zoom = 1.0
    reviewing.buttons["add"].click()
    click_in_the_middle(canvas)
    assert reviewing.review.status.tolist() == [NEW, NEW, NEW, ADDED]
    place = reviewing.review.found.centre_nm[-1]
    np.testing.assert_allclose(place, wanted, atol=2.5)
    np.testing.assert_allclose(place[order[0]], wanted[order[0]], atol=1e-6)
    points = viewer.layers[POINTS]
    np.testing.assert_allclose(points.data_to_world(points.data[-1]), wanted, atol=2.5)
    assert str(points.symbol[-1]) == "star"
    press(canvas, Qt.Key.Key_U)
    assert (len(reviewing.review.found), len(points.data)) == (3, 3)
    press(canvas, Qt.Key.Key_Escape)
    assert not reviewing.adding.on
    click_in_the_middle(canvas)
    assert len(reviewing.review.found) == 3


def test_a_drag_and_a_click_outside_add_nothing(reviewing, viewer, qtbot):
    canvas = canvas_of(viewer, qtbot)
    viewer.scene.camera.center = (5000.0, 5000.0)
    reviewing.buttons["add"].click()
    click_in_the_middle(canvas)
    assert "outside 'em'" in reviewing.error.label.text()
    viewer.scene.camera.center = (100.0, 100.0)
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(canvas, middle + QPoint(40, 0))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(40, 0))
    assert len(reviewing.review.found) == 3
    viewer.layers.remove("em")
    assert not reviewing.adding.on


def test_in_a_3d_view_the_brightest_place_in_sight_is_taken(dock, viewer, qtbot):  # noqa: F811
    spot = viewer.layers["em"].data[0]  # its second level is a view of it
    spot[:] = 0
    spot[5, 50, 50] = 200
    run(dock, qtbot)
    canvas = canvas_of(viewer, qtbot)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.center = (250.0, 202.0, 202.0)
    viewer.scene.camera.angles = (0, 0, 90)
    viewer.scene.camera.zoom = 1.0
    dock.results.buttons["add"].click()
    click_in_the_middle(canvas)
    qtbot.waitUntil(lambda: len(dock.results.review.found) == 4, timeout=3000)
    place = dock.results.review.found.centre_nm[-1]
    assert 225 <= place[0] < 275  # the section of the spot, whose centre napari shows at 250
    np.testing.assert_allclose(place[1:], 202, atol=4)  # a voxel of the coarsest level


@pytest.mark.parametrize("active", [POINTS, "em"])
def test_number_keys_tag_the_current_object(reviewing, viewer, qtbot, active):
    reviewing.name_tags(("soma", "dividing"))
    canvas = canvas_of(viewer, qtbot)
    viewer.layers.selection.active = viewer.layers[active]
    press(canvas, Qt.Key.Key_N)
    press(canvas, Qt.Key.Key_2)
    press(canvas, Qt.Key.Key_1)
    assert viewer.layers[POINTS].features["tags"].tolist() == ["", "dividing;soma", ""]
    assert [button.isChecked() for button in reviewing.panel.tags.buttons] == [True, True]
    press(canvas, Qt.Key.Key_U)
    reviewing.panel.tags.buttons[1].click()
    assert viewer.layers[POINTS].features["tags"].tolist() == [""] * 3
    assert len(viewer.layers[POINTS].data) == 3  # 1 deletes points in napari


def test_number_keys_stay_napari_s_in_a_layer_that_is_edited(reviewing, viewer, qtbot):
    canvas = canvas_of(viewer, qtbot)
    labels = viewer.add_labels(np.zeros((8, 100, 100), np.uint8), name="mine", scale=(50, 4, 4), units="nm")
    reviewing.step(1)
    viewer.layers.selection.active = labels
    press(canvas, Qt.Key.Key_1)
    assert str(labels.mode) == "erase"
    assert reviewing.review.said.tags.tolist() == [""] * 3


def test_tags_are_named_in_one_line_and_bad_names_are_refused(reviewing, qtbot):
    tags = reviewing.panel.tags
    tags.edit.click()
    tags.line.setText("soma, =danger")
    qtbot.keyClick(tags.line, Qt.Key.Key_Return)
    assert "a tag starts with a letter" in reviewing.error.label.text()
    tags.line.setText("soma, glia,")
    qtbot.keyClick(tags.line, Qt.Key.Key_Return)
    assert [button.text() for button in tags.buttons] == ["1 soma", "2 glia"]
    assert reviewing.review.names == ("soma", "glia")


def test_tags_who_when_and_added_objects_are_there_again(reviewing, dock, viewer, qtbot, tmp_path):  # noqa: F811
    reviewing.review.reviewer = "Anna"
    reviewing.name_tags(("soma", "glia"))
    reviewing.step(1)
    reviewing.tag(1)
    reviewing.judge(ACCEPTED)
    reviewing.add_object(np.array([300.0, 60, 60]))
    before = reviewing.review.verdicts()
    viewer.window.remove_dock_widget(dock)
    viewer.layers.remove(POINTS)
    assert read_verdicts(tmp_path / "run").names == ("soma", "glia")
    again = type(dock)(viewer)
    viewer.window.add_dock_widget(again, name="again")
    qtbot.waitUntil(lambda: again.card.estimate is not None, timeout=5000)
    again.options.out.setText(str(tmp_path / "run"))
    run(again, qtbot)
    qtbot.waitUntil(lambda: len(again.results.review.found) == 4, timeout=3000)
    after = again.results.review.verdicts()
    for name in ("status", "tags", "reviewer", "when"):
        assert getattr(after, name).tolist() == getattr(before, name).tolist()
    assert after.reviewer.tolist() == ["Anna", "Anna"]
    assert [button.text() for button in again.results.panel.tags.buttons] == ["1 soma", "2 glia"]
    with qtbot.waitSignal(again.results.exporter.written, timeout=5000):
        again.results.exporter.export(again.results.review, tmp_path / "out.csv")
    table, _ = read_table(tmp_path / "out.csv")
    assert table["tags"].tolist() == ["", "glia", "", ""]
    assert table["status"].tolist() == [NEW, ACCEPTED, NEW, ADDED]
    again.close_jobs()


def test_table_and_viewer_stay_in_step(reviewing, viewer, qtbot):
    reviewing.buttons["table"].click()
    table, went = reviewing.table, []
    table.chosen.connect(went.append)
    shown = [table.model.data(table.model.index(row, 0)) for row in range(3)]
    assert shown == ["2", "3", "1"]  # by score
    table.view.selectRow(2)
    assert (reviewing.review.current, went) == (0, [0])
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], CENTRES[0, 1:])
    reviewing.step(1)
    assert table.model.index_of(table.view.currentIndex().row()) == reviewing.review.current == 1
    assert went == [0]  # the viewer's own step is no choice in the table
    table.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert [table.model.index_of(row) for row in range(3)] == [0, 1, 2]
    reviewing.judge(REJECTED)
    table.status.setCurrentText(REJECTED)
    assert (table.model.rowCount(), table.model.index_of(0)) == (1, 1)
    reviewing.undo()
    assert reviewing.table.model.data(table.model.index(0, 2)) == NEW  # it stays in view until it is filtered again
    table.status.setCurrentIndex(0)
    reviewing.add_object(np.array([300.0, 60, 60]))
    assert table.model.rowCount() == 4
    reviewing.buttons["table"].click()
    assert not table.open


def many(n):
    rng = np.random.default_rng(0)
    found = Detections(rng.random((n, 3)) * 1e6, rng.random(n), np.tile([0, 0, 0, 2, 4, 6], (n, 1)), np.arange(n))
    status = rng.choice([NEW, ACCEPTED, REJECTED], n)
    tags = rng.choice(np.array(["", "soma", "glia;soma", "some"], object), n)
    return replace(found, status=status.astype("<U8"), tags=tags)


def test_rows_are_sorted_and_filtered_by_their_values():
    review, model = Review(many(500)), DetectionModel()
    model.show_review(review)
    found = review.found

    def rows():
        return [model.index_of(row) for row in range(model.rowCount())]

    assert rows() == np.argsort(-found.score).tolist()
    model.sort(5)
    assert rows() == np.argsort(found.centre_nm[:, 0]).tolist()
    model.sort(2)  # equal ones keep their order
    assert rows() == np.argsort(found.status, kind="stable").tolist()
    model.filter(Filter(0.2, 0.6, NEW, "soma"))
    has = np.array(["soma" in text.split(";") for text in found.tags])
    keep = (found.score >= 0.2) & (found.score <= 0.6) & (found.status == NEW) & has
    assert rows() == np.flatnonzero(keep).tolist()
    model.filter(Filter(text="SOM"))
    assert len(rows()) == int((found.tags != "").sum())
    assert model.row_of(rows()[3]) == 3
    assert model.row_of(int(np.flatnonzero(found.tags == "")[0])) == -1
    assert model.data(model.index(0, 4)) == "6.000"


def test_measurements_are_columns_and_what_is_not_measured_comes_last():
    found = many(4)
    volumes = np.array([2e-5, np.nan, 7.0, 1234.0])
    model = DetectionModel()
    model.show_review(Review(replace(found, measures={"volume_um3": volumes})))
    at = model._names.index("volume_um3")
    for order, rows in ((Qt.SortOrder.AscendingOrder, [0, 2, 3, 1]), (Qt.SortOrder.DescendingOrder, [3, 2, 0, 1])):
        model.sort(at, order)
        assert [model.index_of(row) for row in range(4)] == rows
    assert [model.data(model.index(row, at)) for row in range(4)] == ["1 234", "7.000", "2e-05", ""]


def test_pictures_show_the_current_object_and_the_next_undecided(reviewing, viewer, qtbot):
    strip = reviewing.panel.strip
    qtbot.waitUntil(lambda: len(strip._crops) == 3, timeout=3000)
    reviewing.step(1)
    assert [index for index, _ in strip._rows] == [1, 2, 0]
    reviewing.judge(ACCEPTED)
    assert [index for index, _ in strip._rows] == [2, 0]
    strip.buttons[1].click()
    assert reviewing.review.current == 0
    crop = strip._crops[tuple(CENTRES[1])]
    ramp = np.asarray(viewer.layers["em"].data[0])
    z, y, x = (CENTRES[1] / [50, 4, 4]).astype(int)
    assert crop[crop.shape[0] // 2, crop.shape[1] // 2] in ramp[z, y - 1 : y + 2, x - 1 : x + 2]
    image = viewer.layers["em"]
    image.contrast_limits = (0, 100)
    np.testing.assert_array_equal(coloured(np.array([[0, 50, 300]]), image)[0], [[0] * 3, [128] * 3, [255] * 3])


def test_pictures_of_another_image_are_dropped(reviewing, viewer, qtbot, monkeypatch):
    strip, go, read = reviewing.panel.strip, threading.Event(), []

    def slowly(volume, centre, diameter_nm):
        read.append(volume)
        go.wait(5)
        return np.full((9, 9), len(read))

    qtbot.waitUntil(lambda: len(strip._crops) == 3, timeout=3000)
    monkeypatch.setattr("napari_connecto.widgets.cascade.reviewing.crops.crop", slowly)
    strip._crops.clear()
    strip.show_review(reviewing.review)
    qtbot.waitUntil(lambda: len(read) == 1, timeout=3000)
    strip.use(replace(reviewing.begun.volume), viewer.layers["em"], 40.0)
    go.set()
    qtbot.wait(100)
    assert not strip._crops
    assert coloured(np.zeros((1, 1)), viewer.layers["em"]).shape == (1, 1, 3)  # of a place that cannot be read


def test_learning_sees_every_verdict_and_offers_a_better_cascade(reviewing, dock, fake, qtbot, monkeypatch, tmp_path):  # noqa: F811
    seen, out = {}, tmp_path / "bodies-20260101-000000"
    out.mkdir()

    def in_subprocess(asked, work):
        yield Progress(1, 2, "training level 0")
        seen.update(run=asked, table=read_table(asked.points)[0])
        return Summary(str(out), ["a line"], {"failure": "", "worse": False, "comparison": "F1 0.90, before 0.80."})

    monkeypatch.setattr("napari_connecto.workflows.recipes.own_process.run_in_subprocess", in_subprocess)
    reviewing.learn.bar.button.click()
    assert "no detection is accepted yet" in reviewing.learn.bar.error.label.text()
    reviewing.step(1)
    reviewing.judge(ACCEPTED)
    reviewing.judge(REJECTED)
    reviewing.add_object(np.array([300.0, 60, 60]))
    before = reviewing.review.verdicts()
    with qtbot.waitSignal(reviewing.learn.trained, timeout=60_000):
        reviewing.learn.bar.button.click()
    assert seen["table"]["status"].tolist() == [NEW, ACCEPTED, REJECTED, ADDED]
    np.testing.assert_allclose(seen["table"]["z_nm"], [0, 50, 150, 300])
    asked = seen["run"]
    assert (asked.params.head, asked.params.diameter_nm, asked.params.name) == ("centres", 40, "bodies")
    assert Path(asked.previous) == dock.cascade.folders["bodies"] == dock.cascade.folder
    assert reviewing.learn.about.text() == "F1 0.90, before 0.80."
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=5000):
        reviewing.learn.search.click()
    assert dock.cascade.folder == out
    assert fake.calls[-1][0].model == out
    assert fake.calls[-1][0].out != tmp_path / "run"  # which holds the other cascade's search
    assert reviewing.review.verdicts().status.tolist() == before.status.tolist()


def test_a_worse_cascade_is_listed_and_not_offered(reviewing, dock, qtbot, monkeypatch, tmp_path):  # noqa: F811
    out = tmp_path / "bodies-20260101-000000"
    out.mkdir()

    def job(_training):
        yield Progress(1, 2, "training level 0")
        return Summary(str(out), ["a line"], {"failure": "", "worse": True, "comparison": "Worse than before."})

    monkeypatch.setattr("napari_connecto.widgets.cascade.learn.training_job", job)
    reviewing.add_object(np.array([300.0, 60, 60]))
    with qtbot.waitSignal(reviewing.learn.trained, timeout=5000):
        reviewing.learn.bar.button.click()
    assert reviewing.learn.about.text() == "Worse than before."
    assert reviewing.learn.search.isHidden()
    assert dock.cascade.folder != out
    assert out in dock.cascade.folders.values()


@pytest.mark.parametrize(
    ("name", "pixels", "told"),
    [
        ("major_nm", False, "major axis [nm]"),
        ("major_nm", True, "major axis [pixels]"),
        ("volume_um3", False, "volume [µm³]"),
        ("border_nm", True, "distance to border [pixels]"),
        ("touches_border", True, "touches border"),
        ("sd", False, "SD of intensity"),
        ("size [nm]", False, "size [nm]"),
    ],
)
def test_a_column_is_headed_in_words_with_the_unit_of_the_image(name, pixels, told):
    assert heading(name, pixels) == told
