"""The step "Segment": what stands in the way is said before it runs, and a run that fails leaves nothing behind."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.adapt import segment as adapt_segment
from tests.widgets.adapt_steps import refused, settle


@pytest.mark.gl
def test_a_red_card_disables_the_button_until_the_view_is_another(dock, viewer, monkeypatch, qtbot):
    plain, asked = adapt_segment.segment_cost_job, []

    def segment_cost_job(what):
        asked.append(what.region)
        if what.region.shape[2] > 100:
            raise InputError("got too much memory; choose less")
        return (yield from plain(what))

    monkeypatch.setattr(adapt_segment, "segment_cost_job", segment_cost_job)
    dock.choose.choose("near")
    viewer.fit_to_view()
    dock.go_to(5)
    segment = dock.segment
    qtbot.waitUntil(lambda: segment.card.error.isVisibleTo(segment), timeout=20000)
    assert not segment.bar.button.isEnabled()
    assert "Not available: got too much memory" in segment.bar.button.toolTip()
    viewer.scene.camera.zoom *= 8
    qtbot.waitUntil(lambda: segment.card.estimate is not None, timeout=60000)
    assert asked[-1].shape[2] <= 100
    assert segment.bar.button.isEnabled()
    segment.where.setCurrentText("Region of a Shapes layer")  # no shape yet: a click says so
    assert segment.bar.button.isEnabled()
    segment.bar.button.click()
    assert "draw a rectangle" in segment.bar.error.label.text()
    segment.where.setCurrentText("In view")
    assert segment.bar.error.label.text() == ""


@pytest.mark.gl
def test_a_segmentation_that_fails_leaves_no_layer_and_its_error_goes_with_the_next_action(
    dock, viewer, monkeypatch, qtbot
):
    plain = adapt_segment.segmenting_job

    def segmenting_job(what):
        level = what.volume.levels[0]
        labels = Volume.from_array(np.zeros((1, 32, 32), np.uint32), level.voxel_nm, name="labels", kind="labels")
        while len(viewer.layers) == had:
            yield Progress(1, 10, "segmenting", labels)
            time.sleep(0.01)
        raise InputError("got no room on disk; make some")

    had = len(viewer.layers)
    monkeypatch.setattr(adapt_segment, "segmenting_job", segmenting_job)
    dock.choose.choose("near")
    dock.go_to(5)
    segment = dock.segment
    names = [layer.name for layer in viewer.layers]
    segment.bar.button.click()
    assert "got no room on disk" in refused(segment.bar, qtbot)
    assert [layer.name for layer in viewer.layers] == names
    assert viewer.layers.selection.active.name == names[0]
    assert segment.summary == ""
    segment.form.change(min_size=7)
    assert segment.bar.error.label.text() == ""
    monkeypatch.setattr(adapt_segment, "segmenting_job", plain)
    segment.where.setCurrentText("Everywhere")
    qtbot.waitUntil(lambda: segment.card.estimate is not None, timeout=60000)
    segment.bar.button.click()
    settle(segment.bar, qtbot)
    first = segment.layer
    assert first in viewer.layers
    monkeypatch.setattr(adapt_segment, "segmenting_job", segmenting_job)
    had = len(viewer.layers)
    segment.form.change(min_size=9)
    segment.bar.button.click()
    refused(segment.bar, qtbot)
    assert first in viewer.layers  # of a run that went well
