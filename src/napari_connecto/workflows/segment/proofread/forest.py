"""Which segments are one: a forest of merges that can be cut again at the merge that joined two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Edge: TypeAlias = tuple[int, int]


def joined(edges: Sequence[Edge], start: int) -> dict[int, int]:
    """All that hangs together with ``start``, each with the edge (its index) by which it was reached; -1 for it."""
    around: dict[int, list[tuple[int, int]]] = {}
    for i, (a, b) in enumerate(edges):
        around.setdefault(a, []).append((b, i))
        around.setdefault(b, []).append((a, i))
    found, waiting = {start: -1}, [start]
    while waiting:
        for other, edge in around.get(waiting.pop(), ()):
            if other not in found:
                found[other] = edge
                waiting.append(other)
    return found


def parted(edges: Sequence[Edge], first: int, second: int) -> list[Edge]:
    """The edges without the last one made of those that connect two; unchanged where none does."""
    reached, path, at = joined(edges, first), [], second
    if second not in reached:
        return list(edges)
    while at != first:
        path.append(reached[at])
        a, b = edges[reached[at]]
        at = a if at == b else b
    gone = max(path)
    return [edge for i, edge in enumerate(edges) if i != gone]


def rehung(edges: Sequence[Edge], atom: int, new: int, moved: Iterable[int]) -> list[Edge]:
    """The edges after ``atom`` was cut in two, where ``new`` and those ``moved`` are on the other side.

    Edges between both sides are gone; what lost its hold hangs on ``atom`` or ``new``.
    """
    group, away = set(joined(edges, atom)), set(moved)
    kept = [(a, b) for a, b in edges if a not in group or (a in away) == (b in away)]
    for anchor, side in ((atom, group - away), (new, away)):
        left = side - set(joined(kept, anchor))
        while left:
            one = min(left)
            kept.append((anchor, one))
            left -= set(joined(kept, one))
    return kept


def names(edges: Sequence[Edge]) -> Mapping[int, int]:
    """The number that each joined segment is shown with: the smallest of those it is joined with."""
    above: dict[int, int] = {}

    def top(atom: int) -> int:
        while (parent := above.setdefault(atom, atom)) != atom:
            above[atom] = above[parent]
            atom = parent
        return atom

    for a, b in edges:
        low, high = sorted((top(a), top(b)))
        above[high] = low
    return {atom: top(atom) for atom in list(above)}
