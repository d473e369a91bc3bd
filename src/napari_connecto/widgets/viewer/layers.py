"""From napari layers to core volumes: scale, unit and grid; `show` is the way back.

napari places the *centre* of voxel 0 at ``translate``, in the layer's own unit; a `Level` places its *corner* at
``origin_nm``. A volume keeps the position of its layer, also if the file behind it is opened again: a file without an
origin has its corner at 0, whereas napari shows its centre at 0. What a job needs of a layer is collected on the GUI
thread (`describe`) and opened in any thread (`LayerImage.volume`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.geometry import FVec3, fvec3
from napari_connecto.core.volume import Kind, Level, Volume
from napari_connecto.widgets.viewer.lazy import behind
from napari_connecto.widgets.viewer.spatial import Spatial
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

_FROM_AXES = {"t": "time", "c": "channel"}
SPEC = "spec"
"""Key of ``Volume.metadata``: the `VolumeSpec` of the file behind a layer."""
SOURCE = "connecto_source"
"""Key of ``layer.metadata`` in layers made here: the file they show."""
GRID = "connecto_grid"
"""Key of ``layer.metadata`` of points not in voxel units: voxel size and origin (nm), None if unknown."""


@dataclass(frozen=True)
class LayerImage:
    """What a job needs of a layer; does not refer to the layer, so it may go to another thread.

    Parameters
    ----------
    arrays
        One per level, finest first, as in the layer.
    voxel_nm
        Of level 0, (z, y, x), nm; in the layer's own unit if not ``calibrated``.
    corner
        Of voxel 0 of level 0, (z, y, x), in voxels from the world's origin: ``translate / scale - 0.5``.
    overridden
        The user gave ``voxel_nm``, which replaces the voxel size in the file.
    channel
        Of RGB, see `describe`.
    leading
        Index along each axis before (z, y, x), and its name in `open_volume` ("time", "channel").
    """

    name: str
    kind: Kind
    path: str
    arrays: tuple[Any, ...]
    ndim: int
    rgb: bool
    voxel_nm: FVec3
    corner: FVec3
    calibrated: bool
    overridden: bool
    leading: tuple[int, ...] = ()
    picks: Mapping[str, Any] = field(default_factory=dict)
    channel: int | None = None

    def volume(self) -> Volume:
        """The file behind the layer if it holds the same voxels (it knows each level's size), else the layer's arrays.

        In both cases placed where napari shows the layer.
        """
        reopened = self._reopen()
        if reopened is not None:
            return reopened
        arrays = [Spatial(a, self.leading, self.ndim == 2, self.rgb, self.channel) for a in self.arrays]
        levels = []
        for array in arrays:
            factor = [grid_factor(n, m) for n, m in zip(arrays[0].shape[-3:], array.shape[-3:], strict=True)]
            voxel = fvec3([v * f for v, f in zip(self.voxel_nm, factor, strict=True)])
            levels.append(Level(array, voxel, self._origin(self.voxel_nm)))
        return Volume(tuple(levels), name=self.name, kind=self.kind, calibrated=self.calibrated)

    def _reopen(self) -> Volume | None:
        if not self.path:
            return None
        from napari_connecto.io.volumes.read import open_volume  # zarr: keep opening the dock fast

        voxel_nm = self.voxel_nm if self.overridden else None
        picks = dict(self.picks) | ({"channel": "all"} if self.rgb else {})
        try:
            volume = open_volume(self.path, voxel_nm=voxel_nm, **picks)
            axes = slice(3 - min(self.ndim, 3), None)  # the thickness of a single section comes from the file
            stated = volume.levels[0].voxel_nm
            same = np.allclose(stated[axes], self.voxel_nm[axes], rtol=1e-3)
            if self.calibrated and not self.overridden and not same:
                voxel_nm = self.voxel_nm  # corrected in the layer
                volume = open_volume(self.path, voxel_nm=voxel_nm, **picks)
            elif not (volume.calibrated or same):
                return None  # ratios that only the layer knows
        except (ConnectoError, OSError):
            return None
        mine = [(Spatial(a, self.leading, self.ndim == 2, self.rgb).shape, np.dtype(a.dtype)) for a in self.arrays]
        theirs = [(level.array.shape, level.dtype) for level in volume.levels]
        if theirs != mine or volume.kind != self.kind:
            return None
        placed = volume.placed_at(self._origin(volume.levels[0].voxel_nm))
        origin_nm = placed.levels[0].origin_nm if placed is not volume else None
        spec = VolumeSpec(volume.source, voxel_nm=voxel_nm, origin_nm=origin_nm, **picks)
        return replace(placed, metadata={**placed.metadata, SPEC: spec})

    def _origin(self, voxel_nm: FVec3) -> FVec3:
        return fvec3([v * c for v, c in zip(voxel_nm, self.corner, strict=True)])


def describe(
    layer: Image | Labels,
    *,
    step: Sequence[int] = (),
    voxel_nm: Sequence[float] | None = None,
    channel: int | None = None,
) -> LayerImage:
    """Collect what a job needs of a layer.

    Parameters
    ----------
    layer
        Multiscale or not; (y, x), (z, y, x), or more axes before these.
    step
        ``viewer.dims.current_step``: chooses along the axes before (z, y, x).
    voxel_nm
        Voxel size of level 0 in nm, (z, y, x), if the layer states none or a wrong one.
    channel
        Of RGB: the channel to read; without it all three.

    Raises
    ------
    InputError
        If the layer is rotated, sheared or of an unsupported type.
    """
    if not isinstance(layer, Image | Labels):
        raise InputError(f"got layer '{layer.name}' of type {type(layer).__name__}; choose an Image or Labels layer")
    if layer.ndim < 2 or not _axis_aligned(layer):
        raise InputError(
            f"layer '{layer.name}' is rotated, sheared or 1-D; only axis-aligned (z, y, x) layers can be used"
        )
    stated = nm_per_unit(layer)
    unit = np.ones(3) if stated is None else stated
    steps, start = world_grid(layer)
    scale = _last_three(steps, float(steps[-2]))  # a section is as thick as its voxels are high
    corner = _last_three(start, 0.0) / scale - 0.5
    voxel = np.asarray(voxel_nm, float) if voxel_nm is not None else scale * unit
    n_leading = max(0, layer.ndim - 3)
    index = [int(s) for s in list(step)[-layer.ndim :][:n_leading]] or [0] * n_leading
    picks = dict(zip((_FROM_AXES.get(a, a) for a in layer.axis_labels[:n_leading]), index, strict=True))
    return LayerImage(
        name=layer.name,
        kind="labels" if isinstance(layer, Labels) else "image",
        path=layer.source.path or str(layer.metadata.get(SOURCE, "")),
        arrays=tuple(map(behind, layer.data)) if layer.multiscale else (layer.data,),
        ndim=layer.ndim,
        rgb=bool(getattr(layer, "rgb", False)),
        voxel_nm=fvec3(voxel.tolist()),
        corner=fvec3(corner.tolist()),
        calibrated=stated is not None or voxel_nm is not None,
        overridden=voxel_nm is not None,
        leading=tuple(index),
        picks={k: v for k, v in picks.items() if k in _FROM_AXES.values()},
        channel=channel if getattr(layer, "rgb", False) else None,
    )


def nm_per_unit(layer: Layer) -> np.ndarray | None:
    """Nanometres per unit of the last three axes, (3,); None if an axis is not a length (napari's "pixel")."""
    units = layer.units[-3:]
    if not all(unit.is_compatible_with("nanometer") for unit in units):
        return None
    factors = [float((1 * unit).to("nanometer").magnitude) for unit in units]
    return np.array(([factors[0]] if len(factors) == 2 else []) + factors)


def world_factor(layer: Layer, world_units: Sequence[Any] | None) -> np.ndarray:
    """World units per layer unit, per axis: napari's world uses the smallest unit of all layers."""
    factors = np.ones(layer.ndim)
    for i, (unit, world) in enumerate(zip(layer.units, list(world_units or ())[-layer.ndim :], strict=False)):
        if unit != world and unit.dimensionality == world.dimensionality:
            factors[i] = float((1 * unit).to(world).magnitude)
    return factors


def grid_factor(fine: int, coarse: int) -> float:
    """Downsampling factor between two levels of these lengths: the integer that explains them, or the ratio."""
    ratio = fine / coarse
    for factor in (round(ratio), int(ratio), int(ratio) + 1):
        if factor >= 1 and coarse in (fine // factor, -(-fine // factor)):
            return float(factor)
    return ratio


def world_grid(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Size of a voxel and centre of voxel 0 in the world, (ndim,) in the layer's units.

    These are ``scale`` and ``translate`` after ``affine``, by which napari-ome-zarr places images.
    """
    matrix = np.asarray(layer.affine.affine_matrix, float)
    by, shift = np.diagonal(matrix)[:-1], matrix[:-1, -1]
    return by * np.asarray(layer.scale, float), by * np.asarray(layer.translate, float) + shift


def _axis_aligned(layer: Layer) -> bool:
    linear = np.asarray(layer.affine.affine_matrix, float)[:-1, :-1]
    return bool(
        np.allclose(layer.rotate, np.eye(layer.ndim))
        and np.allclose(layer.shear, 0)
        and np.allclose(linear, np.diag(np.diagonal(linear)))
        and (np.diagonal(linear) > 0).all()
    )


def _last_three(values: Any, fill: float) -> np.ndarray:
    values = np.asarray(values, float)[-3:]
    return np.concatenate([np.full(3 - len(values), fill), values])
