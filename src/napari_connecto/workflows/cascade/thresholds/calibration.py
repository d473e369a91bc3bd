"""Measurements on labelled validation blocks, from which thresholds are chosen: the scores of all chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.shown import shown
from napari_connecto.workflows.cascade.thresholds.held_out import HeldOut
from napari_connecto.workflows.cascade.thresholds.score_curve import ScoreCurve


@shown
@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of all chunks of the validation region at all levels, including those a cascade would reject.

    Parameters
    ----------
    scores
        Per level, finest first: (n_k,) in [0, 1].
    parents
        Per level but the coarsest: (n_k,) index of the chunk's parent in the next coarser level.
    truth
        (n_0,) whether a level-0 chunk holds an object. A coarser chunk does if one of its level-0 chunks does.
    objects
        (m,) for each object, the level-0 chunk that holds its centre.
    cost_s
        Seconds per call at each level, reading and model.
    branching
        Children per parent away from the borders, one per step from the finest level up.
    held_out
        Recall of an exhaustive search on these objects; None for cascades measured without it.
    score_curve
        Turns raw scores of detections into probabilities; None for older cascades, whose raw scores are shown.
    judged
        (n_0,) whether all of a level-0 chunk is labelled, so that it counts as empty without an object. None: all are.
    weights
        (n_last,) how many chunks of the volume each of the coarsest level stands for, of mean 1, where places were not
        sampled evenly; those below it count as much. None: all the same.
    grids
        Per level, chunks along each axis, (z, y, x); empty for older cascades, which do not record which chunks are
        neighbours.
    """

    scores: tuple[np.ndarray, ...]
    parents: tuple[np.ndarray, ...]
    truth: np.ndarray
    objects: np.ndarray
    cost_s: tuple[float, ...]
    branching: tuple[float, ...]
    held_out: HeldOut | None = None
    score_curve: ScoreCurve | None = None
    judged: np.ndarray | None = None
    weights: np.ndarray | None = None
    grids: tuple[Vec3, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(np.asarray(s, np.float32).ravel() for s in self.scores))
        object.__setattr__(self, "parents", tuple(np.asarray(p, np.int64).ravel() for p in self.parents))
        object.__setattr__(self, "truth", np.asarray(self.truth, bool).ravel())
        if self.judged is not None:
            object.__setattr__(self, "judged", np.asarray(self.judged, bool).ravel())
        object.__setattr__(self, "objects", np.asarray(self.objects, np.int64).ravel())
        object.__setattr__(self, "cost_s", tuple(float(c) for c in self.cost_s))
        object.__setattr__(self, "branching", tuple(float(b) for b in self.branching))
        if self.weights is not None:
            object.__setattr__(self, "weights", np.asarray(self.weights, float).ravel())
        object.__setattr__(self, "grids", tuple(vec3(g) for g in self.grids))
        problem = self._problem()
        if problem:
            raise InputError(f"got a calibration with {problem}; measure it on the full grid of the validation region")

    def _problem(self) -> str:
        n = [len(s) for s in self.scores]
        if not n or 0 in n:
            return f"{n} chunks per level, none at some level"
        if (len(self.parents), len(self.branching), len(self.cost_s)) != (len(n) - 1, len(n) - 1, len(n)):
            return (
                f"{len(n)} levels but {len(self.parents)} parents, {len(self.branching)} branchings, "
                f"{len(self.cost_s)} costs"
            )
        if not all(np.isfinite(s).all() and s.min() >= 0 and s.max() <= 1 for s in self.scores):
            return "scores outside 0 to 1"
        for k, parent in enumerate(self.parents):
            if len(parent) != n[k] or parent.min() < 0 or parent.max() >= n[k + 1]:
                return f"parents at level {k} that do not point to the {n[k + 1]} chunks of level {k + 1}"
        if len(self.truth) != n[0]:
            return f"{len(self.truth)} truths for {n[0]} level-0 chunks"
        if self.judged is not None and len(self.judged) != n[0]:
            return f"{len(self.judged)} statements for {n[0]} level-0 chunks"
        if self.objects.size and (self.objects.min() < 0 or self.objects.max() >= n[0]):
            return f"objects outside its {n[0]} level-0 chunks"
        if self.held_out is not None and len(self.held_out.found) != len(self.objects):
            return f"{len(self.held_out.found)} answers for {len(self.objects)} held-out objects"
        if not all(np.isfinite(c) and c > 0 for c in self.cost_s):
            return f"costs {self.cost_s}, not all positive"
        if not all(np.isfinite(b) and b >= 1 for b in self.branching):
            return f"branching {self.branching}, below 1"
        if self.weights is not None:
            sound = len(self.weights) == n[-1] and bool(np.isfinite(self.weights).all() and self.weights.min() > 0)
            if not sound:
                return f"{len(self.weights)} weights for {n[-1]} chunks, or some that are not positive"
        if self.grids and [prod(grid) for grid in self.grids] != n:
            return f"grids {self.grids} for {n} chunks per level"
        return ""

    @property
    def size(self) -> np.ndarray:
        """(levels,) level-0 chunks per chunk of each level, away from the borders."""
        return np.concatenate([[1.0], np.cumprod(self.branching)])

    def ancestors(self, chunks: np.ndarray, level: int, to: int) -> np.ndarray:
        """Indices at level ``to`` of the ancestors of ``chunks`` at ``level``."""
        for k in range(level, to):
            chunks = self.parents[k][chunks]
        return chunks

    def weight(self, level: int, chunks: np.ndarray | None = None) -> np.ndarray:
        """(n,) how much chunks of a level count, all of them by default."""
        chunks = np.arange(len(self.scores[level])) if chunks is None else chunks
        if self.weights is None:
            return np.ones(len(chunks))
        return np.asarray(self.weights[self.ancestors(chunks, level, len(self.scores) - 1)])

    def share(self, values: np.ndarray, level: int, chunks: np.ndarray | None = None) -> float:
        """Mean of ``values`` (n,) of chunks of a level, all of them by default."""
        return float(np.average(values, weights=self.weight(level, chunks)))

    def chunk_truth(self, level: int) -> np.ndarray:
        """(n_k,) whether a chunk of this level holds an object."""
        truth = np.zeros(len(self.scores[level]), bool)
        truth[self.ancestors(np.flatnonzero(self.truth), 0, level)] = True
        return truth

    def chunk_empty(self, level: int) -> np.ndarray:
        """(n_k,) whether a chunk of this level is labelled throughout, and holds no object."""
        other = self.truth if self.judged is None else self.truth | ~self.judged
        empty = np.ones(len(self.scores[level]), bool)
        empty[self.ancestors(np.flatnonzero(other), 0, level)] = False
        return empty

    def groups(self, level: int, group: Vec3) -> np.ndarray | None:
        """(n_k,) number of the group of ``group`` chunks that a chunk of this level lies in; None if unknown."""
        if max(group) == 1:
            return np.arange(len(self.scores[level]))
        if not self.grids:
            return None
        cells = np.unravel_index(np.arange(len(self.scores[level])), self.grids[level])
        coarser = [-(-n // g) for n, g in zip(self.grids[level], group, strict=True)]
        return np.ravel_multi_index(tuple(c // g for c, g in zip(cells, group, strict=True)), coarser)

    def group_weight(self, level: int, groups: np.ndarray) -> np.ndarray:
        """How much each group counts: the mean of its chunks."""
        return np.asarray(np.bincount(groups, self.weight(level)) / np.bincount(groups))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` gives the same numbers back."""
        more = {"held_out": self.held_out, "score_curve": self.score_curve}
        judged = {} if self.judged is None else {"judged": np.flatnonzero(self.judged).tolist()}
        return {
            "scores": [[float(str(v)) for v in s] for s in self.scores],
            "parents": [p.tolist() for p in self.parents],
            "truth": np.flatnonzero(self.truth).tolist(),
            "objects": self.objects.tolist(),
            "cost_s": list(self.cost_s),
            "branching": list(self.branching),
            **judged,
            **({} if self.weights is None else {"weights": self.weights.tolist()}),
            **({"grids": [list(grid) for grid in self.grids]} if self.grids else {}),
        } | {name: value.to_json() for name, value in more.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """A calibration from JSON types.

        Raises
        ------
        ModelError
            If it is damaged; the message says what is wrong.
        """
        try:
            scores: Sequence[Any] = data["scores"]
            truth = _at(data["truth"], len(scores[0]))
            judged = _at(data["judged"], len(scores[0])) if "judged" in data else None
            rest = {k: data[k] for k in ("parents", "objects", "cost_s", "branching")}
            held_out = HeldOut.from_json(data["held_out"]) if "held_out" in data else None
            curve = ScoreCurve.from_json(data["score_curve"]) if "score_curve" in data else None
            told: dict[str, Any] = {"held_out": held_out, "score_curve": curve, "judged": judged}
            told["weights"] = data.get("weights")
            told["grids"] = tuple(vec3(grid) for grid in data.get("grids", ()))
            return cls(scores=tuple(scores), truth=truth, **told, **rest)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ModelError(f"the cascade's calibration is damaged ({error!r}); train the cascade again") from error


def _at(indices: Any, n: int) -> np.ndarray:
    """Boolean (n,), true at some indices."""
    out = np.zeros(n, bool)
    out[np.asarray(indices, np.int64)] = True
    return out
