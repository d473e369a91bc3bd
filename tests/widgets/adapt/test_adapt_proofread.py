"""Proofreading in a real viewer: two clicks end in a layer with the right numbers, and in a journal on disk."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.adapt.params import SuggestParams
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment
from tests.widgets.adapt_steps import canvas_of, press, settle

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Four columns of 16 voxels with walls between them, segmented on the grid of the dock's image."""
    boundary = np.zeros((8, 256, 256), np.uint8)
    boundary[:, :, 63::64] = 255
    folder = tmp_path_factory.mktemp("columns")
    save_volume(Volume.from_array(boundary, (40.0, 8.0, 8.0)), folder / "boundary.zarr")
    segment(open_volume(folder / "boundary.zarr"), SegmentParams(mode="2d-linked"), out=folder / "segments")
    return folder / "segments"


@pytest.fixture
def box(dock, viewer, result, tmp_path, qtbot):
    """The dock proofreading a copy of that result, opened as a user's file."""
    shutil.copytree(result, tmp_path / "segments", ignore=shutil.ignore_patterns("proofread"))
    data, keywords, _ = layer_data(open_volume(tmp_path / "segments" / "labels" / "labels.zarr"), name="mine")
    viewer.add_labels(data, **{k: v for k, v in keywords.items() if k != "contrast_limits"})
    dock.go_to(5)
    found = dock.segment.proofread
    assert found.start.text() == "Proofread 'mine'"
    found.start.click()
    qtbot.waitUntil(lambda: found.work is not None and not found.worker.state.busy, timeout=20000)
    return found


def corrected(box):
    data = box.layer.labels.data
    return np.asarray((data[0] if box.layer.labels.multiscale else data)[:])


def click(box, viewer, qtbot, voxel):
    """A press and a release of napari's mouse at a voxel."""
    world = box.layer.labels.data_to_world(voxel)
    told = {"button": 1, "modifiers": (), "pos": (5, 5), "position": tuple(world), "dims_displayed": (1, 2)}
    step = box._on_mouse(viewer, SimpleNamespace(type="mouse_press", **told))
    assert box._on_mouse in viewer.mouse_drag_callbacks
    list(step)
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=20000)


def test_where_nothing_was_clicked_no_mark_is_drawn(box, viewer):
    """napari draws a layer of no points as one of size 0, which a lower limit of its size on the canvas would show."""
    viewer.reset_view()
    shown = viewer.screenshot(flash=False)
    box.layer.marks.visible = False
    np.testing.assert_array_equal(viewer.screenshot(flash=False), shown)


@pytest.mark.parametrize("zoom", [0.01, 5.0])
def test_a_mark_is_seen_at_any_zoom(box, viewer, zoom):
    viewer.scene.camera.zoom = zoom
    box.layer.mark([(4, 100, 10)])
    across = box.layer.marks.size[0] * box.layer.labels.scale[-1] * zoom
    assert across >= 10


def test_two_clicks_merge_and_undo_and_redo_follow(box, viewer, qtbot):
    before = corrected(box)
    a, b = int(before[4, 100, 10]), int(before[4, 100, 80])
    assert a != b
    click(box, viewer, qtbot, (4, 100, 10))
    assert box.panel.line.text() == f"{a} is chosen. Click its other part."
    assert len(box.layer.marks.data) == 1
    click(box, viewer, qtbot, (4, 100, 80))
    after = corrected(box)
    np.testing.assert_array_equal(after, np.where(before == max(a, b), min(a, b), before))
    assert box.panel.line.text().startswith(f"Merged into {min(a, b)}.")
    assert (box.folder / "proofread" / "decisions.jsonl").read_text().count("merge") == 1
    box.panel.undo.click()
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=20000)
    np.testing.assert_array_equal(corrected(box), before)
    assert not box.panel.undo.isEnabled()
    box.panel.redo.click()
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=20000)
    np.testing.assert_array_equal(corrected(box), after)


