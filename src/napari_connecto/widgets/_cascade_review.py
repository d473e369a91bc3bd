"""Reviewing detections: which are shown, accepted, rejected, and undoing it. No Qt; the state behind the review box."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_connecto.workflows.detections import Detections

NEW, ACCEPTED, REJECTED = "new", "accepted", "rejected"


@dataclass
class Review:
    """The user's verdicts on a set of detections.

    Parameters
    ----------
    found
        What was found; verdicts are by its order.
    threshold
        Detections below are hidden; nothing is computed again.
    """

    found: Detections
    threshold: float = 0.0
    status: np.ndarray = field(default_factory=lambda: np.empty(0, "<U8"))
    current: int = -1
    _undo: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = np.full(len(self.found), NEW, "<U8")

    @property
    def shown(self) -> np.ndarray:
        """Boolean (n,): at or above the threshold."""
        return self.found.score >= self.threshold

    @property
    def reviewed(self) -> bool:
        """Whether there is a verdict to lose."""
        return bool((self.status != NEW).any())

    def step(self, by: int) -> int:
        """Go to the next (1) or previous (-1) shown detection, best score first; returns its index, -1 if none."""
        order = [i for i in np.argsort(-self.found.score, kind="stable").tolist() if self.shown[i]]
        if not order:
            self.current = -1
        elif self.current in order:
            self.current = order[(order.index(self.current) + by) % len(order)]
        else:
            self.current = order[0 if by > 0 else -1]
        return self.current

    def judge(self, status: str) -> bool:
        """Accept or reject the current detection; False if there is none."""
        if self.current < 0:
            return False
        self._undo.append((self.current, str(self.status[self.current])))
        self.status[self.current] = status
        return True

    def undo(self) -> bool:
        """Take the last verdict back and return to its detection; False if there is none."""
        if not self._undo:
            return False
        self.current, before = self._undo.pop()
        self.status[self.current] = before
        return True

    def carry_on(self, old: Review) -> None:
        """Take everything over from a review whose detections are the first of these."""
        self.status[: len(old.status)] = old.status
        self.threshold, self.current, self._undo = old.threshold, old.current, old._undo

    def adopt(self, old: Review, reach_nm: float) -> None:
        """Take the verdicts of another search's detections over to the nearest of these within ``reach_nm``."""
        if not len(self.found):
            return
        for i in np.flatnonzero(old.status != NEW):
            distance = np.linalg.norm(self.found.centre_nm - old.found.centre_nm[i], axis=1)
            if distance.min() <= reach_nm:
                self.status[int(distance.argmin())] = old.status[i]

    def kept(self) -> Detections:
        """What is shown and not rejected."""
        keep = self.shown & (self.status != REJECTED)
        found = self.found
        return replace(found, centre_nm=found.centre_nm[keep], score=found.score[keep], box=found.box[keep])

    def label_table(self) -> np.ndarray:
        """For each label id (0..n) the id to show: 0 for what is hidden or rejected."""
        table = np.arange(len(self.found) + 1, dtype=np.uint32)
        table[1:][~self.shown | (self.status == REJECTED)] = 0
        return table

    def line(self) -> str:
        """Counts in words."""
        shown = int(self.shown.sum())
        accepted, rejected = (int((self.status == s).sum()) for s in (ACCEPTED, REJECTED))
        return f"{shown} of {len(self.found)} shown; {accepted} accepted, {rejected} rejected"
