"""The step "Segment" with an error map: a check box that is off, a layer, and worst places to jump to."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QPointF
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QApplication

from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import new_model, read_card
from napari_connecto.models.inspect.pair import judge_card
from napari_connecto.widgets.shared.error_map import ERROR, NO_GUARD, TIP, ErrorMapBox
from napari_connecto.widgets.shared.worst import WORST
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.places import read_places
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER


@pytest.fixture
def guarded_library(files, tmp_path):
    """The library, in which "near" has a guard that learnt nothing."""
    folder = tmp_path / "library"
    shutil.copytree(files[2], folder)
    card = read_card(folder / "near")
    judge = new_model(judge_card(card, INNER, HALO, 4), 2, device="cpu")
    limits = Calibration(("quality", "error"), np.zeros(2), np.ones(2), np.ones(2), 0.0, 0.05, 2, 100)
    Guard(judge, card, "boundary", "membranes", 1.0, limits, None).save(folder / "near")
    return folder


@pytest.mark.gl
@pytest.mark.parametrize("again", ["show", "enter"])
def test_a_guard_that_was_fitted_meanwhile_is_found(viewer, guarded_library, tmp_path, again):
    """It is fitted in another dock; the box looks again when it is shown, or the mouse comes to it."""
    guard, aside = guarded_library / "near" / "guard", tmp_path / "aside"
    guard.rename(aside)
    errors = ErrorMapBox(viewer)
    errors.show()
    errors.suit(guarded_library / "near")
    assert (errors.box.isEnabled(), errors.box.toolTip()) == (False, NO_GUARD)
    aside.rename(guard)
    if again == "show":
        errors.hide()
        errors.show()
    else:
        QApplication.sendEvent(errors, QEnterEvent(*[QPointF(1, 1)] * 3))
    assert (errors.box.isEnabled(), errors.box.toolTip()) == (True, TIP)
    errors.close()


@pytest.mark.gl
def test_the_map_is_a_layer_and_its_worst_places_are_a_list(dock, viewer, guarded_library, qtbot):
    """A model without a guard offers no map; with one it is off until it is chosen, and shown when the run ends."""
    errors = dock.segment.errors
    dock.choose.choose("near")
    assert not errors.box.isEnabled()
    assert errors.box.toolTip() == NO_GUARD
    dock.choose.use_library(guarded_library)
    qtbot.waitUntil(lambda: dock.choose.folders.get("near") == guarded_library / "near", timeout=10_000)
    dock.choose.choose("near")
    dock.go_to(5)
    assert errors.box.isEnabled()
    assert not errors.box.isChecked()
    assert "--error-map" not in dock.segment.command()
    errors.box.setChecked(True)
    assert "--error-map" in dock.segment.command()
    viewer.fit_to_view()
    qtbot.waitUntil(lambda: dock.segment.card.estimate is not None, timeout=120_000)
    dock.segment.bar.button.click()
    qtbot.waitUntil(lambda: not dock.segment.bar.worker.state.busy, timeout=300_000)
    assert dock.segment.bar.error.label.text() == ""
    check = dock.segment._running.out / "check"
    layer, stored = viewer.layers[ERROR], open_volume(check / "error.zarr").levels[0]
    shown = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    np.testing.assert_array_equal(shown, np.asarray(stored.array[:]))
    assert shown.any()
    places = read_places(check)
    assert errors.worst.list.count() == len(places) == len(viewer.layers[WORST].data) > 0
    assert errors.worst.label.isHidden()  # this dock is where one annotates
    errors.worst.list.itemClicked.emit(errors.worst.list.item(0))
    here = stored.to_voxels(np.array([places[0].centre_nm]))[0] - 0.5
    point = layer.world_to_data([viewer.dims.point[0], *viewer.scene.camera.center[-2:]])
    np.testing.assert_allclose(point[-2:], here[-2:], atol=0.51)
