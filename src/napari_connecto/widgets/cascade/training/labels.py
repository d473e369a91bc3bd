"""Training labels of the dock: a layer of labels or points, checked at once and described in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Points

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.cascade.layers import REVIEWED
from napari_connecto.widgets.viewer.layers import describe, nm_per_unit, world_grid
from napari_connecto.widgets.viewer.show import store_layer, to_nm
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.training.points import Places

LOOKED_AT = 2**25
"""Voxels of labels that are looked at for the caption."""
PAINTED = 2**28
"""Most voxels of a new labels layer; memory is taken as they are painted."""


@dataclass(frozen=True)
class Taught:
    """Labels as a volume, or positions in nm (n, 3); and a review's verdicts on other places, None without one."""

    labels: Volume | np.ndarray
    review: Places | None


def taught(layer: Layer, image: Layer, volume: Volume, params: TrainParams) -> Taught:
    """Training labels from a layer, for the image layer that is open as ``volume``.

    Raises
    ------
    InputError
        If the layer is empty, lies elsewhere, or is in pixels while the image is in nm.
    """
    review, level = layer.metadata.get(REVIEWED), volume.levels[0]
    if isinstance(layer, Points):
        if params.diameter_nm <= 0:
            raise InputError("points need a diameter: set Diameter (nm) to the typical size of an object")
        if len(layer.data) == 0:
            raise InputError(f"layer '{layer.name}' holds no points; set one on every object")
        places = to_nm(layer.data, layer, image, level)
        at = level.to_voxels(places)
        if not ((at >= 0) & (at < level.shape)).all(axis=1).any():
            raise InputError(f"none of the points of '{layer.name}' is inside '{image.name}'; {_scales(layer, image)}")
        return Taught(places, review)
    own = _same_grid(layer, image)
    bare, other = (nm_per_unit(each) is None for each in (layer, image))
    if not own and bare != other:
        in_pixels, sized = (layer, image) if bare else (image, layer)
        raise InputError(
            f"layer '{in_pixels.name}' is in pixels, '{sized.name}' is not; {_scales(layer, image)}, or paint on a new "
            "labels layer"
        )
    labels = describe(layer, voxel_nm=level.voxel_nm if own and volume.calibrated else None).volume()
    if not _overlap(labels.levels[0], level):
        raise InputError(f"layer '{layer.name}' does not overlap '{image.name}'; {_scales(layer, image)}")
    return Taught(labels, review)


def new_labels(viewer: Any, image: Layer, volume: Volume) -> Layer:
    """Add an empty labels layer on an image layer that is open as ``volume``, ready to paint.

    It has the voxels of the finest level of at most `PAINTED` voxels.
    """
    level = next((each for each in volume.levels if each.box.size <= PAINTED), volume.levels[-1])
    empty = Volume((replace(level, array=np.zeros(level.shape, np.uint16)),), kind="labels")
    (array,), keywords = store_layer(empty, image, volume.levels[0])
    layer = viewer.add_labels(np.asarray(array), **keywords, name=f"labels ({image.name})")
    layer.mode = "paint"
    viewer.layers.selection.active = layer
    return layer


def caption(layer: Layer | None, params: TrainParams, *, region: bool = False) -> str:
    """What is labelled, and how unlabelled voxels are treated, in words; ``region``: a reviewed region is given."""
    if layer is None:
        return "Paint masks in a Labels layer, or set points."
    if region:
        return "Label every object inside the reviewed region. Unlabelled voxels outside it are unknown."
    review = layer.metadata.get(REVIEWED)
    if params.sparse(reviewed=review is not None):
        rejected = len(review.of("rejected")) if review is not None else 0
        background = f" Rejected detections ({rejected}) are background." if review is not None else ""
        return f"Only some objects are labelled: unlabelled voxels are unknown.{background}"
    if isinstance(layer, Points):
        return "Set a point on every object: everything else in the image counts as background."
    return "Paint every object: unpainted voxels count as background."


def in_memory(layer: Layer | None) -> np.ndarray | None:
    """The labels of a layer if they can be looked at in a moment, (z, y, x); None otherwise."""
    data = layer.data if isinstance(layer, Labels) else None
    small = isinstance(data, np.ndarray) and data.ndim == 3 and data.size <= LOOKED_AT
    return data if small else None


def _same_grid(layer: Layer, image: Layer) -> bool:
    """Labels with the image's scale but without units lie on the image's voxels."""
    return nm_per_unit(layer) is None and np.allclose(world_grid(layer)[0][-2:], world_grid(image)[0][-2:])


def _overlap(a: Level, b: Level) -> bool:
    low, high = (b.to_voxels(a.to_nm(end)) for end in ((0, 0, 0), a.shape))
    return bool((high > 0).all() and (low < b.shape).all())


def _scales(layer: Layer, image: Layer) -> str:
    def said(of: Layer) -> str:
        return f"{' x '.join(f'{v:g}' for v in world_grid(of)[0][-2:])} {of.units[-1]}"

    sizes = f"the labels have voxels of {said(layer)} (y x), the image of {said(image)}"
    return f"{sizes}: give both layers the same scale, units and translate"
