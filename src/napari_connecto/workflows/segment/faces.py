"""Join the segments of blocks into segments of the whole, by comparing them where blocks overlap.

Each block leaves a small record; the records are joined by union-find, in memory that grows with segments, not voxels.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing
from napari_connecto.workflows.segment.agglomerate import groups

DEPTH = 3
"""Sections on each side of a face in which the segments of two blocks are compared."""


class Record:
    """Saved record of a block: arrays by name, each read on demand; a context manager.

    Raises
    ------
    StoreError
        If it is absent or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            self._file = np.load(path, allow_pickle=False)

    def __getitem__(self, name: str) -> np.ndarray:
        with self._reading():
            return np.asarray(self._file[name])

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"cannot read '{self.path}' ({error}); choose a new folder") from error


@dataclass(frozen=True)
class Blocks:
    """The blocks of a job and the folder of their records; picklable.

    Parameters
    ----------
    plan
        What each block owns, and its halo.
    folder
        Of the records.
    linked
        Sections are segmented separately and linked afterwards; otherwise blocks overlap in z as in y and x.
    """

    plan: TilePlan
    folder: Path
    linked: bool

    def read_box(self, tile: Tile) -> Box:
        """The box a block reads; its halo is clipped at the volume."""
        return tile.read.clip(self.plan.shape)

    def face(self, tile: Tile, axis: int, *, upper: bool) -> Box | None:
        """Where a block's segments are compared with its neighbour's; None if there is none."""
        at = tile.write.stop[axis] if upper else tile.write.start[axis]
        if at in (0, self.plan.shape[axis]):
            return None
        depth = min(DEPTH, self.plan.halo[axis])
        start, stop = list(tile.write.start), list(tile.write.stop)
        start[axis], stop[axis] = max(0, at - depth), min(self.plan.shape[axis], at + depth)
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def axes(self) -> tuple[int, ...]:
        """Axes along which blocks overlap."""
        return (1, 2) if self.plan.halo[0] == 0 else (0, 1, 2)

    def save(self, tile: Tile, labels: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, int]:
        """Write a block's record.

        Parameters
        ----------
        tile
            Of the plan.
        labels
            Segments of `read_box`, (z, y, x).
        inside
            Where in there is no boundary: blocks are compared only there, because the owner of a boundary voxel is
            arbitrary, and a segment may reach into a face only by its boundary.

        Returns
        -------
        own, count
            The block's own voxels, renumbered to those present, 1 to ``count``; uint32.
        """
        seen = self.read_box(tile)
        own = labels[_inside(tile.write, seen)]
        present = np.bincount(own.ravel(), minlength=int(labels.max()) + 1) > 0
        renumber = np.where(present, np.cumsum(present), 0).astype(np.uint32)
        own = renumber[own]
        content = {"sizes": np.bincount(own.ravel())}
        for axis in self.axes():
            for upper in (False, True):
                face = self.face(tile, axis, upper=upper)
                if face is not None:
                    at = _inside(face, seen)
                    content[f"face{axis}{upper:d}"] = np.where(inside[at], renumber[labels[at]], np.uint32(0))
        if self.linked:
            content |= {"first": own[0], "last": own[-1], "overlaps": overlaps(own[:-1], own[1:])}
        _write_arrays(self._path(tile.index), content)
        return own, len(content["sizes"]) - 1

    def record(self, index: int) -> Record:
        """Saved record of a block; `StoreError` if it is absent or damaged."""
        return Record(self._path(index))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:09d}.npz"


def _inside(box: Box, seen: Box) -> tuple[slice, slice, slice]:
    return box.shift([-s for s in seen.start]).slices


