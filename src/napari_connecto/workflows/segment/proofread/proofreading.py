"""Proofread a segmentation: merge, split, undo, redo; every decision is kept beside the labels, which stay as they are.

::

    proofread/decisions.jsonl    append-only: merged, split, undone, redone
    proofread/cut-N.npz          which voxels segment N took from another one

A decision counts once its event is written. A merge changes a small table that is looked up where labels are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.workflows.segment.proofread.cut import Cut
from napari_connecto.workflows.segment.proofread.cutting import cut_job
from napari_connecto.workflows.segment.proofread.decisions import MERGE, SPLIT, Decision, State, history
from napari_connecto.workflows.segment.proofread.sources import Result, need_point
from napari_connecto.workflows.segment.proofread.view import Corrected, Live, corrected, point_spans

FOLDER, JOURNAL = "proofread", "decisions.jsonl"


class Proofreading:
    """Open decisions about one result, locked for other processes; made by `open`, and a context manager.

    Parameters
    ----------
    result
        The segmentation.
    job
        Folder of the decisions.
    """

    def __init__(self, result: Result, job: JobFolder) -> None:
        self.result, self._job = result, job
        self._log = EventLog(job.path / JOURNAL)
        self._cuts: dict[int, Cut] = {}
        self._live = Live(State())
        self._kept: tuple[Decision, ...] = ()
        self._undone: tuple[Decision, ...] = ()
        self._refresh()

    @classmethod
    def open(cls, folder: str | Path, boundary: Volume | None = None) -> Proofreading:
        """Begin, or go on.

        Parameters
        ----------
        folder
            Result folder of `segment`.
        boundary
            Boundary map, if it is not in the folder. Without any, splits go through the narrowest place.

        Raises
        ------
        StoreError
            If the folder holds no finished segmentation, its decisions belong to another one, or are in use.
        """
        result = Result.open(folder, boundary)
        job = JobFolder.open(result.path / FOLDER, _fingerprint(result))
        try:
            return cls(result, job)
        except BaseException:
            job.close()
            raise

    def close(self) -> None:
        """Unlock the folder."""
        self._job.close()

    def __enter__(self) -> Proofreading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those that hold, in their order."""
        return self._kept

    @property
    def undone(self) -> tuple[Decision, ...]:
        """Those that `redo` can bring back, the next one last."""
        return self._undone

    @property
    def volume(self) -> Volume:
        """Labels as corrected, lazily on every level; it follows later decisions."""
        return corrected(self.result.labels, self._live)

    def at(self, point: Vec3) -> int:
        """Number of the segment at a voxel (z, y, x) of the finest level, as corrected; 0 for none."""
        return int(self._live.state.shown(np.array([self._atom(need_point(self.result.labels, point))]))[0])

    def merge(self, first: Vec3, second: Vec3) -> Decision:
        """Make the segments at two voxels one, which takes the smaller number.

        Raises
        ------
        InputError
            If a voxel lies outside or in no segment, or they are one already.
        """
        a, b = self._pair(first, second)
        if self.at(first) == self.at(second):
            raise InputError(f"both places are segment {self.at(first)} already; choose two segments, or split")
        return self._decide(Decision(MERGE, vec3(first), vec3(second), (a, b)))

    def split(self, first: Vec3, second: Vec3) -> Decision:
        """Divide a segment so that two voxels of it come apart, see `split_job`."""
        return run(self.split_job(first, second))

    def split_job(self, first: Vec3, second: Vec3) -> Job[Decision]:
        """Divide a segment between two voxels (z, y, x) of the finest level.

        Segments that were merged come apart at the last merge between the two. Any other is cut by a watershed on the
        boundary map from the two voxels; the smaller part takes a new number. What was merged with it goes with the
        part that most of it is reached from. Only the segment's own blocks are read.

        Raises
        ------
        InputError
            If a voxel lies outside or in no segment, or they are not in one segment.
        """
        a, b = self._pair(first, second)
        if self.at(first) != self.at(second):
            raise InputError(
                f"{self.at(first)} and {self.at(second)} are two segments already; choose two places in one"
            )
        if tuple(first) == tuple(second):
            raise InputError("both places are the same voxel; choose one on each side of the cut")
        if a != b:
            return self._decide(Decision(SPLIT, vec3(first), vec3(second), (a, b)))
        state, pair = self._live.state, (vec3(first), vec3(second))
        cut, moved = yield from cut_job(self.volume, state, self.result, a, pair, self._next())
        cut.save(self._path(cut.new))
        self._cuts[cut.new] = cut
        return self._decide(Decision(SPLIT, *pair, (a, a), cut.new, moved))

    def undo(self) -> Decision | None:
        """Undo the last decision that holds, and return it; None if there is none."""
        return self._step("undo", self.decisions)

    def redo(self) -> Decision | None:
        """Bring back the decision undone last, and return it; None if there is none."""
        return self._step("redo", self.undone)

    def _step(self, event: str, there: tuple[Decision, ...]) -> Decision | None:
        if not there:
            return None
        self._log.append({"event": event})
        self._refresh()
        return there[-1]

    def _decide(self, decision: Decision) -> Decision:
        self._log.append(decision.to_json())
        self._refresh()
        return decision

    def _refresh(self) -> None:
        kept, undone = history(self._log.events())
        self._live.state = State.of(kept, self._load)
        self._kept, self._undone = tuple(kept), tuple(undone)

    def _load(self, new: int) -> Cut:
        if new not in self._cuts:
            self._cuts[new] = Cut.load(self._path(new))
        return self._cuts[new]

    def _path(self, new: int) -> Path:
        return self._job.path / f"cut-{new}.npz"

    def _atom(self, point: Vec3) -> int:
        view: Corrected = self.volume.levels[0].array
        return int(view.atoms(self._live.state, point_spans(point)).item())

    def _pair(self, first: Vec3, second: Vec3) -> tuple[int, int]:
        found = [self._atom(need_point(self.result.labels, point)) for point in (first, second)]
        if 0 in found:
            raise InputError("there is no segment at one of the places; choose a place inside a segment")
        return found[0], found[1]

    def _next(self) -> int:
        """A number that no segment has or had."""
        made = [int(event.get("new", 0)) for event in self._log.events()]
        new = max([self.result.count, *made]) + 1
        if new > np.iinfo(self.result.labels.levels[0].dtype).max:
            raise InputError(
                "these labels have no number left for a new segment; export them and continue with the exported labels"
            )
        return new


def corrected_labels(folder: str | Path, labels: Volume | None = None) -> tuple[Volume, tuple[Decision, ...]]:
    """The labels in a result folder with all decisions that hold, and these; read only, without a lock.

    ``labels``: those of the folder, opened by the caller (with another voxel size).

    Raises
    ------
    StoreError
        If the folder holds no finished segmentation, or its decisions are damaged.
    """
    result = Result.open(folder)
    labels, path = labels or result.labels, result.path / FOLDER
    kept = history(EventLog(path / JOURNAL).events())[0]
    state = State.of(kept, lambda new: Cut.load(path / f"cut-{new}.npz"))
    return (corrected(labels, Live(state)) if kept else labels), tuple(kept)


def _fingerprint(result: Result) -> dict[str, object]:
    shape = list(result.labels.levels[0].shape)
    return {"workflow": "proofread", "labels": result.job, "segments": result.count, "shape": shape}
