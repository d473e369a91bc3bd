"""napari layers and core volumes: every conversion of scale, unit and grid between the two.

napari places the *centre* of voxel 0 at ``translate``, in the layer's own unit; a `Level` places its *corner* at
``origin_nm``. What a job needs of a layer is taken on the GUI thread (`describe`), opened in any (`LayerImage.volume`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.geometry import FVec3, Vec3, fvec3, vec3
from napari_connecto.core.volume import Kind, Level, Volume

_FROM_AXES = {"t": "time", "c": "channel"}


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
    picks: Mapping[str, int] = field(default_factory=dict)

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
            if (
                self.calibrated
                and not voxel_nm
                and not np.allclose(volume.levels[0].voxel_nm, self.voxel_nm, rtol=1e-3)
            ):
                volume = open_volume(self.path, voxel_nm=self.voxel_nm, **self.picks)  # corrected in the layer
        except (ConnectoError, OSError):
            return None
        mine = [(_Spatial(a, self.leading, self.ndim == 2, False).shape, np.dtype(a.dtype)) for a in self.arrays]
        same = [(level.array.shape, level.dtype) for level in volume.levels] == mine
        return volume if same and volume.kind == self.kind else None


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
        path=layer.source.path or "",
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


def to_data(centre_nm: np.ndarray, level: Level, ndim: int) -> np.ndarray:
    """Positions in nm (n, 3) as data coordinates of a layer of ``level`` with 2 or 3 axes. Inverse: `to_nm`."""
    data = level.to_voxels(np.asarray(centre_nm, float).reshape(-1, 3)) - 0.5
    return data[:, 1:] if ndim == 2 else data


def to_nm(points: np.ndarray, layer: Layer, image: Layer, level: Level) -> np.ndarray:
    """A Points layer's positions in nm (n, 3): through the world into the image layer's voxels. Inverse: `to_data`."""
    world = np.array([layer.data_to_world(p) for p in np.atleast_2d(points)], float).reshape(len(points), layer.ndim)
    world = world * world_factor(layer, image.units)
    keep = min(image.ndim, 3)
    data = np.array([image.world_to_data([0.0] * (image.ndim - layer.ndim) + list(w))[-keep:] for w in world], float)
    data = data.reshape(len(world), keep)
    voxels = np.concatenate([np.zeros((len(data), 3 - keep)), data], axis=1)
    return level.to_nm(voxels + 0.5)


def placed_on(image: Layer) -> dict[str, Any]:
    """Keywords that put a new layer of the same grid (points in voxels, labels) exactly onto an image layer."""
    n = min(image.ndim, 3)
    return {"scale": image.scale[-n:], "translate": image.translate[-n:], "units": image.units[-n:]}


def store_layer(volume: Volume, image: Layer, level: Level) -> tuple[list[Any], dict[str, Any]]:
    """Arrays and keywords that show a result store over the image layer it was made from.

    The arrays are the store's own (zarr), never dask: napari would cache them and show old voxels while it fills.
    ``level`` is the image's level 0.
    """
    fine = volume.levels[0]
    n = min(image.ndim, 3)
    ratio = np.array(fine.voxel_nm) / level.voxel_nm
    offset = level.to_voxels(fine.origin_nm) + ratio / 2 - 0.5
    keywords = placed_on(image)
    keywords["translate"] = keywords["translate"] + (keywords["scale"] * offset[-n:])
    keywords["scale"] = keywords["scale"] * ratio[-n:]
    arrays = [level.array if n == 3 else _Plane(level.array) for level in volume.levels]
    return arrays, keywords


def _axis_aligned(layer: Layer) -> bool:
    return bool(
        np.allclose(layer.rotate, np.eye(layer.ndim))
        and np.allclose(layer.shear, 0)
        and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    )


def _last_three(values: Any, fill: float) -> np.ndarray:
    values = np.asarray(values, float)[-3:]
    return np.concatenate([np.full(3 - len(values), fill), values])


class _Plane:
    """The one section of a (1, y, x) array, read only where asked."""

    def __init__(self, array: Any) -> None:
        self.array, self.dtype, self.shape, self.ndim = array, np.dtype(array.dtype), tuple(array.shape[1:]), 2

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.array[(0, *(index if isinstance(index, tuple) else (index,)))])


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

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        space = (y, x) if self.flat else (z, y, x)
        block = np.asarray(self.array[(*self.leading, *space)])
        block = block[None][z] if self.flat else block
        return np.moveaxis(block, -1, 0) if self.rgb else block
