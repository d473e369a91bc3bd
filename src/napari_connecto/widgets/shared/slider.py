"""A slider that spans the values there are, so that every position of it means something."""

from __future__ import annotations

from math import ceil, log10

from superqt import QLabeledDoubleSlider

STEPS = 100
MOST_DECIMALS = 6


class SpanSlider(QLabeledDoubleSlider):
    """From the least to the greatest of some values, in about a hundred steps; disabled where there is but one."""

    def __init__(self, low: float, high: float, tooltip: str) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self._several = True
        self.span(low, high)

    def span(self, low: float, high: float) -> None:
        """Go from ``low`` to ``high``, exactly; the value stays where it can. `valueChanged` is not emitted."""
        value, digits, self._several = self.value(), decimals(high - low), high > low
        blocked = self.blockSignals(True)
        self.setDecimals(digits)
        self.setRange(low, high if self._several else low + 10.0**-digits)
        self.setSingleStep(10.0**-digits)  # type: ignore[arg-type]
        self.setValue(min(max(value, low), high))
        self.blockSignals(blocked)

    def allow(self, on: bool) -> None:
        """Enable it, where there is something to choose."""
        self.setEnabled(on and self._several)


def decimals(width: float) -> int:
    """So many that a range of this width has a hundred steps; two at least."""
    return min(MOST_DECIMALS, max(2, ceil(log10(STEPS / width)))) if width > 0 else 2
