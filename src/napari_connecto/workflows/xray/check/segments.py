"""How certain the segments of a translation are: a row per segment, and one per decision to merge or to keep apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import PLACES, read_table, write_table
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.on_grid import on_grid
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.xray.check.decisions import FACES, OPEN, Contacts, leaning, merges_of

SEGMENTS, DECISIONS = "segments.csv", "decisions.csv"
BLOCK: Vec3 = (128, 256, 256)
"""Judged at a time; merges across the faces of blocks are not judged."""
STAGE = "judging segments"


@shown
@dataclass(frozen=True)
class Certainty:
    """How certain segments are, and the decisions that made them.

    Parameters
    ----------
    segments
        Columns (n,): ``label``; ``voxels``; ``z_nm``, ``y_nm``, ``x_nm`` (centre); ``uncertainty`` (mean entropy of the
        boundary over its voxels, bits); ``merge_uncertainty`` and ``split_uncertainty`` (of its most uncertain merge,
        and contact to a neighbour; 0 where there is none).
    decisions
        Columns (m,), most uncertain first: ``decision`` ("merged" or "apart"), ``label``, ``other`` (of the neighbour;
        the same for a merge), ``z_nm``, ``y_nm``, ``x_nm`` (middle of the contact), ``faces``, ``voxels`` (of the
        smaller side: what a wrong decision moves), ``boundary`` (mean probability there), ``uncertainty``: 0 sure, 0.5
        at the merge threshold, above 0.5 decided against the boundary.
    """

    segments: Mapping[str, np.ndarray]
    decisions: Mapping[str, np.ndarray]

    @property
    def open_decisions(self) -> int:
        """Number of decisions with an uncertainty of at least `OPEN`."""
        return int((self.decisions["uncertainty"] >= OPEN).sum())

    def save(self, folder: Path) -> None:
        """Write both tables into a folder."""
        write_table(folder / SEGMENTS, self.segments)
        write_table(folder / DECISIONS, self.decisions)

    @classmethod
    def load(cls, folder: Path) -> Certainty:
        """Read both tables; `InputError` if one is absent."""
        return cls(*(read_table(folder / name)[0] for name in (SEGMENTS, DECISIONS)))


def segment_certainty(labels: Volume, probability: Volume, params: SegmentParams | None = None) -> Certainty:
    """Judge the segments of a boundary map.

    Parameters
    ----------
    labels
        Made by `segment` from the map.
    probability
        The boundary map (uint8, 255 is 1), on any grid.
    params
        Those of the segmentation. The mode is taken from the labels where they state it.

    Raises
    ------
    InputError
        If labels and map do not overlap.
    """
    return run(certainty_job(labels, probability, params))


def certainty_job(labels: Volume, probability: Volume, params: SegmentParams | None = None) -> Job[Certainty]:
    """`segment_certainty` as a job, block by block."""
    params = params or SegmentParams()
    params = replace(params, mode=str(labels.metadata.get("mode", params.mode)))
    level = labels.levels[0]
    scale = np.float32(255 if probability.levels[0].dtype == np.uint8 else 1)
    seen = on_grid(probability.levels[0], level)
    boxes = list(_blocks(level.shape))
    apart, merged, sums = list[Contacts](), list[tuple[Contacts, np.ndarray]](), list[np.ndarray]()
    for k, box in enumerate(boxes):
        yield Progress(k, len(boxes), STAGE)
        wide = Box(box.start, vec3([min(b + 1, n) for b, n in zip(box.stop, level.shape, strict=True)]))
        ids, p = np.asarray(level.read(wide)), np.asarray(seen.read(wide), np.float32) / scale
        apart.append(Contacts.of(ids, p, flat=params.mode == "2d", start=box.start, own=box.shape))
        own = tuple(slice(0, n) for n in box.shape)
        sums.append(_sums(ids[own], p[own], box.start))
        merged.append(merges_of(ids[own], p[own], params, level.voxel_nm, box.start))
    segments = _segments(np.concatenate(sums, axis=1), level)
    decisions = _decisions(Contacts.sum(apart), merged, segments, params.merge_threshold, level)
    return Certainty(segments | _worst(segments["label"], decisions), decisions)


def _blocks(shape: Vec3) -> Iterator[Box]:
    for start in product(*(range(0, n, b) for n, b in zip(shape, BLOCK, strict=True))):
        yield Box(vec3(start), vec3([min(a + b, n) for a, b, n in zip(start, BLOCK, shape, strict=True)]))


def _sums(ids: np.ndarray, p: np.ndarray, start: Vec3) -> np.ndarray:
    """Per segment of a block (6, n): label, voxels, entropy, and the sums of z, y, x in voxels."""
    present, at = np.unique(ids, return_inverse=True)
    at = at.ravel()
    places = (np.broadcast_to(_along(n, k, start), ids.shape).ravel() for k, n in enumerate(ids.shape))
    weights = (np.ones(at.size), entropy(p).ravel(), *places)
    return np.stack([present.astype(float), *(np.bincount(at, w, len(present)) for w in weights)])


def _along(n: int, axis: int, start: Vec3) -> np.ndarray:
    shape = [1, 1, 1]
    shape[axis] = n
    return (np.arange(n) + start[axis] + 0.5).reshape(shape)


def _decisions(
    apart: Contacts,
    merged: list[tuple[Contacts, np.ndarray]],
    segments: Mapping[str, np.ndarray],
    threshold: float,
    level: Level,
) -> dict[str, np.ndarray]:
    """All decisions on contacts of enough faces; two merges in one segment are two decisions."""
    ends = [segments["voxels"][np.searchsorted(segments["label"], ids)] for ids in (apart.first, apart.second)]
    parts = [(apart, np.minimum(*ends)), *merged]
    both = Contacts(*(np.concatenate([getattr(c, f.name) for c, _ in parts]) for f in fields(Contacts)))
    was = np.arange(len(both.first)) >= len(apart.first)
    side = leaning(both.boundary, threshold)
    uncertain = np.where(was, side, 1 - side)
    voxels = np.stack([both.z, both.y, both.x], axis=1) / np.maximum(both.area, 1)[:, None]
    place = np.asarray(level.to_nm(voxels)).reshape(-1, 3)
    columns = {"decision": np.where(was, "merged", "apart"), "label": both.first, "other": both.second}
    columns |= {name: place[:, k] for k, name in enumerate(PLACES)}
    columns |= {"faces": both.area.astype(np.int64), "voxels": np.concatenate([v for _, v in parts])}
    columns |= {"boundary": both.boundary, "uncertainty": uncertain}
    order = np.lexsort((-columns["voxels"], -uncertain))
    order = order[both.area[order] >= FACES]
    return {name: column[order] for name, column in columns.items()}


def _segments(sums: np.ndarray, level: Level) -> dict[str, np.ndarray]:
    labels, at = np.unique(sums[0].astype(np.int64), return_inverse=True)
    voxels, bits, *places = (np.bincount(at, row, len(labels)) for row in sums[1:])
    centre = np.asarray(level.to_nm(np.stack(places, axis=1) / voxels[:, None])).reshape(-1, 3)
    columns = {"label": labels, "voxels": voxels.astype(np.int64)}
    columns |= {name: centre[:, k] for k, name in enumerate(PLACES)} | {"uncertainty": bits / voxels}
    return {name: column[labels > 0] for name, column in columns.items()}


def _worst(labels: np.ndarray, decisions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Uncertainty of each segment's most uncertain merge and contact."""
    worst = {"merged": np.zeros(len(labels)), "apart": np.zeros(len(labels))}
    for kind, column in worst.items():
        rows = decisions["decision"] == kind
        for end in ("label", "other"):
            np.maximum.at(column, np.searchsorted(labels, decisions[end][rows]), decisions["uncertainty"][rows])
    return {"merge_uncertainty": worst["merged"], "split_uncertainty": worst["apart"]}
