"""Annotation in a real viewer: pre-fills that nobody corrected, keys as users press them, commits being written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Scaling
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.widgets.adapt.annotate import desk as adapt_desk
from napari_connecto.widgets.adapt.annotate.judge import JudgeBox
from napari_connecto.widgets.shared.boundary_models import load
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState
from napari_connecto.workflows.adapt.annotate.prefill import prefilled
from napari_connecto.workflows.adapt.params import PREFILLS
from napari_connecto.workflows.shared.whole import boundary_of
from tests.widgets.adapt_steps import canvas_of, commit, half, press


def open_patch(dock, id, qtbot):
    dock.annotate.queue.choose(id)
    dock.annotate.open()
    qtbot.waitUntil(lambda: not dock.annotate.desk.busy, timeout=30000)
    assert dock.annotate.opened.id == id
    return np.asarray(dock.annotate.patch.labels.data[:])


@pytest.mark.gl
@pytest.mark.parametrize("prefill", PREFILLS[:2])
def test_a_held_out_patch_is_never_pre_filled(opened, prefill, qtbot):
    opened.annotate.prefill.setCurrentText(prefill)
    for state in opened.project.work.session.patches:
        draft = open_patch(opened, state.id, qtbot)
        assert draft.any() != state.held_out
        assert opened.annotate.held.isVisibleTo(opened.annotate) == state.held_out  # and says why


@pytest.mark.gl
@pytest.mark.parametrize("painted", [False, True])
def test_a_held_out_patch_that_an_older_version_pre_filled_begins_empty_unless_it_was_painted(opened, painted, qtbot):
    session, base = opened.project.work.session, opened.project.work.base
    held = next(s.id for s in session.patches if s.held_out)
    draft = session.open_patch(held)
    scaling = Scaling(**session.about["scaling"])
    fill = prefilled(boundary_of(load(base), scaling(draft.image)), PREFILLS[0])
    fill[0, 0, 0] = 3 - fill[0, 0, 0] if painted else fill[0, 0, 0]
    draft.labels[:] = fill
    shutil.rmtree(session.path / f"patches/{held:04d}/start.zarr")
    found = open_patch(opened, held, qtbot)
    np.testing.assert_array_equal(found, fill if painted else 0)


@pytest.mark.gl
def test_the_next_patch_is_shown_without_removing_a_layer_and_undo_does_not_reach_into_it(opened, viewer, qtbot):
    """napari stops for a second at each removal, and keeps the strokes of a layer to be undone."""
    annotate, removed = opened.annotate, []
    first, second = learnt(opened)
    open_patch(opened, first, qtbot)
    viewer.layers.events.removed.connect(removed.append)
    annotate.patch.labels.brush_size = 9
    half(opened)
    wanted = open_patch(opened, second, qtbot)
    labels = annotate.patch.labels
    labels.undo()
    np.testing.assert_array_equal(np.asarray(labels.data[:]), wanted)
    assert (removed, labels.mode, labels.brush_size, labels.name) == ([], "paint", 9, f"patch {second} labels")
    np.testing.assert_allclose(labels.extent.world, viewer.layers[f"patch {second}"].extent.world)


@pytest.mark.gl
def test_the_next_patch_shows_its_labels_on_top_whatever_was_hidden_or_removed(opened, viewer, qtbot):
    first, second = learnt(opened)
    open_patch(opened, first, qtbot)
    opened.annotate.patch.labels.visible = False
    viewer.layers.remove(f"patch {first}")
    open_patch(opened, second, qtbot)
    labels = opened.annotate.patch.labels
    assert viewer.layers[-1].name == labels.name == f"patch {second} labels"
    assert (labels.visible, labels.mode) == (True, "paint")
    labels.visible = False
    open_patch(opened, first, qtbot)
    assert (labels.visible, labels.mode) == (True, "paint")


def learnt(dock):
    return [s.id for s in dock.project.work.session.patches if not s.held_out]


@pytest.mark.gl
def test_an_unedited_pre_fill_is_asked_about_once_and_recorded(opened, qtbot):
    annotate, session = opened.annotate, opened.project.work.session
    first, second = learnt(opened)
    assert open_patch(opened, first, qtbot).any()
    commit(opened, qtbot)
    assert annotate.judge.question.isVisibleTo(annotate)
    assert "accept it unedited" in annotate.judge.question.text()
    assert annotate.buttons["commit"].text() == "Accept unedited (C)"
    assert opened.next.button.text() == f"Commit patch {first} again (C) ▶"
    assert (annotate.opened.id, annotate.summary) == (first, "0 of 3")
    assert annotate.patch.labels.mode == "paint"  # painting goes on
    annotate.buttons["commit"].click()  # the second click accepts
    qtbot.waitUntil(lambda: not opened.project.committing, timeout=20000)
    assert annotate.summary == "1 of 3"
    assert not annotate.judge.question.isVisibleTo(annotate)
    assert "1 accepted unedited" in annotate.counter.text()
    assert session.patches[first - 1].unedited
    qtbot.waitUntil(lambda: not annotate.desk.busy, timeout=20000)
    open_patch(opened, second, qtbot)
    commit(opened, qtbot)  # asked once for the session
    assert annotate.summary == "2 of 3"
    assert "2 accepted unedited" in annotate.counter.text()
    events = EventLog(session.path / "events.jsonl").events()
    committed = [e for e in events if e["event"] == "commit"]
    assert [(e["prefilled"], e["edited"]) for e in committed] == [(True, 0.0)] * 2


@pytest.mark.gl
def test_an_edit_after_the_question_is_an_edit(opened, qtbot):
    annotate = opened.annotate
    first = learnt(opened)[0]
    start = open_patch(opened, first, qtbot)
    commit(opened, qtbot)
    assert annotate.judge.question.isVisibleTo(annotate)
    labels = annotate.patch.labels
    where = np.nonzero(start[:, :8] == 2)
    labels.data_setitem(where, np.uint32(1))
    commit(opened, qtbot)
    state = opened.project.work.session.patches[first - 1]
    assert not state.unedited
    assert state.edited == pytest.approx(len(where[0]) / start.size)
    assert "1 edited (" in annotate.counter.text()


# ---------------------------------------------------------------- keys


def places(dock, viewer, qtbot):
    """Where the focus may be when a key is pressed."""
    annotate = dock.annotate
    return {
        "canvas": canvas_of(viewer, qtbot),
        "queue": annotate.queue,
        "button": annotate.buttons["open"],
        "combo box": annotate.prefill,
    }


@pytest.mark.gl
@pytest.mark.parametrize("active", ["labels", "image"])
def test_every_key_of_annotation_does_what_it_says(opened, viewer, active, qtbot):
    annotate = opened.annotate
    first = learnt(opened)[0]
    open_patch(opened, first, qtbot)
    labels, focus = annotate.patch.labels, places(opened, viewer, qtbot)

    def key(name, place):
        layers = {"labels": annotate.patch.labels, "image": viewer.layers[f"patch {annotate.opened.id}"]}
        viewer.layers.selection.active = layers[active]
        press(focus[place], getattr(Qt.Key, f"Key_{name}"))

    def ends(condition):
        qtbot.waitUntil(lambda: condition() and not annotate.desk.busy, timeout=20000)

    for place in focus:
        for name, value in (("1", 1), ("2", 2), ("0", 0)):
            labels.mode = "erase"
            key(name, place)
            assert (labels.selected_label, str(labels.mode)) == (value, "paint"), (place, name)
            assert viewer.layers.selection.active == labels
        key("M", place)
        new = max(2, int(np.asarray(labels.data).max())) + 1
        assert labels.selected_label == new, place
        labels.data_setitem(np.nonzero(np.asarray(labels.data[:]) == 2), np.uint32(new + 4))
        labels.data_setitem((np.array([0]),) * 3, np.uint32(new + 4))
        key("M", place)
        assert labels.selected_label == new + 5, place

    key("C", "canvas")
    ends(lambda: annotate.summary == "1 of 3")
    assert annotate.opened.id != first
    key("U", "queue")
    ends(lambda: annotate.opened.id == first)
    assert annotate.summary == "0 of 3"
    key("N", "button")
    ends(lambda: annotate.opened.id != first)
    here = annotate.opened.id
    key("K", "combo box")
    ends(lambda: annotate.opened.id != here)
    assert opened.project.work.session.patches[here - 1].status == "skipped"


@pytest.mark.gl
def test_buttons_paint_as_their_keys_do_and_say_what_unlabelled_means(opened, viewer):
    annotate = opened.annotate
    labels, buttons = annotate.patch.labels, annotate.brushes.buttons
    assert [b.text() for b in buttons.values()] == ["Membrane (1)", "Inside (2)", "Erase (0)", "New neurite (M)"]
    assert [b.text() for b in buttons.values() if b.isChecked()] == ["Membrane (1)"]
    annotate.brushes.opacity.setValue(70)
    assert labels.opacity == 0.7
    assert "Unlabelled voxels (0) are ignored" in annotate.brushes.meaning.text()
    buttons["2"].click()
    assert labels.selected_label == 2
    assert [b.text() for b in buttons.values() if b.isChecked()] == ["Inside (2)"]
    buttons["M"].click()
    assert labels.selected_label == max(2, int(np.asarray(labels.data).max())) + 1
    annotate.desk.close()
    assert viewer.layers.selection.active == viewer.layers[0]  # the image, for what is done next
    assert not any(button.isEnabled() for button in buttons.values())


@pytest.mark.gl
def test_suggested_patches_are_boxes_on_the_volume_until_one_is_opened(opened, viewer, qtbot):
    """Each box encloses exactly the voxels of its patch; held-out ones say so."""
    annotate, image = opened.annotate, viewer.layers[0]
    assert not annotate.boxes.layer.visible  # a patch is open
    annotate.desk.close()
    shown = annotate.boxes.layer
    assert shown.visible
    assert viewer.layers.selection.active == image
    states = opened.project.work.session.patches
    names = [f"{s.id}{' held out' if s.held_out else ''}" for s in states for _ in range(s.box.shape[0])]
    assert list(shown.features["patch"]) == names
    corners = np.array([shown.data_to_world(c) for c in shown.data[0]])
    voxels = np.array([image.world_to_data(c) for c in corners])
    box = states[0].box
    np.testing.assert_allclose(voxels.min(axis=0), [box.start[0], box.start[1] - 0.5, box.start[2] - 0.5], atol=1e-6)
    np.testing.assert_allclose(voxels.max(axis=0), [box.start[0], box.stop[1] - 0.5, box.stop[2] - 0.5], atol=1e-6)
    opened.go_to(3)
    assert not shown.visible
    opened.go_to(2)
    assert annotate.boxes.layer.visible


@pytest.mark.gl
def test_the_users_own_labels_keep_napari_s_keys(opened, viewer, qtbot):
    own = viewer.add_labels(np.zeros((8, 256, 256), np.uint8), name="own")
    viewer.layers.selection.active = own
    own.mode = "paint"
    press(canvas_of(viewer, qtbot), Qt.Key.Key_1)
    assert str(own.mode) == "erase"


# ---------------------------------------------------------------- commits


@pytest.mark.gl
def test_a_commit_is_written_off_the_gui_thread_and_waited_for(opened, monkeypatch, qtbot):
    import threading

    annotate, session = opened.annotate, opened.project.work.session
    gate, threads, plain = threading.Event(), [], adapt_desk.commit_job

    def commit_job(*args):
        threads.append(threading.current_thread())
        gate.wait(20)
        return (yield from plain(*args))

    monkeypatch.setattr(adapt_desk, "commit_job", commit_job)
    half(opened)
    annotate.commit()
    qtbot.waitUntil(lambda: bool(threads), timeout=5000)
    assert threads[0] is not threading.main_thread()
    assert not annotate.patch.labels.editable  # what is being read is not painted on
    annotate.skip()
    annotate.undo()
    annotate.commit()
    opened.tune.bar.button.click()
    assert "a patch is being committed" in opened.tune.bar.error.label.text()
    assert [s.status for s in session.patches] == ["waiting"] * 3
    gate.set()
    opened.close_jobs()  # a dock that closes waits
    assert session.counts() == (1, 3)
    assert len(threads) == 1


def test_buttons_for_patches_are_grey_where_they_would_do_nothing(qtbot):
    """With no patch, one open, the last one open, a committed one open, and everything committed."""
    box = JudgeBox(dict.fromkeys(("open", "commit", "skip", "next", "undo", "copy"), lambda: None))
    qtbot.addWidget(box)
    place = Box((0, 0, 0), (1, 8, 8))

    def free(opened, *states):
        box.allow([PatchState(n, place, 0.0, "", False, status=s) for n, s in enumerate(states, 1)], opened)
        return [key for key, button in box.buttons.items() if button.isEnabled()]

    assert free(0) == ["copy"]
    assert free(0, "waiting", "waiting") == ["open", "next", "copy"]
    assert free(1, "waiting", "waiting") == ["open", "commit", "skip", "next", "copy"]
    assert free(2, "committed", "waiting") == ["open", "commit", "skip", "undo", "copy"]
    assert free(1, "committed", "skipped") == ["open", "commit", "skip", "next", "undo", "copy"]
    assert free(0, "committed", "skipped") == ["open", "undo", "copy"]
