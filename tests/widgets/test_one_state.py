"""What a dock says is of the layer that is chosen and of the job that runs, and never of a third image."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager

from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.viewer.view import LayerCombo
from tests.widgets.cascade.test_cascade_dock import dock, fake  # noqa: F401 - fixtures

DOCKS = ("Cascade detection", "Adapt to my data", "X-ray to EM", "Inspect a model")


def another(viewer, name="other", **keywords):
    keywords = {"scale": (50, 4, 4), "units": "nm", "contrast_limits": (0, 255)} | keywords
    return viewer.add_image(np.zeros((8, 100, 100), np.uint8), name=name, **keywords)


def begin(dock, fake, qtbot):  # noqa: F811
    fake.endless = True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: len(fake.calls) == 1 and dock.results.alive, timeout=5000)


@pytest.mark.gl
def test_a_layer_that_cannot_be_used_says_why(dock, viewer, qtbot):  # noqa: F811
    another(viewer, "turned", rotate=(30, 0, 0))
    dock.image.layers.setCurrentText("turned")
    assert "layer 'turned' is rotated" in dock.image.error.label.text()
    assert dock.card.text.text().startswith("Layer 'turned' is rotated")
    assert not dock.bar.button.isEnabled()
    assert "Layer 'turned' is rotated" in dock.bar.button.toolTip()


@pytest.mark.gl
def test_another_layer_chosen_while_a_job_runs(dock, fake, viewer, qtbot):  # noqa: F811
    another(viewer)
    begin(dock, fake, qtbot)
    assert dock.bar.image.text() == "Image: 'em'."
    dock.image.layers.setCurrentText("other")
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=5000)
    assert dock.bar.image.text() == "Image: 'em', not the chosen layer 'other'."
    assert dock.card.text.text().startswith("The job on 'em' is still running.")
    assert dock.card.estimate is None
    dock.bar.button.click()
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=5000)
    assert dock.bar.button.text() == "Run all"  # Resume would not resume this one
    assert "choose its image again to continue from there" in dock.bar.status.text()
    dock.image.layers.setCurrentText("em")
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=5000)
    assert not dock.bar.image.isVisibleTo(dock)
    fake.endless = False
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=5000):
        dock.bar.button.click()
    assert fake.calls[0][0].out == fake.calls[1][0].out


@pytest.mark.gl
def test_the_layer_of_a_running_job_is_deleted(dock, fake, viewer, qtbot):  # noqa: F811
    begin(dock, fake, qtbot)
    viewer.layers.clear()
    assert dock.bar.image.text() == (
        "Image: 'em'. Its layer was deleted; the job continues until it ends or is cancelled."
    )
    assert dock.card.text.text().startswith("No image is open")
    fake.endless = False
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=5000)
    assert dock.bar.image.text() == (
        f"Image: 'em'. Its layer was deleted; its result is saved in {fake.calls[0][0].out}."
    )


@pytest.mark.gl
def test_the_layer_is_deleted_before_anything_is_found(dock, fake, viewer, qtbot):  # noqa: F811
    fake.parts, fake.endless = 0, True
    dock.bar.button.click()
    qtbot.waitUntil(lambda: len(fake.calls) == 1, timeout=5000)
    viewer.layers.clear()
    fake.endless = False
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=5000)
    assert len(viewer.layers) == 0
    text = dock.results.report.text()
    assert text.startswith("Search of 'em' with the cascade 'bodies': 3 detections, saved in ")
    assert str(fake.calls[0][0].out) in text


@pytest.mark.gl
def test_a_dock_closed_while_a_job_runs_says_how_to_go_on(dock, fake, viewer, qtbot):  # noqa: F811
    begin(dock, fake, qtbot)
    out = fake.calls[0][0].out
    viewer.window.remove_dock_widget(dock)
    told = notification_manager.records[-1].message
    assert told.startswith("The dock was closed: the job 'cascade' on 'em' was stopped. Finished parts are saved in")
    assert str(out) in told
    again = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(again, name="Cascade detection")
    qtbot.waitUntil(lambda: again.card.estimate is not None, timeout=5000)
    assert again.bar.status.text() == f"Resumes an earlier run in {out}"
    fake.endless = False
    with qtbot.waitSignal(again.bar.worker.returned, timeout=5000):
        again.bar.button.click()
    assert fake.calls[-1][0].out == out
    again.close_jobs()


@pytest.mark.gl
@pytest.mark.parametrize("name", DOCKS)
def test_every_job_bar_of_every_dock_knows_the_chosen_layer(name, viewer, qtbot):
    first = another(viewer, "first")
    _, widget = viewer.window.add_plugin_dock_widget("napari-connecto", name)
    bars = [bar for bar in widget.findChildren(JobBar) if type(bar).follow is JobBar.follow]  # others: on no image
    assert bars
    assert all(bar._choice.layer.name == first.name for bar in bars)
    widget.close_jobs()


def test_a_choice_is_a_layer_and_not_its_name(qtbot):
    viewer = ViewerModel()
    one, two = (viewer.add_image(np.zeros((4, 8, 8)), name=name) for name in ("a", "b"))
    combo = LayerCombo(viewer, (Image,), "")
    qtbot.addWidget(combo)
    combo.setCurrentText("b")
    heard = []
    combo.chosen.connect(lambda: heard.append(combo.layer))
    two.name = "c"
    assert (combo.layer, combo.currentText(), heard) == (two, "c", [])
    viewer.layers.remove(two)
    assert (combo.layer, heard) == (one, [one])
    viewer.layers.clear()
    assert (combo.layer, heard) == (None, [one, None])
    combo.release()


@pytest.mark.parametrize("selected", ["a", "b"])
def test_a_dock_begins_with_the_layer_that_is_selected(selected, qtbot):
    viewer = ViewerModel()
    for name in ("a", "b"):
        viewer.add_image(np.zeros((4, 8, 8)), name=name)
    viewer.add_image(np.zeros((4, 8, 8)), name="hidden", visible=False)
    viewer.layers.selection.active = viewer.layers[selected]
    combo = LayerCombo(viewer, (Image,), "", selected=True)
    qtbot.addWidget(combo)
    assert combo.currentText() == selected
    viewer.layers.selection.active = viewer.layers["hidden"]
    other = LayerCombo(viewer, (Image,), "", selected=True)
    qtbot.addWidget(other)
    assert other.currentText() == "a"
    combo.release()
    other.release()


def test_a_dock_does_not_begin_with_a_hidden_image_where_others_are_seen(qtbot):
    """One works on what is on screen; the truths of a sample are hidden below or above it."""
    viewer = ViewerModel()
    for name, visible in (("truth", False), ("seen", True), ("other truth", False)):
        viewer.add_image(np.zeros((4, 8, 8)), name=name, visible=visible)
    combo = LayerCombo(viewer, (Image,), "", selected=True)
    qtbot.addWidget(combo)
    assert combo.currentText() == "seen"
    viewer.layers["seen"].visible = False
    other = LayerCombo(viewer, (Image,), "", selected=True)
    qtbot.addWidget(other)
    assert other.currentText() == "truth"
    combo.release()
    other.release()
