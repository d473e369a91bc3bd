"""From a network's raw score to the probability that a detection is an object, calibrated on held-out objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from napari_connecto.core.errors import ModelError

EPS = 1e-3
"""Raw scores of 0 and 1 are moved inside by this."""
TAIL = 3.0
"""Spreads from the middle beyond which scores change slowly, so that no two become equal."""
FEW = 3
"""Number of held-out detections from which their spread is used."""
LEAST_SPREAD = 0.05
"""Smallest spread in logits, so that detections of nearly equal raw scores are not torn apart."""
OFFSET, OFFSET_SPREAD = 0.0, 1.5
SLOPE, SLOPE_SPREAD = 1.5, 0.5
"""Prior of the logistic: even odds at the middle; the slope per spread, log-normal."""


@dataclass(frozen=True)
class ScoreCurve:
    """A logistic of the raw score's logit, always rising: the order of detections stays.

    Parameters
    ----------
    middle, spread
        Of the held-out detections' raw scores, those just below the threshold included, in logits.
    offset, slope
        Logit of the probability at the middle, and its change per spread.
    detections, true
        Held-out detections behind the curve, and how many of them are objects.
    """

    middle: float
    spread: float
    offset: float
    slope: float
    detections: int
    true: int

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Probabilities (n,) of raw scores (n,) in [0, 1]."""
        return np.asarray(expit(self.offset + self.slope * self._place(raw)))

    def _place(self, raw: np.ndarray) -> np.ndarray:
        place = (_logit(raw) - self.middle) / self.spread
        far = np.abs(place)
        return np.where(far <= TAIL, place, np.sign(place) * (TAIL + np.log1p(np.maximum(far - TAIL, 0))))

    @classmethod
    def fit(cls, raw: np.ndarray, true: np.ndarray, threshold: float) -> ScoreCurve:
        """Maximum a posteriori, so that a few detections give a curve too.

        Parameters
        ----------
        raw, true
            (n,) held-out detections, and weaker ones: raw scores, and whether each is an object.
        threshold
            Of the probability map: raw scores of detections lie between it and 1, used if there are too few.
        """
        raw, true = np.asarray(raw, float), np.asarray(true, bool)
        low, high = _logit(np.array([threshold, 1.0]))
        middle, spread = (low + high) / 2, (high - low) / 4
        if len(raw) >= FEW:
            middle = float(np.median(_logit(raw)))
            quarter = np.quantile(_logit(raw), [0.25, 0.75])
            spread = max(LEAST_SPREAD, float(quarter[1] - quarter[0]) / 1.349)
        start = cls(float(middle), float(max(spread, LEAST_SPREAD)), OFFSET, SLOPE, len(raw), int(true.sum()))
        place, sign = start._place(raw), np.where(true, 1.0, -1.0)

        def cost(at: np.ndarray) -> float:
            offset, log_slope = at
            prior = ((offset - OFFSET) / OFFSET_SPREAD) ** 2 + ((log_slope - np.log(SLOPE)) / SLOPE_SPREAD) ** 2
            return float(prior / 2 - log_expit(sign * (offset + np.exp(log_slope) * place)).sum())

        offset, log_slope = minimize(cost, [OFFSET, np.log(SLOPE)], method="L-BFGS-B").x
        fitted = {"offset": float(offset), "slope": float(np.exp(log_slope))}
        return cls(**{**asdict(start), **fitted})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScoreCurve:
        """From the output of `to_json`.

        Raises
        ------
        ModelError
            If it is damaged, or does not rise.
        """
        try:
            middle, spread, offset, slope = (float(data[k]) for k in ("middle", "spread", "offset", "slope"))
            curve = cls(middle, spread, offset, slope, int(data["detections"]), int(data["true"]))
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(f"the cascade's scores are damaged ({error!r}); train the cascade again") from error
        if not (np.isfinite([curve.middle, curve.offset]).all() and 0 < curve.spread < 1e6 and 0 < curve.slope < 1e6):
            raise ModelError(f"the cascade's scores are damaged ({data}); train the cascade again")
        return curve


def _logit(raw: np.ndarray) -> np.ndarray:
    return np.asarray(logit(EPS + (1 - 2 * EPS) * np.clip(np.asarray(raw, float), 0, 1)))
