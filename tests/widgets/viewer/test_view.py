"""Where the user looks, and which level is offered, on the viewer's model alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.view import LevelPicker, default_level, jump, level_line, selection_kept, view_box


@pytest.fixture
def model():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 200, 300), np.uint8), scale=(50, 4, 4), units="nm", contrast_limits=(0, 255))
    return viewer


def test_jump_puts_point_in_the_middle_and_its_section_on_screen(model):
    jump(model, model.layers[0], (7, 100, 50))
    assert model.dims.point[0] == 350
    assert model.dims.current_step[0] == 7
    assert tuple(model.scene.camera.center)[-2:] == (400, 200)


def test_jump_where_another_layer_sets_a_smaller_unit(model):
    layer = model.add_points(np.zeros((1, 3)), scale=(0.05, 0.004, 0.004), units="um")
    jump(model, layer, (7, 100, 50))
    np.testing.assert_allclose(model.dims.point[0], 350)
    np.testing.assert_allclose(tuple(model.scene.camera.center)[-2:], (400, 200))


def test_field_of_view_is_a_slab_around_the_section(model):
    level = describe(model.layers[0]).volume().levels[0]
    jump(model, model.layers[0], (20, 100, 150))
    model.canvas.size = (400, 800)
    model.scene.camera.zoom = 2.0  # canvas pixels per nm: 200 x 400 nm, 50 x 100 voxels
    box = view_box(model, model.layers[0], level, depth=8)
    assert box.start == (16, 75, 100)
    assert box.stop == (25, 126, 201)


def test_field_of_view_of_a_view_beside_the_layer_is_empty(model):
    level = describe(model.layers[0]).volume().levels[0]
    model.scene.camera.center = (0, 90_000, 90_000)
    assert view_box(model, model.layers[0], level).size == 0


def test_field_of_view_in_3d_and_with_rolled_axes_stays_inside(model):
    level = describe(model.layers[0]).volume().levels[0]
    model.dims.ndisplay = 3
    assert level.box.contains(view_box(model, model.layers[0], level))
    model.dims.ndisplay = 2
    model.dims.order = (1, 0, 2)
    jump(model, model.layers[0], (20, 100, 150))
    box = view_box(model, model.layers[0], level, depth=10)
    assert (box.start[1], box.stop[1]) == (95, 106)


def volume():
    array = np.zeros((4, 64, 64), np.uint8)
    return Volume(
        (Level(array, (50, 4, 4)), Level(array[:, ::2, ::2], (50, 8, 8)), Level(array[:, ::4, ::4], (50, 16, 16)))
    )


def test_default_level_is_the_locked_one_then_the_models():
    assert default_level(volume(), 2, None) == 2
    assert default_level(volume(), 0, (50, 8, 8)) == 0
    assert default_level(volume(), 2, (50, 8, 8)) == 1  # the model needs finer voxels than those of the locked level
    assert default_level(volume(), None, (50, 9, 9)) == 1
    assert default_level(volume(), None, None) == 0


def test_picker_shows_shape_voxel_size_and_bytes(qtbot):
    picker = LevelPicker()
    qtbot.addWidget(picker)
    picker.show_levels(volume(), model_nm=(50, 8, 8))
    assert picker.index == 1
    assert picker.combo.currentText() == "1: 4 × 32 × 32, 50 × 8 × 8 nm, 4.1 kB"
    with qtbot.waitSignal(picker.changed):
        picker.show_levels(volume(), locked=2)


def test_a_level_in_words():
    assert level_line(volume(), 0) == "0: 4 × 64 × 64, 50 × 4 × 4 nm, 16.4 kB"


@pytest.mark.parametrize("selected", [[], ["a"], ["a", "b"]], ids=["none", "one", "two"])
def test_layers_are_added_without_selecting_them_or_telling_anyone(selected):
    """napari shows the controls of what is selected; what fails halfway leaves the selection as it was, too."""
    viewer = ViewerModel()
    for name in ("a", "b"):
        viewer.add_image(np.zeros((4, 4)), name=name)
    viewer.layers.selection = {viewer.layers[name] for name in selected}
    told = []
    viewer.layers.selection.events.connect(told.append)

    def fail():
        with selection_kept(viewer, viewer.layers["b"]):
            viewer.add_image(np.zeros((4, 4)), name="result")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    if selected:
        assert not told
        assert {layer.name for layer in viewer.layers.selection} == set(selected)
        assert viewer.layers.selection.active is (viewer.layers["a"] if len(selected) == 1 else None)
    with selection_kept(viewer, viewer.layers["b"]):
        viewer.add_image(np.zeros((4, 4)), name="another")
    assert {layer.name for layer in viewer.layers.selection} == set(selected or ["b"])
