"""Reviewing detections: which are shown, accepted or rejected, and undo. No Qt; the state of the review box."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED, Verdicts

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections


@dataclass
class Review:
    """The user's verdicts on a set of detections.

    Parameters
    ----------
    found
        Detections, with the verdicts to begin with.
    threshold
        New detections below it are hidden; nothing is recomputed. Detections with a verdict are never hidden.
    reach_nm
        Distance within which verdicts on other detections of the same volume are matched, see `Verdicts`.
    """

    found: Detections
    threshold: float = 0.0
    reach_nm: float = 0.0
    status: np.ndarray = field(init=False)
    elsewhere: Verdicts = field(init=False)
    current: int = -1
    _undo: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = self.found.status.copy()
        self.elsewhere = Verdicts.none(self.reach_nm)

    @property
    def shown(self) -> np.ndarray:
        """Boolean (n,): at or above the threshold, or with a verdict."""
        return (self.found.score >= self.threshold) | (self.status != NEW)

    @property
    def reviewed(self) -> bool:
        """Whether there are unsaved or saved verdicts."""
        return bool((self.status != NEW).any())

    def step(self, by: int) -> int:
        """Go to the next (1) or previous (-1) shown detection, best score first; returns its index, -1 if none."""
        order = np.argsort(-self.found.score, kind="stable")
        order = order[self.shown[order]]
        at = np.flatnonzero(order == self.current)
        if not len(order):
            self.current = -1
        elif len(at):
            self.current = int(order[(at[0] + by) % len(order)])
        else:
            self.current = int(order[0 if by > 0 else -1])
        return self.current

    def judge(self, status: str) -> bool:
        """Accept or reject the current detection; False if there is none."""
        if self.current < 0:
            return False
        self._undo.append((self.current, str(self.status[self.current])))
        self.status[self.current] = status
        return True

    def undo(self) -> bool:
        """Undo the last verdict and return to its detection; False if there is none."""
        if not self._undo:
            return False
        self.current, before = self._undo.pop()
        self.status[self.current] = before
        return True

    def carry_on(self, old: Review) -> None:
        """Take over all verdicts from a review whose detections are the first of these."""
        known = len(old.status)
        self.status[:known] = old.status
        self.threshold, self.current, self._undo = old.threshold, old.current, old._undo
        self.take_up(old.elsewhere, known)

    def take_up(self, verdicts: Verdicts, first: int = 0) -> None:
        """Take over verdicts for the detections from ``first`` on that have none; unmatched verdicts are kept, too."""
        verdicts = replace(verdicts, reach_nm=self.reach_nm)
        status, rest = verdicts.match(self.found.centre_nm[first:])
        self.status[first:] = np.where(self.status[first:] == NEW, status, self.status[first:])
        self.elsewhere += rest

    def verdicts(self) -> Verdicts:
        """All verdicts, including those on detections that are not among these."""
        said, found = self.status != NEW, self.found
        return Verdicts(found.id[said], found.centre_nm[said], self.status[said], self.reach_nm) + self.elsewhere

    def not_accepted(self) -> Places:
        """Rejected and unreviewed places: the counterpart of the training objects."""
        rest, gone = self.status != ACCEPTED, self.elsewhere.status == REJECTED
        centres = np.concatenate([self.found.centre_nm[rest], self.elsewhere.centre_nm[gone]])
        return Places(centres, np.concatenate([self.status[rest], self.elsewhere.status[gone]]))

    @property
    def keep(self) -> np.ndarray:
        """Boolean (n,): shown and not rejected."""
        return self.shown & (self.status != REJECTED)

    def kept(self) -> Detections:
        """The shown, not rejected detections, with ids and verdicts."""
        return replace(self.found, status=self.status.copy()).where(self.keep)

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
        shown = int(self.shown.sum())
        accepted, rejected = (int((self.status == s).sum()) for s in (ACCEPTED, REJECTED))
        return f"{shown} of {len(self.found)} shown; {accepted} accepted, {rejected} rejected"