def test_two_clicks_split_one_segment_and_the_original_layer_and_file_stay(box, viewer, qtbot):
    before, original = corrected(box), viewer.layers["mine"]
    id = int(before[4, 20, 10])
    box.choose("split")
    click(box, viewer, qtbot, (4, 20, 10))
    click(box, viewer, qtbot, (4, 230, 10))
    after = corrected(box)
    assert after[4, 20, 10] != after[4, 230, 10]
    np.testing.assert_array_equal(after[before != id], before[before != id])
    np.testing.assert_array_equal(np.asarray(original.data[0] if original.multiscale else original.data), before)
    np.testing.assert_allclose(box.layer.labels.extent.world, original.extent.world)
    click(box, viewer, qtbot, (4, 20, 10))
    click(box, viewer, qtbot, (4, 230, 10))  # already two
    assert "two segments already" in box.error.label.text()
    np.testing.assert_array_equal(corrected(box), after)


def test_keys_work_on_the_canvas_and_leaving_gives_them_back(box, dock, viewer, qtbot):
    canvas = canvas_of(viewer, qtbot)
    before = corrected(box)
    press(canvas, Qt.Key.Key_S)
    assert box.panel.kind == "split"
    press(canvas, Qt.Key.Key_M)
    assert box.panel.kind == "merge"
    click(box, viewer, qtbot, (4, 100, 10))
    press(canvas, Qt.Key.Key_Escape)
    assert box.first is None
    click(box, viewer, qtbot, (4, 100, 10))
    click(box, viewer, qtbot, (4, 100, 80))
    press(canvas, Qt.Key.Key_U)
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=20000)
    np.testing.assert_array_equal(corrected(box), before)
    dock.go_to(2)
    assert box.work is None
    assert not box.keys
    assert not any(callback is box._on_mouse for callback in viewer.mouse_drag_callbacks)
    assert "clicked" not in [layer.name for layer in viewer.layers]
    dock.go_to(5)
    box.start.click()  # the folder is free again
    qtbot.waitUntil(lambda: box.work is not None and not box.worker.state.busy, timeout=20000)
    assert [layer.name for layer in viewer.layers].count("mine corrected") == 1


def test_corrections_become_patches_that_begin_with_the_corrected_segments(dock, viewer, result, tmp_path, qtbot):
    """The draft is the corrected labels, what it began with is the model's, so edits are counted as such."""
    opened = dock
    dock.annotate.form.value = SuggestParams(size=32, pool=12, random_arm=0)
    dock.annotate.count.setValue(1)
    dock.choose.choose("near")
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    shutil.copytree(result, tmp_path / "segments", ignore=shutil.ignore_patterns("proofread"))
    data, keywords, _ = layer_data(open_volume(tmp_path / "segments" / "labels" / "labels.zarr"), name="mine")
    viewer.add_labels(data, **keywords)
    dock.go_to(5)
    box = dock.segment.proofread
    box.start.click()
    qtbot.waitUntil(lambda: box.work is not None and not box.worker.state.busy, timeout=20000)
    (there,) = dock.project.work.session.patches
    y = 20 if there.box.start[1] >= 128 else 230  # not above the patch that is there
    for voxel in ((4, y, 50), (4, y, 78)):
        click(box, viewer, qtbot, voxel)
    assert box.panel.train.text() == "Train on 1 correction"
    box.panel.train.click()
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=30000)
    assert box.error.label.text() == ""
    state = opened.project.work.session.patches[-1]
    assert (state.held_out, state.status) == (False, "waiting")
    assert "merged while proofreading" in state.reason
    draft = opened.project.work.session.open_patch(state.id)
    now = np.asarray(draft.labels[:])
    assert len(np.unique(now)) == 1  # 32 voxels across what was two columns
    opened.go_to(2)
    opened.annotate.queue.choose(state.id)
    opened.annotate.open()
    qtbot.waitUntil(lambda: opened.annotate.opened is not None and opened.annotate.opened.id == state.id, timeout=30000)
    np.testing.assert_array_equal(np.asarray(opened.annotate.patch.labels.data[:]), now)
    settle(opened.annotate.bar, qtbot)


def test_export_writes_the_corrected_labels(box, viewer, qtbot, tmp_path):
    click(box, viewer, qtbot, (4, 100, 10))
    click(box, viewer, qtbot, (4, 100, 80))
    box.export_to(tmp_path / "out.zarr")
    qtbot.waitUntil(lambda: not box.worker.state.busy, timeout=30000)
    assert box.error.label.text() == ""
    level = open_volume(tmp_path / "out.zarr").levels[0]
    np.testing.assert_array_equal(level.read(level.box), corrected(box))
