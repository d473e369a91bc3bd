"""Layers of a live view: what is read while the view moves, and what is shown."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QApplication

from napari_connecto.compute.live.mosaic import Blocks, Mosaic, Part, Picture
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.live.layers import LiveLayers
from napari_connecto.widgets.shared.live.request import Look, Request

STEPS = 20


@pytest.mark.gl
def test_a_view_that_moves_a_little_is_not_read_anew_at_each_step(make_napari_viewer_proxy, monkeypatch):
    """Reading and uploading is most of what a frame costs: 20 steps of a voxel along x cross two borders of chunks."""
    viewer = make_napari_viewer_proxy(show=True)
    arrays = [np.zeros((1, n, n), np.uint8) for n in (1024, 512)]
    image = viewer.add_image(arrays, multiscale=True, contrast_limits=(0, 1))
    fine, coarse = Level(arrays[0], (1.0, 1.0, 1.0)), Level(arrays[1], (1.0, 2.0, 2.0))
    blocks = Blocks()
    blocks.put(("map", 0), np.ones((1, 1, 1), np.uint8))
    mosaic = Mosaic([Part("map", coarse, TilePlan(coarse.shape, coarse.shape))], blocks)
    looks = {"scores": Look("live scores", {"contrast_limits": (0, 1)})}
    layers = LiveLayers(viewer, Request(image, fine, Volume((fine, coarse)), "key", lambda *_: iter(()), looks))
    layers.show([Picture("scores", mosaic, (fine, coarse))])
    camera, reads, read = viewer.scene.camera, [], Mosaic.read
    camera.zoom, camera.center = 4, (0, 500, 500)
    for _ in range(5):
        QApplication.processEvents()

    def counted(self, grid, index):
        reads.append(grid)
        return read(self, grid, index)

    monkeypatch.setattr(Mosaic, "read", counted)
    for step in range(STEPS):
        camera.center = (0, 500, 500 + step)
        for _ in range(3):
            QApplication.processEvents()
    assert len(reads) <= 2
    camera.center = (0, 800, 200)
    for _ in range(5):
        QApplication.processEvents()
    assert reads  # it is this that the steps would otherwise have done
