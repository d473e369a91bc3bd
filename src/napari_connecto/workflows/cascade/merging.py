"""Two reviews of one search as one, and where they disagree."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from napari_connecto.core.geometry import FVec3, fvec3
from napari_connecto.workflows.cascade.verdicts import ADDED, NEW, REJECTED, SEPARATOR, Verdicts, tags_of


class Disagreement(NamedTuple):
    """An object that one reviewer accepted (or added) and the other rejected.

    Parameters
    ----------
    centre_nm
        Its position in nm, (z, y, x).
    status, reviewer, when
        Of the first and of the second review.
    """

    centre_nm: FVec3
    status: tuple[str, str]
    reviewer: tuple[str, str]
    when: tuple[str, str]


def merge_verdicts(first: Verdicts, second: Verdicts) -> tuple[Verdicts, list[Disagreement]]:
    """The verdicts of two reviewers together.

    Two verdicts are on the same object if each is the other's nearest and they lie within the larger reach. Where both
    agree, or only one of them decided, that verdict counts; both reviewers are named, with the later time, and tags are
    united. Where they disagree the object is undecided again ("new"), and listed.

    Returns
    -------
    verdicts
        All of them, for `write_verdicts`.
    disagreements
        In the order of ``first``.

    Examples
    --------
    >>> anna = nc.Verdicts(np.array([1]), np.zeros((1, 3)), np.array(["accepted"]))
    >>> ben = nc.Verdicts(np.array([1]), np.zeros((1, 3)), np.array(["rejected"]))
    >>> both, opposed = nc.merge_verdicts(anna, ben)
    >>> opposed[0].status
    ('accepted', 'rejected')
    """
    reach = max(first.reach_nm, second.reach_nm)
    a, b = _pairs(first.centre_nm, second.centre_nm, reach)
    one, two = first.take(a), second.take(b)
    opposed = (one.status != NEW) & (two.status != NEW) & ((one.status == REJECTED) != (two.status == REJECTED))
    status = np.where((one.status == NEW) | (one.status == ADDED) & (two.status != NEW), two.status, one.status)
    both = replace(
        one,
        status=np.where(opposed, NEW, status),
        tags=_united(one.tags, two.tags),
        reviewer=_united(one.reviewer, two.reviewer),
        when=np.maximum(one.when, two.when),
    )
    rest = first.take(np.delete(np.arange(len(first)), a)) + second.take(np.delete(np.arange(len(second)), b))
    said = replace(both + rest, reach_nm=reach, names=tuple(dict.fromkeys(first.names + second.names)))
    cases = [
        Disagreement(
            fvec3(one.centre_nm[i].tolist()),
            (str(one.status[i]), str(two.status[i])),
            (str(one.reviewer[i]), str(two.reviewer[i])),
            (str(one.when[i]), str(two.when[i])),
        )
        for i in np.flatnonzero(opposed)
    ]
    return said.take((said.status != NEW) | (said.tags != "")), cases


def _pairs(a: np.ndarray, b: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of positions that are each other's nearest, within ``reach``; in the order of ``a``."""
    if not len(a) or not len(b):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    from scipy.spatial import cKDTree

    distance, to_b = cKDTree(b).query(a)
    _, to_a = cKDTree(a).query(b)
    mine = np.flatnonzero((to_a[to_b] == np.arange(len(a))) & (distance <= reach))
    return mine, to_b[mine]


def _united(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Names of both cells, each once."""
    out = np.empty(len(a), object)
    out[:] = [SEPARATOR.join(dict.fromkeys(tags_of(x) + tags_of(y))) for x, y in zip(a, b, strict=True)]
    return out
