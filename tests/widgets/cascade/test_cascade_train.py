"""Training a cascade from the dock in a real viewer: what is refused at once, what a review teaches, what is chosen."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.layers import Image
from qtpy.QtWidgets import QLabel

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Progress, run
from napari_connecto.io.tables.tables import read_table
from napari_connecto.widgets.cascade import jobs as cascade_jobs
from napari_connecto.widgets.cascade.jobs import training_job
from napari_connecto.widgets.cascade.training import train as cascade_train
from napari_connecto.widgets.shared.frame import image as image_box
from napari_connecto.widgets.viewer.layers import SPEC, describe
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, REJECTED
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP
from tests.widgets.cascade.test_cascade_dock import CENTRES, dock, fake  # noqa: F401
from tests.widgets.cascade.test_cascade_dock import run as search

pytestmark = pytest.mark.gl


@pytest.fixture
def reviewed(dock, viewer, qtbot):  # noqa: F811
    """Scores 0.9 accepted, 0.75 rejected, 0.6 not looked at; then Use for training."""
    search(dock, qtbot)
    dock.results.step(1)
    dock.results.judge(ACCEPTED)
    dock.results.judge(REJECTED)
    dock.results.buttons["train"].click()
    return dock


def test_only_what_was_judged_is_taught(reviewed, fake, monkeypatch):  # noqa: F811
    training = reviewed.train.training()
    np.testing.assert_allclose(training.labels, CENTRES[[1]])
    assert training.review.status.tolist() == ["new", "rejected"]
    np.testing.assert_allclose(training.review.centre_nm, CENTRES[[0, 2]])
    assert training.previous == reviewed.cascade.folders["bodies"]
    assert "unlabelled voxels are unknown. Rejected detections (1) are background" in reviewed.train.caption.text()
    seen = {}

    def in_subprocess(asked, work):
        yield Progress(0, 0)
        seen.update(run=asked, table=read_table(asked.points)[0])
        return Summary("", [])

    monkeypatch.setattr("napari_connecto.workflows.recipes.own_process.run_in_subprocess", in_subprocess)
    run(training_job(training))
    assert seen["table"]["status"].tolist() == ["accepted", "new", "rejected"]
    assert (seen["run"].params.unlabelled, seen["run"].previous) == ("auto", str(training.previous))


def train(dock, qtbot, monkeypatch, tmp_path, **summary):  # noqa: F811
    out = tmp_path / "bodies-20260101-000000"
    out.mkdir()

    def job(_):
        yield Progress(1, 2, "training level 0")
        return Summary(str(out), ["a line", "F1 0.50, that of the previous cascade 0.80"], summary)

    monkeypatch.setattr(cascade_train, "training_job", job)
    with qtbot.waitSignal(dock.train.bar.worker.returned, timeout=5000):
        dock.train.bar.button.click()
    return out


def test_a_better_cascade_is_chosen(reviewed, qtbot, monkeypatch, tmp_path):
    out = train(reviewed, qtbot, monkeypatch, tmp_path, failure="", worse=False)
    assert reviewed.cascade.folder == out
    assert reviewed.cascade.combo.currentText() == "bodies (bodies-20260101-000000)"


@pytest.mark.parametrize("summary", [{"failure": "", "worse": True}, {"failure": "finds none of 23", "worse": False}])
def test_a_worse_or_failed_cascade_is_listed_and_not_chosen(reviewed, qtbot, monkeypatch, tmp_path, summary):
    out = train(reviewed, qtbot, monkeypatch, tmp_path, **summary)
    assert reviewed.cascade.folder != out
    assert out in reviewed.cascade.folders.values()
    assert "F1 0.50, that of the previous cascade 0.80" in reviewed.train.about.text()
    assert "not chosen" in reviewed.train.bar.status.text()
    assert reviewed.train.bar.error.label.text() == summary["failure"]
    assert reviewed.train.isVisibleTo(reviewed)


def test_labels_in_pixels_over_an_image_in_nm_are_refused_at_once(dock, viewer):  # noqa: F811
    viewer.add_labels(np.ones((8, 100, 100), np.uint8), name="mask")
    dock.train.labels.setCurrentText("mask")
    with pytest.raises(InputError, match=r"layer 'mask' is in pixels, 'em' is not; the labels have voxels of 1 x 1"):
        dock.train.training()
    dock.cascade.choose_training()
    dock.train.bar.button.click()
    assert "is in pixels" in dock.train.bar.error.label.text()
    assert not dock.train.bar.worker.state.busy


def test_labels_in_nm_over_an_image_in_pixels_are_refused_at_once(dock, viewer, qtbot):  # noqa: F811
    viewer.add_image(np.zeros((8, 64, 64), np.uint8), name="bare", contrast_limits=(0, 255))
    viewer.add_labels(np.ones((8, 64, 64), np.uint8), name="sized", scale=(50, 4, 4), units="nm")
    dock.image.layers.setCurrentText("bare")
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "bare", timeout=5000)
    dock.train.bar.button.click()
    assert "states no voxel size" in dock.train.bar.error.label.text()
    dock.train.form.build()
    assert "Diameter (pixels)" in [label.text() for label in dock.train.form.findChildren(QLabel)]
    dock.image.use_pixels.setChecked(True)
    assert dock.train.bar.error.isHidden()
    dock.train.labels.setCurrentText("sized")
    with pytest.raises(InputError, match="layer 'bare' is in pixels, 'sized' is not"):
        dock.train.training()


def test_labels_and_points_elsewhere_are_refused_at_once(dock, viewer):  # noqa: F811
    place = {"scale": (50, 4, 4), "units": "nm", "translate": (0, 1e6, 0)}
    viewer.add_labels(np.ones((8, 100, 100), np.uint8), name="far", **place)
    dock.train.labels.setCurrentText("far")
    with pytest.raises(InputError, match="layer 'far' does not overlap 'em'"):
        dock.train.training()
    viewer.add_points([[1, 2, 3]], name="dots", **place)
    dock.train.labels.setCurrentText("dots")
    dock.train.form.change(diameter_nm=40.0)
    with pytest.raises(InputError, match="none of the points of 'dots' is inside 'em'"):
        dock.train.training()


def test_the_labels_box_says_what_is_not_labelled(dock, viewer):  # noqa: F811
    viewer.add_labels(np.ones((8, 100, 100), np.uint8), name="mask", scale=(50, 4, 4), units="nm")
    dock.train.labels.setCurrentText("mask")
    assert dock.train.caption.text() == "Paint every object: unpainted voxels count as background."
    dock.train.form.change(unlabelled="unknown")
    assert dock.train.caption.text() == "Only some objects are labelled: unlabelled voxels are unknown."
    dock.train.form.change(unlabelled="auto")
    viewer.add_points([[1, 40, 60]], scale=(50, 4, 4), units="nm", name="dots")
    dock.train.labels.setCurrentText("dots")
    assert "Set a point on every object" in dock.train.caption.text()


def test_rgb_images_are_trained_on_with_all_their_channels(dock, viewer, qtbot, monkeypatch, tmp_path):  # noqa: F811
    colours = np.zeros((64, 80, 3), np.uint8)
    colours[..., 1] = np.arange(80)
    viewer.add_image(colours, rgb=True, name="slide", scale=(500, 500), units="nm")
    labels = np.zeros((64, 80), np.uint8)
    labels[10:20, 10:20] = 1
    viewer.add_labels(labels, name="mask", scale=(500, 500), units="nm")
    dock.image.layers.setCurrentText("slide")
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "slide", timeout=5000)
    dock.train.labels.setCurrentText("mask")
    opened = []

    def in_subprocess(asked, work):
        yield Progress(0, 0)
        opened.append(open_spec(asked.volume))
        np.testing.assert_array_equal(opened[0].levels[0].read(opened[0].levels[0].box)[1, 0], colours[..., 1])
        return Summary("", [])

    monkeypatch.setattr("napari_connecto.workflows.recipes.own_process.run_in_subprocess", in_subprocess)
    run(training_job(dock.train.training()))
    assert opened[0].levels[0].channels == 3


def test_an_rgb_file_is_opened_again_with_all_its_channels(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", colours, photometric="rgb")
    layer = Image(colours, rgb=True, scale=(500, 500), units="nm")
    layer._source = layer.source.model_copy(update={"path": str(tmp_path / "slide.tif")})  # as after File > Open
    volume = describe(layer).volume()
    assert volume.metadata[SPEC].channel == "all"
    level = volume.levels[0]
    np.testing.assert_array_equal(np.asarray(level.read(level.box))[:, 0], np.moveaxis(colours, -1, 0))


def test_a_cascade_says_what_it_found_of_the_held_out_objects():
    assert cascade_jobs._recall(None) == ""
    said = cascade_jobs._recall({"found": [True, False, True]})
    assert said == " It found 2 of 3 labelled held-out objects."


def test_stop_and_keep_best_asks_the_running_training(reviewed, qtbot, monkeypatch):
    asked = []

    def job(training):
        while not (training.out / STOP).exists():
            time.sleep(0.01)
            yield Progress(600, 1000, "training level 0", {"step": 3, "loss": 0.5, "score": None})
        asked.append(training.out)
        yield Progress(1, 2, "measuring level 0")
        return Summary(str(training.out), ["Stopped at level 0"], {"failure": "", "worse": True})

    monkeypatch.setattr(cascade_train, "training_job", job)
    train = reviewed.train
    assert not train.bar.stop.isEnabled()
    train.bar.button.click()
    qtbot.waitUntil(train.bar.stop.isEnabled, timeout=5000)
    assert train.bar.status.text() == "training level 0: 60 %"
    with qtbot.waitSignal(train.bar.worker.returned, timeout=5000):
        train.bar.stop.click()
        assert "the best networks are kept" in train.bar.status.text()
    assert asked
    assert "Stopped at level 0" in train.about.text()
    assert (train.curve.loss, train.curve.total) == ([(3, 0.5)], 5)  # it stays after the end
    assert not train.bar.stop.isEnabled()


def test_train_waits_for_an_image_that_is_being_opened(dock, viewer, qtbot, monkeypatch):  # noqa: F811
    viewer.add_labels(np.ones((8, 100, 100), np.uint8), name="mask", scale=(50, 4, 4), units="nm")
    dock.train.labels.setCurrentText("mask")
    dock.cascade.choose_training()
    may_open, started = threading.Event(), []

    def slow(described):
        while not may_open.is_set():
            time.sleep(0.01)
            yield Progress(0, 0)
        return described.volume()

    def job(training):
        started.append(training.volume.levels[0].voxel_nm)
        yield Progress(1, 9, "training level 0")
        return Summary(str(training.out), [], {"failure": "", "worse": True})

    monkeypatch.setattr(image_box, "open_job", slow)
    monkeypatch.setattr(cascade_train, "training_job", job)
    dock.image.ask_voxel_size()
    for box, nm in zip(dock.image.voxel.boxes, (50, 5, 5), strict=True):
        box.setValue(nm)
    dock.train.bar.button.click()
    assert dock.train.bar.status.text() == "Training starts as soon as the image is open."
    assert not started
    may_open.set()
    qtbot.waitUntil(lambda: len(started) == 1, timeout=5000)
    assert started == [(50, 5, 5)]


def draw(dock, *corners):  # noqa: F811
    """Draw upright rectangles (z, y0, x0, y1, x1) in voxels of the image."""
    dock.train.region.draw.click()
    for z, y0, x0, y1, x1 in corners:
        dock.train.region.layers.layer.add_rectangles([[z, y0, x0], [z, y0, x1], [z, y1, x1], [z, y1, x0]])


def run_of(training, monkeypatch):
    """The run that a training asks for."""
    asked = []

    def in_subprocess(run, work):
        yield Progress(0, 0)
        asked.append(run)
        return Summary("", [])

    monkeypatch.setattr("napari_connecto.workflows.recipes.own_process.run_in_subprocess", in_subprocess)
    run(training_job(training))
    return asked[0]


def test_a_rectangle_is_a_reviewed_region_on_all_labelled_sections(dock, viewer, monkeypatch):  # noqa: F811
    labels = np.zeros((8, 100, 100), np.uint8)
    labels[[1, 2, 6], 10:20, 10:20] = 1
    viewer.add_labels(labels, name="mask", scale=(50, 4, 4), units="nm")
    dock.train.labels.setCurrentText("mask")
    draw(dock, (3, -0.5, 9.5, 29.5, 59.5))
    assert "Unlabelled voxels outside it are unknown" in dock.train.caption.text()
    asked = run_of(dock.train.training(), monkeypatch)
    sides = [((box.start[1:], box.stop[1:])) for box in asked.reviewed]
    assert sides == [((0, 10), (30, 60))] * 2
    assert [(box.start[0], box.stop[0]) for box in asked.reviewed] == [(1, 3), (6, 7)]
    dock.train.region.layers.setCurrentIndex(0)
    assert run_of(dock.train.training(), monkeypatch).reviewed == ()


def test_a_region_without_rectangles_or_with_other_shapes_is_refused(dock, viewer):  # noqa: F811
    viewer.add_labels(np.ones((8, 100, 100), np.uint8), name="mask", scale=(50, 4, 4), units="nm")
    dock.train.labels.setCurrentText("mask")
    draw(dock)
    with pytest.raises(InputError, match="layer 'reviewed region' holds no rectangle; draw one, or choose 'none'"):
        dock.train.training()
    dock.train.region.layers.layer.add_ellipses([[1, 0, 0], [1, 0, 9], [1, 9, 9], [1, 9, 0]])
    with pytest.raises(InputError, match="holds shapes other than axis-aligned rectangles; delete them"):
        dock.train.training()


def test_points_have_a_reviewed_region_too(dock, viewer, monkeypatch):  # noqa: F811
    viewer.add_points([[2, 40, 60], [4, 20, 20]], scale=(50, 4, 4), units="nm", name="dots")
    dock.train.labels.setCurrentText("dots")
    dock.train.form.change(diameter_nm=40.0)
    draw(dock, (3, 9.5, 9.5, 49.5, 79.5))
    (box,) = run_of(dock.train.training(), monkeypatch).reviewed
    assert (box.start, box.stop) == ((2, 10, 10), (5, 50, 80))


def test_the_caption_says_that_only_single_sections_are_labelled(dock, viewer, qtbot):  # noqa: F811
    labels = np.zeros((40, 32, 32), np.uint8)
    labels[[7, 21], ::4, ::4] = 1
    layer = viewer.add_labels(labels, name="two", scale=(50, 4, 4), units="nm")
    dock.train.labels.setCurrentText("two")
    said = "2 of 40 sections are labelled; the others are treated as unknown."
    qtbot.waitUntil(lambda: said in dock.train.caption.text(), timeout=5000)
    layer.data[22, ::4, ::4] = 1
    layer.events.paint(value=[])
    said = "3 of 40 sections are labelled; the others count as background."
    qtbot.waitUntil(lambda: said in dock.train.caption.text(), timeout=5000)