def _write_arrays(path: Path, content: dict[str, np.ndarray]) -> None:
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **content)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows (label in ``a``, label in ``b``, voxels), (n, 3), ascending; labels below 2^31, voxels of 0 do not count."""
    both = (a > 0) & (b > 0)
    keys = (a[both].astype(np.int64) << 32) | b[both].astype(np.int64)
    unique, count = np.unique(keys, return_counts=True)
    return np.stack([unique >> 32, unique & 0xFFFFFFFF, count], axis=1)


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of labels of two views of the same voxels with more than half of the smaller inside the other.

    So two segments of one block that are one in the other are merged, as they would be in a single block, while
    segments that merely touch along a jagged border are not.
    """
    found = overlaps(a, b)
    least = np.minimum(np.bincount(a.ravel())[found[:, 0]], np.bincount(b.ravel())[found[:, 1]])
    return found[2 * found[:, 2] > least, :2]


def link(found: np.ndarray, sizes: np.ndarray, least: float) -> np.ndarray:
    """Pairs (n, 2) of segments of successive sections that belong to one object.

    Parameters
    ----------
    found
        Rows (segment, segment in the next section, voxels), (n, 3); of one pair there may be several.
    sizes
        Voxels of each segment, by number.
    least
        Smallest intersection over union. One of the two must be the other's best match, so that branches are followed.
    """
    if not len(found):
        return found[:, :2]
    keys, at = np.unique(found[:, 0] * len(sizes) + found[:, 1], return_inverse=True)
    below, above = np.divmod(keys, len(sizes))
    common = np.bincount(at, found[:, 2])
    score = common / (sizes[below] + sizes[above] - common)
    best = np.zeros(len(keys), bool)
    for side in (below, above):
        order = np.lexsort((keys, -score, side))
        best[order[np.unique(side[order], return_index=True)[1]]] = True
    chosen = best & (score >= least)
    return np.stack([below[chosen], above[chosen]], axis=1)


def link_sections(labels: np.ndarray, least: float) -> np.ndarray:
    """Link the sections of one block: labels 1 to n, (z, y, x), become objects, uint32."""
    sizes = np.bincount(labels.ravel())
    pairs = link(overlaps(labels[:-1], labels[1:]), sizes, least)
    return groups(len(sizes) - 1, pairs)[labels].astype(np.uint32)


def join(blocks: Blocks, least: float) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Number the segments of all blocks consistently.

    Parameters
    ----------
    blocks
        All with their records.
    least
        See `link`.

    Returns
    -------
    first, final
        Segment i >= 1 of block b is object ``final[first[b] + i]``, 1 to n; ``final[0]`` is 0.
    """
    counts, sizes, pairs, steps = [0], [np.zeros(1, np.int64)], [np.empty((0, 2), np.int64)], []
    for tile in blocks.plan:
        with blocks.record(tile.index) as here:
            sizes.append(here["sizes"][1:])
            counts.append(counts[-1] + len(sizes[-1]))
            offset = np.array([counts[-2], counts[-2], 0])
            if blocks.linked:
                steps.append(here["overlaps"] + offset)
            for axis, step in enumerate(_strides(blocks.plan.grid)):
                if tile.write.start[axis] == 0:
                    continue
                before = np.array([counts[tile.index - step], counts[-2]])
                with blocks.record(tile.index - step) as there:
                    if axis in blocks.axes():
                        pairs.append(same(there[f"face{axis}1"], here[f"face{axis}0"]) + before)
                    elif blocks.linked:
                        steps.append(overlaps(there["last"], here["first"]) + np.array([*before, 0]))
        yield Progress(tile.index + 1, len(blocks.plan), "join")
    total = counts[-1]
    final = groups(total, np.concatenate(pairs))
    if blocks.linked:
        found = np.concatenate(steps)
        found[:, :2] = final[found[:, :2]]
        size = np.bincount(final, np.concatenate(sizes))
        final = groups(len(size) - 1, link(found, size, least))[final]
    return np.array(counts[:-1]), final


def _strides(grid: Vec3) -> Vec3:
    """Index distance of neighbouring blocks, per axis."""
    return (grid[1] * grid[2], grid[2], 1)
