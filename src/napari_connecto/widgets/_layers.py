"""From napari layers to core volumes: scale, unit and grid; `_show` is the way back.

napari places the *centre* of voxel 0 at ``translate``, in the layer's own unit; a `Level` places its *corner* at
``origin_nm``. What a job needs of a layer is taken on the GUI thread (`describe`), opened in any (`LayerImage.volume`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.geometry import FVec3, Vec3, fvec3, vec3
from napari_connecto.core.volume import Kind, Level, Volume

_FROM_AXES = {"t": "time", "c": "channel"}
SPEC = "spec"
"""Key of ``Volume.metadata``: how a recipe names the file behind a layer."""
SOURCE = "connecto_source"
"""Key of ``layer.metadata`` where our own layers say which file they show."""


@dataclass(frozen=True)
class LayerImage:
    """What a job needs of a layer; holds no layer, so it may go to another thread.

    Parameters
    ----------
    arrays
        One per level, finest first, as the layer holds them.
    voxel_nm, origin_nm
        Of level 0, (z, y, x), nm; ratios and 0 where not ``calibrated``.
    overridden
        The user gave ``voxel_nm``: it replaces what the file states.
    leading
        Index along each axis before (z, y, x), and what `open_volume` calls it ("time", "channel").
    """

    name: str
    kind: Kind
    path: str
    arrays: tuple[Any, ...]
    ndim: int
    rgb: bool
    voxel_nm: FVec3
    origin_nm: FVec3
    calibrated: bool
    overridden: bool
    leading: tuple[int, ...] = ()
    picks: Mapping[str, Any] = field(default_factory=dict)

    def volume(self) -> Volume:
        """The file behind the layer where it holds the same voxels (it knows each level's size), else its arrays."""
        reopened = self._reopen()
        if reopened is not None:
            return reopened
        arrays = [_Spatial(a, self.leading, self.ndim == 2, self.rgb) for a in self.arrays]
        levels = []
        for array in arrays:
            factor = [grid_factor(n, m) for n, m in zip(arrays[0].shape[-3:], array.shape[-3:], strict=True)]
            voxel = fvec3([v * f for v, f in zip(self.voxel_nm, factor, strict=True)])
            levels.append(Level(array, voxel, self.origin_nm))
        return Volume(tuple(levels), name=self.name, kind=self.kind, calibrated=self.calibrated)

    def _reopen(self) -> Volume | None:
        if not self.path or self.rgb:
            return None
        from napari_connecto.io.read import open_volume  # zarr and its friends: not for the opening of a dock

        voxel_nm = self.voxel_nm if self.overridden else None
        try:
            volume = open_volume(self.path, voxel_nm=voxel_nm, **self.picks)
            stated = volume.levels[0].voxel_nm
            if self.calibrated and not self.overridden and not np.allclose(stated, self.voxel_nm, rtol=1e-3):
                voxel_nm = self.voxel_nm  # corrected in the layer
                volume = open_volume(self.path, voxel_nm=voxel_nm, **self.picks)
        except (ConnectoError, OSError):
            return None
        mine = [(_Spatial(a, self.leading, self.ndim == 2, False).shape, np.dtype(a.dtype)) for a in self.arrays]
        same = [(level.array.shape, level.dtype) for level in volume.levels] == mine
        if not same or volume.kind != self.kind:
            return None
        spec = {"path": volume.source, **self.picks} | ({"voxel_nm": list(voxel_nm)} if voxel_nm else {})
        return replace(volume, metadata={**volume.metadata, SPEC: spec})


def describe(layer: Image | Labels, *, step: Sequence[int] = (), voxel_nm: Sequence[float] | None = None) -> LayerImage:
    """Take from a layer what a job needs.

    Parameters
    ----------
    layer
        Multiscale or not; (y, x), (z, y, x), or more axes before these.
    step
        ``viewer.dims.current_step``: chooses along the axes before (z, y, x).
    voxel_nm
        Voxel size of level 0 in nm, (z, y, x), where the layer states none or a wrong one.

    Raises
    ------
    InputError
        If the layer is rotated, sheared or of an unusable kind.
    """
    if not isinstance(layer, Image | Labels):
        raise InputError(f"got layer '{layer.name}' of type {type(layer).__name__}; choose an Image or Labels layer")
    if layer.ndim < 2 or not _axis_aligned(layer):
        raise InputError(
            f"layer '{layer.name}' is rotated, sheared or 1-D; only axis-aligned (z, y, x) layers can be used"
        )
    stated = nm_per_unit(layer)
    unit = np.ones(3) if stated is None else stated
    scale = np.asarray(voxel_nm, float) if voxel_nm is not None else _last_three(layer.scale, 1.0) * unit
    calibrated = stated is not None or voxel_nm is not None
    origin = _last_three(layer.translate, 0.0) * unit - scale / 2 if calibrated else np.zeros(3)
    n_leading = max(0, layer.ndim - 3)
    index = [int(s) for s in list(step)[-layer.ndim :][:n_leading]] or [0] * n_leading
    picks = dict(zip((_FROM_AXES.get(a, a) for a in layer.axis_labels[:n_leading]), index, strict=True))
    return LayerImage(
        name=layer.name,
        kind="labels" if isinstance(layer, Labels) else "image",
        path=layer.source.path or str(layer.metadata.get(SOURCE, "")),
        arrays=tuple(layer.data) if layer.multiscale else (layer.data,),
        ndim=layer.ndim,
        rgb=bool(getattr(layer, "rgb", False)),
        voxel_nm=fvec3(scale.tolist()),
        origin_nm=fvec3(origin.tolist()),
        calibrated=calibrated,
        overridden=voxel_nm is not None,
        leading=tuple(index),
        picks={k: v for k, v in picks.items() if k in _FROM_AXES.values()},
    )


def nm_per_unit(layer: Layer) -> np.ndarray | None:
    """Nanometres per unit of the last three axes, (3,); None where an axis is not a length (napari's "pixel")."""
    units = layer.units[-3:]
    if not all(unit.is_compatible_with("nanometer") for unit in units):
        return None
    factors = [float((1 * unit).to("nanometer").magnitude) for unit in units]
    return np.array(([factors[0]] if len(factors) == 2 else []) + factors)


def world_factor(layer: Layer, world_units: Sequence[Any] | None) -> np.ndarray:
    """World units per unit of the layer, per axis: napari's world is in the smallest unit of all layers."""
    factors = np.ones(layer.ndim)
    for i, (unit, world) in enumerate(zip(layer.units, list(world_units or ())[-layer.ndim :], strict=False)):
        if unit != world and unit.dimensionality == world.dimensionality:
            factors[i] = float((1 * unit).to(world).magnitude)
    return factors


def grid_factor(fine: int, coarse: int) -> float:
    """Downsampling factor between two levels of these lengths: the whole number that explains them, or the ratio."""
    ratio = fine / coarse
    for factor in (round(ratio), int(ratio), int(ratio) + 1):
        if factor >= 1 and coarse in (fine // factor, -(-fine // factor)):
            return float(factor)
    return ratio


def _axis_aligned(layer: Layer) -> bool:
    return bool(
        np.allclose(layer.rotate, np.eye(layer.ndim))
        and np.allclose(layer.shear, 0)
        and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    )


def _last_three(values: Any, fill: float) -> np.ndarray:
    values = np.asarray(values, float)[-3:]
    return np.concatenate([np.full(3 - len(values), fill), values])


class _Spatial:
    """An array with any axes seen as (z, y, x), or (c, z, y, x) where RGB; reads only what is asked."""

    def __init__(self, array: Any, leading: tuple[int, ...], flat: bool, rgb: bool) -> None:
        self.array, self.leading, self.flat, self.rgb = array, leading, flat, rgb
        self.dtype = np.dtype(array.dtype)
        space = tuple(int(n) for n in array.shape[len(leading) : len(leading) + (2 if flat else 3)])
        self.shape = ((int(array.shape[-1]),) if rgb else ()) + ((1,) if flat else ()) + space
        chunks = getattr(array, "chunks", None)
        if chunks is not None and not rgb:
            sizes = [max(c) if isinstance(c, tuple) else int(c) for c in chunks[len(leading) :]]
            self.chunks: Vec3 = vec3(([1] if flat else []) + sizes)

    @property
    def identity(self) -> tuple[Any, ...]:
        """The same for the same part of the same array."""
        return id(self.array), self.leading

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        space = (y, x) if self.flat else (z, y, x)
        block = np.asarray(self.array[(*self.leading, *space)])
        block = block[None][z] if self.flat else block
        return np.moveaxis(block, -1, 0) if self.rgb else block
