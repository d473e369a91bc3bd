"""What a check of a sample of tiles says of a whole answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from napari_connecto.core.amounts import counted, percent
from napari_connecto.core.shown import shown

SIGNIFICANT, SUSPECT = 0.001, 0.05
"""Red below the first p-value, amber below the second. Tiles of one volume are correlated, so amber may be chance."""


@shown
@dataclass(frozen=True)
class Verdict:
    """Flagged tiles against those expected by chance; it advises and never stops a run.

    Parameters
    ----------
    flagged
        (n,) bool per sampled tile.
    predicted
        (n,) predicted Dice, or VI in bits.
    expected
        Upper end of the 95 % interval of the false-alarm rate measured when the guard was fitted.
    checks
        What flagged them: "pair" and "output", or "quality" and "error" of the pair alone.
    reason
        Why nothing was judged, if n is 0.
    unusual
        (n,) bool: the input is unlike the guard's examples, which the light does not count; None: not checked.
    """

    flagged: np.ndarray = field(repr=False)
    predicted: np.ndarray = field(repr=False)
    expected: float
    checks: tuple[str, ...]
    reason: str = ""
    unusual: np.ndarray | None = field(repr=False, default=None)

    @property
    def p(self) -> float:
        """One-sided binomial p-value of this many flagged tiles or more, taking tiles as independent."""
        count, n = int(self.flagged.sum()), len(self.flagged)
        return float(binomtest(count, n, self.expected, alternative="greater").pvalue) if n else 1.0

    @property
    def light(self) -> Literal["green", "amber", "red", "none"]:
        """Traffic light; "none" where nothing was judged."""
        if not len(self.flagged):
            return "none"
        return "red" if self.p < SIGNIFICANT else "amber" if self.p < SUSPECT else "green"

    def lines(self) -> list[str]:
        """In words."""
        if not len(self.flagged):
            return [f"No verdict: {self.reason}."]
        advice = {
            "green": "no more than chance explains",
            "amber": "perhaps more than chance explains: look at the worst places",
            "red": "more than chance explains: check the answer before relying on it",
        }[self.light]
        count, n = int(self.flagged.sum()), len(self.flagged)
        chance = f"up to {percent(self.expected, 1)} expected by chance, p = {self.p:.2g}"
        told = [f"{count} of {counted(n, 'tile')} flagged ({chance}): {advice}."]
        if self.unusual is not None:
            odd = int(self.unusual.sum())
            told.append(f"The input of {odd} of {counted(n, 'tile')} is unlike the guard's examples.")
        return told

    def to_json(self) -> dict[str, Any]:
        """Figures for a report."""
        told: dict[str, Any] = {
            "tiles": len(self.flagged),
            "flagged": int(self.flagged.sum()),
            "expected": self.expected,
            "p": self.p,
        }
        told["unusual"] = None if self.unusual is None else int(self.unusual.sum())
        return {**told, "light": self.light, "checks": list(self.checks), "lines": self.lines()}
