"""A voxel size once given holds for the layer, for what lies on its voxels, and for every dock."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.show import to_nm
from napari_connecto.widgets.viewer.view import view_box
from napari_connecto.widgets.viewer.voxel_size import give_size

STACK = np.zeros((8, 40, 50), np.uint8)


def world(layer, voxel):
    return np.asarray(layer.data_to_world(voxel))


@pytest.mark.parametrize("shape", [(8, 40, 50), (40, 50), (3, 8, 40, 50)])
@pytest.mark.parametrize("units", ["pixel", "um"])
def test_layers_on_the_same_voxels_stay_on_them_and_in_view(shape, units):
    viewer = ViewerModel()
    n = min(3, len(shape))
    axes = ("pixel",) * (len(shape) - n) + (units,) * n
    image = viewer.add_image(np.zeros(shape, np.uint8), units=axes, contrast_limits=(0, 1))
    labels = viewer.add_labels(np.zeros(shape[-n:], np.uint8), units=units, translate=(1,) * n)
    points = viewer.add_points(np.ones((2, n)), ndim=n, units=units)
    other = viewer.add_image(np.zeros((9,) * n, np.uint8), units=units, contrast_limits=(0, 1))
    level = describe(image).volume().levels[0]
    viewer.canvas.size = (200, 300)
    viewer.scene.camera.center = (20.0, 25.0)
    viewer.scene.camera.zoom = 20.0
    viewer.dims.set_current_step(viewer.dims.ndim - 3, 2)
    before = view_box(viewer, image, level, depth=2)
    give_size(viewer, image, (50.0, 4.0, 4.0))
    size = (50.0, 4.0, 4.0)[-n:]
    for layer in (image, labels, points):
        np.testing.assert_allclose(layer.scale[-n:], size)
        assert [str(unit) for unit in layer.units[-n:]] == ["nanometer"] * n
    np.testing.assert_allclose(labels.translate, size)
    np.testing.assert_allclose(other.scale, 1)
    level = describe(image).volume().levels[0]
    np.testing.assert_allclose(level.voxel_nm[-n:], size)
    np.testing.assert_allclose(to_nm(points.data, points, image, level)[0, -n:], level.to_nm([[1.5] * 3])[0, -n:])
    assert view_box(viewer, image, level, depth=2) == before


def test_a_layer_placed_by_its_affine_stays_on_its_voxels():
    """As napari-ome-zarr places what it opens."""
    viewer, affine = ViewerModel(), np.eye(4)
    affine[:3, 3] = 0.5, 2.5, 4.5
    image = viewer.add_image(STACK, affine=affine, contrast_limits=(0, 1))
    labels = viewer.add_labels(STACK, translate=(0.5, 2.5, 4.5))
    give_size(viewer, image, (50.0, 4.0, 8.0))
    np.testing.assert_allclose(world(image, (1, 2, 3)), np.multiply((1.5, 4.5, 7.5), (50, 4, 8)))
    np.testing.assert_allclose(world(image, (1, 2, 3)), world(labels, (1, 2, 3)))
    level = describe(image).volume().levels[0]
    assert (level.voxel_nm, level.origin_nm) == ((50, 4, 8), (0, 8, 32))


def opened(viewer, qtbot):
    box = InputBox(viewer)
    qtbot.addWidget(box)
    box.layers.chosen.emit()
    qtbot.waitUntil(lambda: box.full is not None, timeout=5000)
    return box


def test_typing_counts_also_where_it_is_1_and_holds_in_every_dock(qtbot):
    viewer = ViewerModel()
    layer = viewer.add_image(STACK, contrast_limits=(0, 1))
    one, other = opened(viewer, qtbot), opened(viewer, qtbot)
    assert [box.text() for box in one.voxel.boxes] == [" "] * 3  # nothing is known, and nothing is shown
    for box in one.voxel.boxes:
        assert not one.full.calibrated
        box.setFocus()
        box.selectAll()
        qtbot.keyClicks(box, "1")
        qtbot.keyClick(box, "\r")
    one.settle()  # as a click on Train at once
    assert one.need_volume().calibrated
    assert layer.scale.tolist() == [1, 1, 1]
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    qtbot.waitUntil(lambda: other.full is not None and other.full.calibrated, timeout=5000)
    assert other.full.levels[0].voxel_nm == (1, 1, 1)
    assert not other.correct.isChecked()
    one.correct.setChecked(True)
    one.voxel.boxes[0].setValue(40)
    one.settle()
    assert one.need_volume().levels[0].voxel_nm == (40, 1, 1)
    third = opened(viewer, qtbot)
    assert third.full.levels[0].voxel_nm == (40, 1, 1)
    for box in (one, other, third):
        box.close_jobs()


def test_a_flat_image_asks_for_two_numbers(qtbot):
    viewer = ViewerModel()
    viewer.add_image(STACK[0], contrast_limits=(0, 1))
    box = opened(viewer, qtbot)
    assert box.voxel.boxes[0].isHidden()
    for line in box.voxel.boxes[1:]:
        line.setValue(500)
    box.settle()
    assert box.need_volume().levels[0].voxel_nm == (500, 500, 500)
    box.close_jobs()


def test_pixels_will_do_in_every_dock_once_chosen(qtbot):
    viewer = ViewerModel()
    viewer.add_image(STACK, contrast_limits=(0, 1))
    one = opened(viewer, qtbot)
    assert not one.use_pixels.isHidden()
    assert not one.pixels
    one.use_pixels.setChecked(True)
    other = opened(viewer, qtbot)
    assert other.pixels
    assert other.use_pixels.isChecked()
    for box in (one, other):  # pixels and a size in nm exclude each other
        assert (box.correct.isChecked(), box.voxel.isHidden()) == (False, True)
    one.correct.click()
    assert (one.pixels, one.use_pixels.isChecked(), one.voxel.isHidden()) == (False, False, False)
    one.use_pixels.click()
    assert (one.pixels, one.correct.isChecked()) == (True, False)
    viewer.layers[0].units = "um"
    qtbot.waitUntil(lambda: other.full is not None and other.full.calibrated, timeout=5000)
    assert other.use_pixels.isHidden()
    for box in (one, other):
        box.close_jobs()


@pytest.mark.parametrize(("scale", "offered"), [((50, 4, 4), "Use level 0"), ((50, 7, 7), "Set the voxel size…")])
def test_a_level_is_offered_only_where_it_helps(scale, offered, qtbot):
    viewer = ViewerModel()
    viewer.add_image([STACK, STACK[:, ::2, ::2]], multiscale=True, scale=scale, units="nm", contrast_limits=(0, 1))
    box = opened(viewer, qtbot)
    box.set_model((50.0, 4.0, 4.0))
    box.picker.combo.setCurrentIndex(1)
    assert box.way_out()[0] == offered
    box.close_jobs()
