"""Decisions of a proofreader, and the state that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.shown import shown
from napari_connecto.workflows.segment.proofread.cut import ADVICE, Cut
from napari_connecto.workflows.segment.proofread.forest import Edge, names, parted, rehung

MERGE, SPLIT = "merge", "split"
LARGEST = 2**63 - 1
"""Number of a segment."""


@shown
@dataclass(frozen=True)
class Decision:
    """One decision.

    Parameters
    ----------
    kind
        "merge" or "split".
    first, second
        The two voxels that were clicked, (z, y, x) of the finest level.
    atoms
        Segments there, as the segmentation and earlier splits number them. A split of one and the same cuts it.
    new
        Number of the part that a cut took off; 0 without a cut.
    moved
        Segments merged with it before that went with the new part.
    """

    kind: str
    first: Vec3
    second: Vec3
    atoms: tuple[int, int]
    new: int = 0
    moved: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As an event of the journal."""
        told = {"event": self.kind, "first": list(self.first), "second": list(self.second), "atoms": list(self.atoms)}
        return told | ({"new": self.new, "moved": list(self.moved)} if self.new else {})

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Decision:
        """From an event of the journal.

        Raises
        ------
        StoreError
            If it is none.
        """
        try:
            kind, (a, b) = str(event["event"]), event["atoms"]
            moved = tuple(int(v) for v in event.get("moved", ()))
            if kind not in (MERGE, SPLIT):
                raise ValueError(kind)
            points = vec3(event["first"]), vec3(event["second"])
            one = cls(kind, *points, (int(a), int(b)), int(event.get("new", 0)), moved)
            if not all(0 < v <= LARGEST for v in (*one.atoms, *moved)) or not 0 <= one.new <= LARGEST:
                raise ValueError("a segment's number is out of range")
            return one
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"got {str(event)[:120]} as a decision ({error!r:.80}); {ADVICE}") from error


def history(events: Iterable[Mapping[str, Any]]) -> tuple[list[Decision], list[Decision]]:
    """Decisions that hold, in their order, and those that were undone and can be redone, the next one last."""
    kept: list[Decision] = []
    undone: list[Decision] = []
    for event in events:
        source, target = {"undo": (kept, undone), "redo": (undone, kept)}.get(str(event.get("event", "")), (None, kept))
        if source is None:
            kept.append(Decision.of(event))
            undone.clear()
        elif source:
            target.append(source.pop())
    return kept, undone


@dataclass(frozen=True)
class State:
    """What holds: merges as a forest, and cuts in their order.

    ``keys`` (ascending) and ``ids`` say how joined segments are shown.
    """

    edges: tuple[Edge, ...] = ()
    cuts: tuple[Cut, ...] = ()
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, decisions: Sequence[Decision], load: Callable[[int], Cut]) -> State:
        """After these decisions; ``load`` gives the cut that made a segment."""
        edges: list[Edge] = []
        cuts = []
        for one in decisions:
            if one.kind == MERGE:
                edges.append(one.atoms)
            elif one.new:
                cuts.append(load(one.new))
                edges = rehung(edges, one.atoms[0], one.new, one.moved)
            else:
                edges = parted(edges, *one.atoms)
        table = names(edges)
        keys = np.array(sorted(table), np.int64)
        return cls(tuple(edges), tuple(cuts), keys, np.array([table[int(k)] for k in keys], np.int64))

    def shown(self, atoms: np.ndarray) -> np.ndarray:
        """The numbers that segments are shown with."""
        return renumbered(atoms, self.keys, self.ids)


def renumbered(values: np.ndarray, keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``values`` with ``keys`` (ascending) replaced by ``ids``; others stay. Time does not depend on the largest."""
    if not len(keys):
        return values
    keys = keys.astype(values.dtype)
    at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[at] == values, ids.astype(values.dtype)[at], values)
