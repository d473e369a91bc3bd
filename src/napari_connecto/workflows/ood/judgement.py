"""Outcome of the out-of-distribution check for a set of tiles, as numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binomtest

from napari_connecto.core.amounts import percent
from napari_connecto.core.shown import shown

SIGNIFICANT = 0.001
"""Warn where p is below this. Tiles of one volume are correlated, so a limit of 0.01 would warn of far more than one in
a hundred volumes."""


@shown
@dataclass(frozen=True)
class Judgement:
    """Which tiles are out of distribution.

    Parameters
    ----------
    distance, inconsistency
        (n,) per tile; see `napari_connecto.workflows.ood.gate.Gate`.
    outside
        (n,) bool: out of distribution.
    expected
        Upper bound of the share expected by chance among tiles like the training data.
    """

    distance: np.ndarray = field(repr=False)
    inconsistency: np.ndarray = field(repr=False)
    outside: np.ndarray = field(repr=False)
    expected: float

    @property
    def share(self) -> float:
        """Share of tiles out of distribution; 0 if there are no tiles."""
        return float(self.outside.mean()) if len(self.outside) else 0.0

    @property
    def p(self) -> float:
        """One-sided binomial p-value of this many tiles or more, taking tiles as independent."""
        if not len(self.outside):
            return 1.0
        count = int(self.outside.sum())
        return float(binomtest(count, len(self.outside), self.expected, alternative="greater").pvalue)

    @property
    def warns(self) -> bool:
        """Whether more tiles are out of distribution than chance explains."""
        return self.p < SIGNIFICANT

    def lines(self, name: str) -> list[str]:
        """The outcome in words; ``name`` is the model's."""
        if not len(self.outside):
            return [f"No tissue found to compare with the training data of '{name}'."]
        told = (
            f"{self.outside.sum()} of {len(self.outside)} tiles are out of distribution for '{name}' "
            f"(up to {percent(self.expected, 1)} expected by chance, p = {self.p:.2g})"
        )
        usual = f"{told}; no warning, which takes p < {SIGNIFICANT:g}."
        return [f"{told}: check a preview before relying on the result." if self.warns else usual]

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
