"""What agreement says about the VI against the truth: measured on pairs of a model and a labelled dataset.

`benchmarks/ranking.py` measures the pairs; docs/benchmarks/ranking.md tells how well this holds on a dataset left out.
"""

from __future__ import annotations

import numpy as np

SIDE = 384
"""Side of the places that all this was measured on, voxels."""
LIMIT = 0.14
"""Largest instability at which a model fits, for places of `SIDE`; in smaller ones all are less stable."""
OFFSET, SLOPE = -0.73, 1.0
"""Of ln VI over ln (consensus + consistency), all in bits."""
WITHIN, TOTAL = 0.23, 0.50
"""Standard deviation of the rest, in ln VI: among the models of one dataset, and over all datasets."""
SPAN = 1.83
"""Standard deviations on each side of an 80 % interval for a new dataset: Student's t, for four were measured."""


def predicted(consensus: np.ndarray | float, consistency: np.ndarray | float) -> np.ndarray:
    """Expected ln VI (bits) of a model without labels, from its scores in bits."""
    return OFFSET + SLOPE * np.log(np.maximum(np.asarray(consensus) + consistency, 1e-3))


def expected_vi(consensus: float, consistency: float) -> tuple[float, float]:
    """Range of VI in bits that holds for 80 % of the datasets; NaN without a consensus."""
    middle = float(predicted(consensus, consistency))
    return float(np.exp(middle - SPAN * TOTAL)), float(np.exp(middle + SPAN * TOTAL))
