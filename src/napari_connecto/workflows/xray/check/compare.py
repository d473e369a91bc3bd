"""Segments of the X-ray and of its translation compared in 3-D: with a truth if there is one, else with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.partition_metrics import VI, Contingency, variation_of_information
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.on_grid import on_grid, part_of
from napari_connecto.workflows.shared.worst import BORDER_NM


@shown
@dataclass(frozen=True)
class Comparison:
    """Segments of X-ray and of EM-like image, compared voxel by voxel in 3-D.

    Parameters
    ----------
    truth
        Variation of information of each ("X-ray", "EM-like") against the truth, bits; empty without one.
    between
        Of the X-ray's segments against those of the EM-like image: ``merge`` is what the X-ray merges and the EM-like
        image separates, ``split`` the reverse.
    voxels
        Number of voxels compared.
    border_nm
        Width of the rim that was left out.
    """

    truth: Mapping[str, VI]
    between: VI
    voxels: int
    border_nm: float

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        if self.truth:
            before, after = (self.truth[name].total for name in ("X-ray", "EM-like"))
            verdict = "closer to" if after < before else "no closer to"
            return (
                f"EM-like segments are {verdict} the truth: VI {after:.2f} bits, X-ray {before:.2f} (lower is better)."
            )
        merge, split = self.between.merge, self.between.split
        return (
            f"Segmentations differ by {self.between.total:.2f} bits: EM-like separates what the X-ray merges "
            f"({merge:.2f}), and vice versa ({split:.2f}). Without true segments, this does not say which is right."
        )


def compared(xray: Volume, em_like: Volume, truth: Volume | None = None, *, border_nm: float = BORDER_NM) -> Comparison:
    """Compare two segmentations of one tissue, on the grid of the second, where both have segments.

    Parameters
    ----------
    xray, em_like
        Labels, on grids of their own.
    truth
        True labels, on any grid; 0 does not count.
    border_nm
        Width of the rim left out, at most a tenth of the extent along each axis.

    Raises
    ------
    InputError
        If they do not overlap, or the truth has no label there.
    """
    level = em_like.levels[0]
    rim = [min(int(border_nm / v), n // 10) for v, n in zip(level.voxel_nm, level.shape, strict=True)]
    inner = Box(vec3(rim), vec3([n - r for n, r in zip(level.shape, rim, strict=True)]))
    grid = replace(level, array=part_of(level, inner).array, origin_nm=part_of(level, inner).origin_nm)
    ours, raw = np.asarray(grid.read(grid.box)), _on(xray, grid)
    both = (ours > 0) & (raw > 0)
    if not both.any():
        raise InputError("the segmentations of X-ray and EM-like image do not overlap; segment the same part of both")
    against: dict[str, VI] = {}
    if truth is not None:
        true = np.where(both, _on(truth, grid), 0)
        if not true.any():
            raise InputError(f"the truth '{truth.name}' has no label where both are segmented; choose another, or none")
        against = {name: variation_of_information(Contingency.of(ids, true)) for name, ids in _named(raw, ours).items()}
    between = variation_of_information(Contingency.of(raw, np.where(both, ours, 0)))
    return Comparison(against, between, int(both.sum()), border_nm)


def _named(raw: np.ndarray, ours: np.ndarray) -> dict[str, np.ndarray]:
    return {"X-ray": raw, "EM-like": ours}


def _on(labels: Volume, grid: Level) -> np.ndarray:
    return np.asarray(on_grid(labels.levels[0], grid).read(grid.box))
