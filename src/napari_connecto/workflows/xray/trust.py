"""Use of a translation's uncertainty: list the most uncertain regions, leave out uncertain voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.worst import BORDER_NM, looked_at, worst_boxes
from napari_connecto.workflows.xray.place import Place


def worst_regions(
    aleatoric: Volume, epistemic: Volume, n: int = 10, *, size_nm: float = 400.0, border_nm: float = BORDER_NM
) -> list[Place]:
    """The regions of largest mean total uncertainty, apart from each other, worst first.

    Parameters
    ----------
    aleatoric, epistemic
        Of a `Translation`; voxels that are not computed yet (0) do not count.
    n
        Number of regions; fewer are returned for a small volume.
    size_nm
        Side of a region.
    border_nm
        Width of the rim without regions, at most a tenth of the extent along each axis.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    k = looked_at(aleatoric)
    level = aleatoric.levels[k]
    parts = [np.asarray(v.levels[k].read(level.box), np.float64) for v in (aleatoric, epistemic)]
    total = np.hypot(*parts)
    boxes = worst_boxes(total, level, n, size_nm, border_nm=border_nm, spread=True)
    return [_uncertain(box, total, parts[1], level, aleatoric.levels[0]) for box in boxes]


def sd_span(aleatoric: Volume, epistemic: Volume) -> tuple[float, float] | None:
    """Range of the total standard deviation, from the 5th percentile to the maximum.

    On the finest level small enough to read at once; None if nothing is computed (0).
    """
    k = looked_at(aleatoric)
    box = aleatoric.levels[k].box
    total = np.hypot(*(np.asarray(v.levels[k].read(box), np.float32) for v in (aleatoric, epistemic)))
    seen = total[total > 0]
    return (float(np.percentile(seen, 5)), float(seen.max())) if len(seen) else None


def disputed_regions(sd: Volume, n: int = 10, *, size_nm: float = 400.0, border_nm: float = BORDER_NM) -> list[Place]:
    """The regions where passes disagree most about membranes, apart from each other, worst first.

    Parameters
    ----------
    sd
        Of `Membranes`.
    n, size_nm, border_nm
        As for `worst_regions`.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    level = sd.levels[looked_at(sd)]
    shown = np.asarray(level.read(level.box), np.float64)
    boxes = worst_boxes(shown, level, n, size_nm, border_nm=border_nm, spread=True)
    means = [float(shown[box.slices].mean()) for box in boxes]
    words = [f"passes disagree about membranes, sd {m:.2f}" for m in means]
    return [Place.of(b, level, sd.levels[0], w, sd=m) for b, w, m in zip(boxes, words, means, strict=True)]


def _uncertain(box: Box, total: np.ndarray, epistemic: np.ndarray, level: Level, finest: Level) -> Place:
    here = box.slices
    variance, sd = float((total[here] ** 2).mean()), float(total[here].mean())
    share = float((epistemic[here] ** 2).mean()) / variance if variance > 0 else 0.0
    kind = "epistemic (the translator does not know)" if share > 0.5 else "aleatoric (not in the X-ray)"
    reason = f"sd {sd:.3f}, mostly {kind}, {percent(share)} epistemic"
    return Place.of(box, level, finest, reason, sd=sd, epistemic=share)


def certain(aleatoric: Volume, epistemic: Volume, at_most: float) -> Volume:
    """Mask of voxels with a total standard deviation of at most ``at_most``; 0 where nothing is computed.

    Labels uint8 on the translation's grid, computed when read; `save_volume` stores them.

    Raises
    ------
    InputError
        If ``at_most`` is not above 0.
    """
    if not at_most > 0:
        raise InputError(f"got at_most={at_most:g}; it is a standard deviation on the mean's scale, above 0")
    levels = tuple(
        replace(a, array=_Certain(a.array, e.array, at_most))
        for a, e in zip(aleatoric.levels, epistemic.levels, strict=True)
    )
    return replace(aleatoric, levels=levels, name="certain", kind="labels", source="")


@dataclass(frozen=True)
class _Certain(ChunkWise):
    """Of the aleatoric array and the epistemic one, indexed as they are."""

    epistemic: Any
    at_most: float

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> np.ndarray:
        total = np.hypot(np.asarray(self.array[key]), np.asarray(self.epistemic[key]))
        return ((total <= self.at_most) & (total > 0)).astype(np.uint8)
