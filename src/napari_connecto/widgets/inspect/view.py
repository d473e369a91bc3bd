"""The part of the image on screen, as jobs of the dock "Inspect a model" take it."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.viewer.view import view_box

VIEW, ALL = "In view", "Everywhere"


def shown_on(image: InputBox) -> tuple[Layer, Level]:
    """The image layer that results are placed on, and its level 0.

    Raises
    ------
    InputError
        If none is open.
    """
    if image.layer is None or image.full is None:
        raise InputError("no image is open; choose an image layer")
    return image.layer, image.full.levels[0]


def region_in_view(viewer: Any, image: InputBox, volume: Volume) -> Box:
    """What is on screen, one section thick, in voxels of the volume's finest level.

    Raises
    ------
    InputError
        If no image is open, or the view does not touch it.
    """
    layer, finest = shown_on(image)
    here = finest.box_in(view_box(viewer, layer, finest, depth=0), volume.levels[0]).clip(volume.levels[0].shape)
    if here.size == 0:
        raise InputError(f"the view does not touch '{layer.name}'; press Home in the viewer")
    return here
