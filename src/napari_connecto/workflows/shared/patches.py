"""Draw patches of tissue evenly from a volume, without resin, padding and excluded boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_connecto.compute.cache import touched_chunks
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.views.pedestal import above, plain
from napari_connecto.core.views.resample import stored_part
from napari_connecto.core.volume import Level

CONSTANT = 0.5
"""Share of voxels with one and the same value above which a patch is padding."""
COARSE, WHITE = 4, 0.4
"""Structure survives a mean over 4 x 4 voxels; of white noise a quarter does, and a third if it was resampled to larger
voxels. Below this share a patch is noise."""
FAINT = 0.25
"""Share of the contrast of the pool's 90th percentile below which a patch is resin."""
READS = 25
"""Patches read at most for each one requested."""


class Texture(NamedTuple):
    """Statistics of a patch: share of its commonest value, standard deviation of 4 x 4 means and of voxels."""

    constant: float
    coarse: float
    fine: float

    @property
    def empty(self) -> bool:
        """Whether it is padding or noise, regardless of the other patches."""
        return self.constant > CONSTANT or self.fine == 0 or self.coarse < WHITE * self.fine


@dataclass(frozen=True)
class Candidates:
    """Patches that contain tissue.

    Parameters
    ----------
    boxes
        In voxels of the level; of one shape, without overlap.
    skipped_empty
        Patches that were read and discarded: padding, resin, noise, NaN.
    exhausted
        Whether no further patch was left to read.
    """

    boxes: tuple[Box, ...]
    skipped_empty: int
    exhausted: bool


def candidates(
    level: Level,
    shape: Vec3,
    n: int,
    seed: int = 0,
    exclude: Sequence[Box] = (),
    *,
    within: Box | None = None,
    most_bytes: int | None = None,
) -> Candidates:
    """Draw patches at random places of a grid, each place at most once, until ``n`` hold tissue.

    Parameters
    ----------
    level
        With channels, only the first is examined. Only the drawn patches are read, at most `READS` times ``n``.
    shape
        Of a patch, voxels (z, y, x); along an axis on which the level is smaller, the whole level.
    n
        Number requested; fewer are returned if there are no more.
    seed
        Random seed.
    exclude
        Boxes of the level that no patch may overlap.
    within
        Part of the level to draw from. Default: all of it.
    most_bytes
        Stop when the chunks of the patches exceed this, uncompressed and each counted once, as through a cache; fewer
        than ``n`` may be returned.

    Notes
    -----
    A patch is empty if more than half of its voxels have one value, if a mean over 4 x 4 voxels removes its contrast as
    it removes white noise, if its contrast is below a quarter of the pool's 90th percentile, or if it contains NaN. In
    patches of 128 x 128 of seven public volumes (EM and X-ray, voxels up to 4 times as large as stored) all tissue is
    on the right side, by a factor of 1.9 in contrast and 1.6 in structure. For a level that is resampled to smaller
    voxels, which smooths any noise, the stored voxels are examined. A volume that is *all* resin of correlated noise is
    kept.

    Raises
    ------
    InputError
        If ``n`` or the shape is below 1.
    ChunkError
        If a chunk is damaged.
    """
    if n < 1 or min(shape) < 1:
        raise InputError(f"got {n} patches of shape {shape}; both must be at least 1")
    boxes: list[Box] = []
    contrast: list[float] = []
    read, spent = 0, dict[Vec3, int]()
    places = _places(level.box if within is None else within, shape, seed, exclude)
    for box in places:
        if most_bytes is not None:
            spent |= touched_chunks(level, box)
            if sum(spent.values()) > most_bytes:
                break
        texture = _texture(level.read(box))
        read += 1
        if not texture.empty and not _smoothed(level, box):
            boxes.append(box)
            contrast.append(texture.coarse)
        lively = _lively(contrast) if len(boxes) >= n else np.empty(0, bool)
        if lively.sum() >= n or read >= READS * n:
            break
    lively = _lively(contrast)
    kept = [box for box, keep in zip(boxes, lively, strict=True) if keep][:n]
    return Candidates(tuple(kept), read - int(lively.sum()), next(places, None) is None)


def _lively(contrast: Sequence[float]) -> np.ndarray:
    if not contrast:
        return np.empty(0, bool)
    return np.asarray(contrast) >= FAINT * np.percentile(contrast, 90)


def _texture(patch: np.ndarray) -> Texture:
    """Of a patch (z, y, x) or (c, z, y, x); NaN makes it constant."""
    patch = patch[0] if patch.ndim == 4 else patch
    if patch.dtype.kind == "f" and not np.isfinite(patch).all():
        return Texture(1.0, 0.0, 0.0)
    _, counts = np.unique(patch, return_counts=True)
    values = above(patch, plain(patch.min()))
    z, y, x = (n if axis == 0 else n // COARSE * COARSE for axis, n in enumerate(values.shape))
    if min(y, x) == 0:
        return Texture(counts.max() / patch.size, float(values.std()), float(values.std()))
    cells = values[:, :y, :x].reshape(z, y // COARSE, COARSE, x // COARSE, COARSE).mean(axis=(2, 4))
    return Texture(counts.max() / patch.size, float(cells.std()), float(values.std()))


def _smoothed(level: Level, box: Box) -> bool:
    """Whether a patch is noise that resampling has smoothed."""
    source, there = stored_part(level, box)
    if source is level or source.voxel_nm[1] <= level.voxel_nm[1] or min(there.shape[1:]) < 2 * COARSE:
        return False
    return _texture(source.read(there)).empty


def _places(part: Box, shape: Vec3, seed: int, exclude: Sequence[Box]) -> Iterator[Box]:
    """Whole cells of a grid centred in ``part``, in random order, each once; generated lazily."""
    size = vec3([min(s, n) for s, n in zip(shape, part.shape, strict=True)])
    cells = [n // s for s, n in zip(size, part.shape, strict=True)]
    margin = [a + (n - c * s) // 2 for a, n, c, s in zip(part.start, part.shape, cells, size, strict=True)]
    plan = TilePlan(vec3([c * s for c, s in zip(cells, size, strict=True)]), size)
    for index in _shuffled(len(plan), seed):
        box = plan[index].write.shift(margin)
        if not any(box.overlaps(taken) for taken in exclude):
            yield box


def _shuffled(count: int, seed: int) -> Iterator[int]:
    """0 .. count - 1 in random order; above 10^6, distinct random ones on demand."""
    rng = np.random.default_rng(seed)
    if count <= 10**6:
        yield from rng.permutation(count).tolist()
        return
    seen: set[int] = set()
    while len(seen) < count:
        index = int(rng.integers(count))
        if index not in seen:
            seen.add(index)
            yield index
