"""Patches to suggest together: those a strategy prefers, at the required distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.adapt.annotate.spacing import HELD_OUT, Spacing, apart_nm
from napari_connecto.workflows.adapt.annotate.strategies import Pick, Pool, pick
from napari_connecto.workflows.adapt.params import SuggestParams

TRIALS, STRIDE = 40, 7919
"""Draws of the random arm until the rest fits, and the step between their seeds."""


@dataclass(frozen=True)
class Places:
    """Positions of the pool's patches, and which of them may still be trained on or held out."""

    spacing: Spacing
    learnable: np.ndarray
    holdable: np.ndarray

    @classmethod
    def of(
        cls, level: Level, boxes: Sequence[Box], finest: Level, learnt: Sequence[Box], held: Sequence[Box]
    ) -> Places:
        apart = apart_nm(level, boxes)
        spacing, known, measured = (
            Spacing.of(one, b, apart) for one, b in ((level, boxes), (finest, learnt), (finest, held))
        )
        return cls(
            spacing,
            ~spacing.copies(known) & ~spacing.beside(measured),
            ~spacing.beside(known) & ~spacing.copies(measured),
        )

    def clash(self, index: int) -> np.ndarray:
        """Near copies (k,) of a patch."""
        return self.spacing.copies(self.spacing.at(index))

    def beside(self, picks: Sequence[Pick]) -> np.ndarray:
        """Which (k,) are too near held-out ones to be trained on."""
        found = np.zeros(len(self.learnable), bool)
        for choice in picks:
            found |= self.spacing.beside(self.spacing.at(choice.index))
        return found

    def note(self, chosen: Sequence[Pick], n: int, params: SuggestParams) -> str:
        """Why there are fewer than requested."""
        apart, held = self.spacing.apart_nm, sum(p.random for p in chosen)
        said = f"{held} of {params.random_arm} held out; " if held < params.random_arm else ""
        return (
            f"found room for {len(chosen)} of {n} patches ({said}patches stacked along z stay {apart:.0f} nm apart, "
            f"held-out ones {HELD_OUT * apart:.0f} nm from all others); request fewer or smaller ones (size)"
        )


def choices(pool: Pool, n: int, params: SuggestParams, places: Places) -> list[Pick]:
    """The random arm is drawn first, from the whole pool, regardless of the strategy.

    If the rest does not fit, the arm is drawn again, leaving out what the strategy took first; it is reduced if it
    would
    leave nothing to train on.
    """
    best: list[Pick] = []
    for arm in range(params.random_arm, -1, -1):
        barred = np.zeros(len(pool), bool)
        for trial in range(TRIALS):
            held = _held_out(pool, arm, places, params.seed + STRIDE * trial)
            learnt = _learnt(pool, n - len(held), params, places, places.learnable & ~places.beside(held) & ~barred)
            if len(held) == min(arm, len(pool)) and len(held) + len(learnt) > len(best):
                best = learnt + held
            if len(best) == min(n, len(pool)):
                return best
            barred[[choice.index for choice in learnt[:1]]] = True
        if any(not choice.random for choice in best) or (best and arm == n):
            return best
    return best


def _held_out(pool: Pool, arm: int, places: Places, seed: int) -> list[Pick]:
    why = ", whatever the strategy, so that figures measured on it are not biased by the choice"
    drawn = pick(pool, min(arm, len(pool)), "random", seed=seed, free=places.holdable, clash=places.clash)
    return [Pick(choice.index, choice.reason + why, True) for choice in drawn]


def _learnt(pool: Pool, n: int, params: SuggestParams, places: Places, free: np.ndarray) -> list[Pick]:
    how = partial(pick, diversity=params.diversity, seed=params.seed, free=free, clash=places.clash)
    return how(pool, min(n, len(pool)), params.strategy)
