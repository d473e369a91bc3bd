"""Reviewing detections: verdicts, tags, added objects, what is shown, and undo. No Qt; the state of the review box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.cascade.added import with_added
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.verdicts import (
    ACCEPTED,
    ADDED,
    NEW,
    NOTES,
    REJECTED,
    SEPARATOR,
    STATUSES,
    Verdicts,
    tags_of,
)

if TYPE_CHECKING:
    from napari_connecto.core.volume import Level
    from napari_connecto.workflows.cascade.detections import Detections

SAID = ("status", *NOTES)
TAGS = ("unsure",)
"""The tags of a new review."""


def now() -> str:
    """Local time with its offset, ISO 8601, in seconds."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")


@dataclass
class Review:
    """The user's verdicts on a set of detections.

    Parameters
    ----------
    found
        Detections, with the verdicts to begin with. Added objects are rows like others.
    threshold
        New detections below it are hidden; nothing is recomputed. Detections with a verdict or a tag are never hidden.
    reach_nm
        Distance within which verdicts on other detections of the same volume are matched, see `Verdicts`.
    boxes
        The grid of the boxes.
    unit
        Of positions: "nm", or "pixels" of an image without a voxel size.
    reviewer
        Who is reviewing.
    clock
        Returns the time of a verdict, ISO 8601.
    """

    found: Detections
    threshold: float = 0.0
    reach_nm: float = 0.0
    boxes: Level | None = None
    unit: str = "nm"
    reviewer: str = ""
    clock: Callable[[], str] = now
    said: Verdicts = field(init=False)
    elsewhere: Verdicts = field(init=False)
    current: int = -1
    _undo: list[tuple[int, int, dict[str, str] | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns: dict[str, Any] = {name: getattr(self.found, name).copy() for name in SAID}
        self.said = Verdicts(self.found.id, self.found.centre_nm, reach_nm=self.reach_nm, **columns, names=TAGS)
        self.elsewhere = Verdicts.none(self.reach_nm)

    @property
    def status(self) -> np.ndarray:
        """(n,) of each detection."""
        return self.said.status

    @property
    def names(self) -> tuple[str, ...]:
        """The tags to choose from."""
        return self.said.names

    @names.setter
    def names(self, names: tuple[str, ...]) -> None:
        self.said = replace(self.said, names=names)

    @property
    def touched(self) -> np.ndarray:
        """Boolean (n,): with a verdict or a tag."""
        return (self.said.status != NEW) | (self.said.tags != "")

    @property
    def shown(self) -> np.ndarray:
        """Boolean (n,): at or above the threshold, or with a verdict or a tag."""
        return (self.found.score >= self.threshold) | self.touched

    @property
    def reviewed(self) -> bool:
        """Whether there are unsaved or saved verdicts."""
        return bool(self.touched.any())

    @property
    def detections(self) -> Detections:
        """The detections as they are reviewed now."""
        columns: dict[str, Any] = {name: getattr(self.said, name).copy() for name in SAID}
        return replace(self.found, **columns)

    def tags_given(self) -> tuple[str, ...]:
        """All tags of the detections, each once."""
        cells = np.unique(self.said.tags.astype(str)).tolist()
        return tuple(dict.fromkeys(tag for cell in cells for tag in tags_of(cell)))

    def order(self) -> np.ndarray:
        """Indices of the shown detections, best score first."""
        order = np.argsort(-self.found.score, kind="stable")
        return np.asarray(order[self.shown[order]])

    def step(self, by: int) -> int:
        """Go to the next (1) or previous (-1) shown detection, best score first; returns its index, -1 if none."""
        order = self.order()
        at = np.flatnonzero(order == self.current)
        if not len(order):
            self.current = -1
        elif len(at):
            self.current = int(order[(at[0] + by) % len(order)])
        else:
            self.current = int(order[0 if by > 0 else -1])
        return self.current

    def undecided(self, most: int) -> np.ndarray:
        """Indices of the next undecided detections, from the current one on, then from the start."""
        order = self.order()
        at = np.flatnonzero(order == self.current)
        order = np.roll(order, -int(at[0])) if len(at) else order
        return np.asarray(order[self.status[order] == NEW][:most])

    def judge(self, status: str) -> bool:
        """Accept or reject the current detection; False if there is none."""
        if self.current < 0:
            return False
        if status == ACCEPTED and self.found.status[self.current] == ADDED:
            status = ADDED
        self._say(status=status)
        return True

    def tag(self, index: int) -> bool:
        """Give the current detection the tag number ``index`` of `names`, or take it away; False if there is none."""
        if self.current < 0 or index >= len(self.names):
            return False
        mine, name = tags_of(self.said.tags[self.current]), self.names[index]
        told = [tag for tag in mine if tag != name] if name in mine else [*mine, name]
        self._say(tags=SEPARATOR.join(told))
        return True

    def add(self, centre_nm: np.ndarray) -> bool:
        """An object is at this position (3,), nm: add it, or accept the detection that is already there.

        Returns whether it was added. It becomes the current one in both cases.
        """
        centre = np.asarray(centre_nm, float).reshape(1, 3)
        before = self.current
        if len(self.found):
            distance = np.linalg.norm(self.found.centre_nm - centre, axis=1)
            if distance.min() <= self.reach_nm:
                self.current = int(distance.argmin())
                self.judge(ACCEPTED)
                return False
        columns = {"reviewer": self.reviewer, "when": self.clock()}
        row: dict[str, Any] = {name: np.array([text], object) for name, text in columns.items()}
        self._append(Verdicts(np.zeros(1, np.int64), centre, np.array([ADDED]), self.reach_nm, **row))
        self.current = len(self.found) - 1
        self._undo.append((self.current, before, None))
        return True

    def undo(self) -> bool:
        """Undo the last verdict, tag or added object and return to it; False if there is none."""
        if not self._undo:
            return False
        index, self.current, before = self._undo.pop()
        if before is None:  # later rows are of a running search: none of them is in the list
            keep = np.arange(len(self.found)) != index
            self.found, self.said = self.found.where(keep), self.said.take(keep)
        else:
            for name, value in before.items():
                getattr(self.said, name)[index] = value
        return True

    def _say(self, **values: str) -> None:
        before = {name: getattr(self.said, name)[self.current] for name in SAID}
        self._undo.append((self.current, self.current, before))
        for name, value in {**values, "reviewer": self.reviewer, "when": self.clock()}.items():
            getattr(self.said, name)[self.current] = value

    def _append(self, added: Verdicts) -> None:
        self.found = with_added(self.found, added, self.boxes)
        self.said += replace(added, id=self.found.id[len(self.said) :])

    def carry_on(self, old: Review) -> None:
        """Take over all verdicts from a review whose detections are the first of these."""
        for name in SAID:
            getattr(self.said, name)[: len(old.said)] = getattr(old.said, name)
        self.threshold, self.current, self._undo, self.names = old.threshold, old.current, old._undo, old.names
        self.take_up(old.elsewhere, len(old.said))

    def take_up(self, verdicts: Verdicts, first: int = 0) -> None:
        """Take over verdicts for the detections from ``first`` on that have none; unmatched verdicts are kept, too."""
        verdicts = replace(verdicts, reach_nm=self.reach_nm)
        said, rest = verdicts.match(self.found.centre_nm[first:])
        free = ~self.touched[first:]
        for name in SAID:
            getattr(self.said, name)[first:][free] = getattr(said, name)[free]
        if verdicts.names:
            self.names = verdicts.names
        added = rest.status == ADDED
        self._append(rest.take(added))
        self.elsewhere += rest.take(~added)

    def verdicts(self) -> Verdicts:
        """All verdicts, including those on detections that are not among these."""
        return self.said.take(self.touched) + self.elsewhere

    def places(self, *statuses: str) -> Places:
        """Positions with these verdicts, of all of them by default: the counterpart of the training objects."""
        mine, other = (np.isin(x.status, statuses or STATUSES) for x in (self.said, self.elsewhere))
        centres = np.concatenate([self.said.centre_nm[mine], self.elsewhere.centre_nm[other]])
        return Places(centres, np.concatenate([self.said.status[mine], self.elsewhere.status[other]]))

    @property
    def keep(self) -> np.ndarray:
        """Boolean (n,): shown and not rejected."""
        return self.shown & (self.status != REJECTED)

    def kept(self) -> Detections:
        """The shown, not rejected detections, with ids and verdicts."""
        return self.detections.where(self.keep)

    def check_export(self) -> None:
        """Raise `InputError` if nothing would be written."""
        if not len(self.found):
            raise InputError("no detections to export; search another part, or lower Threshold and run again")
        if not self.keep.any():
            hidden, rejected = int((~self.shown).sum()), int((self.status == REJECTED).sum())
            raise InputError(
                f"nothing to export: {hidden} detections are below the minimum score and {rejected} are rejected; "
                "lower the minimum score, or accept detections (A)"
            )

    def label_table(self, keep: np.ndarray | None = None) -> np.ndarray:
        """For each label the id to show: 0 if not in ``keep`` (n,), or without it if hidden or rejected.

        The last entry is for all labels above the highest id.
        """
        ids = self.found.id
        table = np.zeros(ids.max(initial=0) + 2, np.uint32)
        shown = ids[self.keep if keep is None else keep]
        table[shown] = shown
        return table

    def line(self) -> str:
        """Counts in words."""
        shown, added = int(self.shown.sum()), int((self.status == ADDED).sum())
        accepted, rejected = (int((self.status == s).sum()) for s in (ACCEPTED, REJECTED))
        told = f"{shown} of {len(self.found)} shown; {accepted} accepted, {rejected} rejected"
        return told + (f", {added} added" if added else "")
