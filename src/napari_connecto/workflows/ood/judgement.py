"""What a gate says of tiles, as numbers and in words. Ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binomtest

from napari_connecto.core.shown import shown

SIGNIFICANT = 0.001
"""A user is asked where so many tiles outside come by chance less often than this: tiles of one volume are alike, so
that a hundredth would be passed far more often than once in a hundred volumes."""


@shown
@dataclass(frozen=True)
class Judgement:
    """What a gate says of tiles.

    Parameters
    ----------
    distance, inconsistency
        (n,) of each tile; see `napari_connecto.workflows.ood.gate.Gate`.
    outside
        (n,) bool: beyond a limit.
    expected
        Share of tiles outside among those that are like the training data, at most: the upper end of what was measured.
    """

    distance: np.ndarray = field(repr=False)
    inconsistency: np.ndarray = field(repr=False)
    outside: np.ndarray = field(repr=False)
    expected: float

    @property
    def share(self) -> float:
        """Of tiles that are outside; 0 where there is no tile."""
        return float(self.outside.mean()) if len(self.outside) else 0.0

    @property
    def p(self) -> float:
        """Chance of so many tiles outside, or more, among like ones (binomial, tiles taken as independent)."""
        if not len(self.outside):
            return 1.0
        count = int(self.outside.sum())
        return float(binomtest(count, len(self.outside), self.expected, alternative="greater").pvalue)

    @property
    def warns(self) -> bool:
        """Whether more tiles are outside than chance explains."""
        return self.p < SIGNIFICANT

    def lines(self, name: str) -> list[str]:
        """What a user reads; ``name`` is the model's."""
        if not len(self.outside):
            return [f"No tissue was found to compare with the training data of '{name}'."]
        told = (
            f"{self.outside.sum()} of {len(self.outside)} tiles are out of distribution for '{name}' "
            f"(up to {self.expected:.1%} expected by chance, p = {self.p:.2g})"
        )
        usual = f"{told}; only p below {SIGNIFICANT:g} is a warning."
        return [f"{told}: check the preview before you trust this." if self.warns else usual]

    def to_json(self) -> dict[str, Any]:
        """Figures for a report."""
        return {
            "tiles": len(self.outside),
            "outside": int(self.outside.sum()),
            "expected": self.expected,
            "p": self.p,
            "warns": self.warns,
            "distance": _median(self.distance),
            "inconsistency": _median(self.inconsistency),
        }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
