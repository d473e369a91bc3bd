"""A slider over the range of the actual values, so that every position has an effect."""

from __future__ import annotations

from math import ceil, log10

from superqt import QLabeledDoubleSlider

STEPS = 100
MOST_DECIMALS = 6


class SpanSlider(QLabeledDoubleSlider):
    """From the smallest to the largest of some values in about 100 steps; disabled if there is only one value."""

    def __init__(self, low: float, high: float, tooltip: str) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self._several = True
        self.span(low, high)

    def span(self, low: float, high: float) -> None:
        """Set the exact range; keep the value if it lies within. `valueChanged` is not emitted."""
        value, digits, self._several = self.value(), decimals(high - low), high > low
        blocked = self.blockSignals(True)
        self.setDecimals(digits)
        self.setRange(low, high if self._several else low + 10.0**-digits)
        self.setSingleStep(10.0**-digits)  # type: ignore[arg-type]
        self.setValue(min(max(value, low), high))
        self.blockSignals(blocked)

    def allow(self, on: bool) -> None:
        """Enable it if there is a choice."""
        self.setEnabled(on and self._several)


def decimals(width: float) -> int:
    """Decimals for about a hundred steps in a range of this width; at least two."""
    return min(MOST_DECIMALS, max(2, ceil(log10(STEPS / width)))) if width > 0 else 2
