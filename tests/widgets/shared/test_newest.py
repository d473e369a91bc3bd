"""A second image is opened while a dock is open: followed where nobody minds, offered otherwise, never forced."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.layers._source import layer_source

from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.viewer.view import RESULT
from napari_connecto.widgets.xray.dock import TranslateWidget

pytestmark = pytest.mark.gl


@pytest.fixture
def drag(viewer, tmp_path):
    """Opens a new file of this name, as dragging it does; gives its layer."""

    def opened(name: str):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, np.zeros((2, 20, 20), np.uint8))
        return viewer.open(path, plugin="napari")[0]

    return opened


@pytest.fixture
def box(viewer):
    made = InputBox(viewer)
    yield made
    made.close_jobs()


def test_a_dock_nobody_has_touched_follows_the_newest_image(box, drag):
    """Whoever drags a file wants to work on it."""
    drag("first")
    assert box.layer.name == "first"
    drag("second")
    assert box.layer.name == "second"
    assert box.newest.isHidden()


def test_an_image_chosen_by_hand_stays_and_one_click_takes_the_new_one(box, drag):
    drag("first")
    box.layers.activated.emit(0)
    drag("fish & chips")
    assert box.layer.name == "first"
    assert not box.newest.isHidden()
    assert box.newest.text() == "Use 'fish && chips'"
    box.newest.click()
    assert box.layer.name == "fish & chips"
    assert box.newest.isHidden()
    drag("third")
    assert box.layer.name == "fish & chips"


@pytest.mark.parametrize("what", ["use_pixels", "correct"])
def test_an_image_about_which_something_was_entered_stays(box, drag, what):
    """Its voxel size is the user's work."""
    drag("first")
    getattr(box, what).click()
    drag("second")
    assert (box.layer.name, box.newest.text()) == ("first", "Use 'second'")


def test_what_is_painted_on_an_image_keeps_it(viewer, box, drag):
    drag("first")
    viewer.add_labels(np.zeros((2, 20, 20), np.uint8))
    drag("second")
    assert (box.layer.name, box.newest.text()) == ("first", "Use 'second'")


def test_neither_results_nor_what_programs_add_are_followed(viewer, box, drag):
    """A filtered copy, a result and a labels file are no new images to work on."""
    drag("first")
    voxels = np.zeros((2, 20, 20), np.uint8)
    viewer.add_image(voxels, name="filtered")
    viewer.add_labels(voxels, name="objects", metadata={RESULT: True})
    assert (box.layer.name, box.newest.isHidden()) == ("first", True)
    drag("second")
    assert box.layer.name == "second"


@pytest.mark.parametrize("kept", [True, False])
def test_of_a_file_with_channels_the_first_one_is_taken(viewer, box, drag, kept):
    """The others are the same file, whether the first was chosen or offered."""
    drag("first")
    if kept:
        box.newest.keep()
    with layer_source(path="channels.tif"):
        viewer.add_image(np.zeros((3, 2, 20, 20), np.uint8), channel_axis=0, name=["red", "green", "blue"])
    name, offer = ("first", "Use 'red'") if kept else ("red", "")
    assert (box.layer.name, box.newest.text()) == (name, offer)


@pytest.mark.parametrize("kept", [True, False])
def test_hidden_layers_are_neither_chosen_nor_offered(viewer, box, drag, kept):
    """The truths of a sample are hidden images."""
    drag("first")
    if kept:
        box.newest.keep()
    with layer_source(sample=("napari-connecto", "xray")):
        viewer.add_image(np.zeros((2, 20, 20), np.uint8), name="EM (truth)", visible=False)
    assert (box.layer.name, box.newest.isHidden()) == ("first", True)


def test_an_offer_ends_with_its_layer_and_follows_its_name(viewer, box, drag):
    drag("first")
    box.newest.keep()
    second = drag("second")
    second.name = "renamed"
    assert box.newest.text() == "Use 'renamed'"
    viewer.layers.remove("renamed")
    assert box.newest.isHidden()


def test_when_the_kept_image_is_removed_the_dock_follows_again(viewer, box, drag):
    drag("first")
    box.newest.keep()
    viewer.layers.remove("first")
    drag("second")
    drag("third")
    assert box.layer.name == "third"


def test_an_image_that_a_job_has_run_on_stays(viewer, drag, qtbot):
    """Run, then drag: the review, the folder and the layers belong to the first image."""

    def job():
        yield Progress(1, 1)

    dock = TranslateWidget(viewer)
    viewer.window.add_dock_widget(dock, name="X-ray to EM")
    drag("first")
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=10000):
        dock.bar.start(job)
    drag("second")
    assert dock.image.layer.name == "first"
    assert dock.image.newest.isVisibleTo(dock)
    dock.image.newest.click()
    assert dock.image.layer.name == "second"
