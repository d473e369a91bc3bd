"""Before and after in one image: left of the border the new model, right of it the old one, voxel for voxel."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.volume import Level
from napari_connecto.widgets.adapt.comparing.swipe import MAPS, SEGMENTS, Swipe, swiped
from napari_connecto.widgets.adapt.jobs import Picture
from napari_connecto.widgets.adapt.layers import Canvas

VOXEL = (40.0, 8.0, 8.0)


@given(st.integers(1, 40), st.floats(0, 1))
def test_every_voxel_is_of_one_of_the_two_and_the_ends_show_one_alone(width, share):
    before, after = np.zeros((2, 3, width), int), np.ones((2, 3, width), int)
    made = swiped(before, after, share)
    assert made.sum() == 6 * round(share * width)
    assert (np.diff(made, axis=2) <= 0).all()
    assert swiped(before, after, 0.0).sum() == 0
    assert swiped(before, after, 1.0).all()


@pytest.mark.gl
def test_the_slider_moves_the_border_in_one_layer_and_closing_restores_the_view(viewer, qtbot):
    image = viewer.add_image(np.zeros((4, 64, 64), np.uint8), scale=VOXEL, units="nm")
    level = Level(np.zeros((1, 32, 40), np.uint8), VOXEL)
    maps = [np.full((1, 32, 40), v, np.float32) for v in (0.2, 0.9)]
    cuts = [np.full((1, 32, 40), v, np.uint32) for v in (3, 8)]

    def picture(array, kind):
        return Picture(kind, Level(array, VOXEL), kind)

    rows = [
        [picture(level.array, "image"), *(picture(m, "map") for m in maps)],
        [picture(cuts[0], "labels"), *(picture(c, "labels") for c in cuts)],
    ]
    swipe = Swipe()
    qtbot.addWidget(swipe)
    canvas = Canvas(viewer, image, Level(np.zeros((4, 64, 64), np.uint8), VOXEL))
    swipe.moved.connect(lambda: swipe.show_on(canvas))
    swipe.take(rows)
    before = viewer.scene.camera.zoom
    swipe.slider.setValue(25)
    patch, labels, border = swipe.layers
    assert not image.visible
    np.testing.assert_array_equal(labels.data, np.where(np.arange(40) < 10, 8, 3) * np.ones((1, 32, 1), int))
    np.testing.assert_allclose(border.data[0][:, 2], 9.5)
    swipe.slider.setValue(75)
    assert swipe.layers == [patch, labels, border]
    assert (np.asarray(labels.data)[..., 29] == 8).all()
    assert (np.asarray(labels.data)[..., 30] == 3).all()
    swipe.what.setCurrentText(MAPS)
    assert np.unique(swipe.layers[1].data).tolist() == [np.float32(0.2), np.float32(0.9)]
    swipe.what.setCurrentText(SEGMENTS)
    swipe.clear()
    assert [layer.name for layer in viewer.layers] == [image.name]
    assert image.visible
    assert viewer.scene.camera.zoom == before
