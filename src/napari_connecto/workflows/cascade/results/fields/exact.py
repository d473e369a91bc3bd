"""The fewest fields for a few elements: every field worth considering, and an integer programme over them."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from napari_connecto.workflows.cascade.results.fields.boxes import ROUNDING, inside

MOST, CHOICES = 1200, 6000
"""Elements, and fields to choose from, beyond which nothing is solved exactly."""
NODES = 5
"""Nodes of the branch and bound: a number and not a time, so that the same input has the same answer."""


def fewest(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Fields (f, d) and a number below which no cover is possible; None where there are too many elements or choices.

    The fields are the fewest, and their number is the bound, unless the search for them was cut short.
    """
    if len(low) > MOST:
        return None
    starts = choices(low, high, size)
    if starts is None:
        return None
    covers = inside(low, high, starts, size)
    solved = milp(
        np.ones(len(starts)),
        integrality=np.ones(len(starts)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(csr_array(covers.T.astype(float)), lb=1),
        options={"node_limit": NODES, "mip_rel_gap": 0.0},
    )
    if solved.x is None:
        return None
    dual = solved.mip_dual_bound if solved.mip_dual_bound is not None else 1.0
    return starts[solved.x > 0.5], max(1, ceil(dual - 1e-6))


def choices(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> np.ndarray | None:
    """Fields that hold as much as any other that holds the same: some optimal cover consists of them.

    A field can be moved up along each axis until its lower face touches an element's, and then holds what it held. Of
    slabs along an axis, one whose elements another one has, too, can be left out. None if more than `CHOICES` are left.
    """
    found: dict[bytes, np.ndarray] = {}

    def descend(axis: int, members: np.ndarray, corner: list[float]) -> bool:
        if axis == low.shape[1]:
            found.setdefault(members.tobytes(), np.array(corner))
            return len(found) <= CHOICES
        for start, held in _slabs(low[:, axis], high[:, axis], size[axis], members):
            if not descend(axis + 1, held, [*corner, start]):
                return False
        return True

    if not descend(0, np.ones(len(low), bool), []):
        return None
    return np.stack(list(found.values()))


def _slabs(low: np.ndarray, high: np.ndarray, size: float, members: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Along one axis: where slabs begin and what they hold of ``members``, without those that others contain."""
    firsts = np.unique(low[members])
    slack = ROUNDING * size
    held = (low >= firsts[:, None] - slack) & (high <= firsts[:, None] + size + slack) & members
    counts = held[:, members].astype(np.float32)  # which multiplies fast, and exactly
    shared = counts @ counts.T
    own = np.diag(shared)
    within = shared == own[:, None]  # [a, b]: all of a is in b
    earlier = np.tri(len(own), k=-1, dtype=bool)
    lost = (within & ((own[None] > own[:, None]) | ((own[None] == own[:, None]) & earlier))).any(axis=1)
    return [(float(firsts[i]), held[i]) for i in np.flatnonzero(~lost)]
