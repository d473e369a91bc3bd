"""Coverage by parts: recalibration covers what it says, and its interval is wider where parts of the tissue differ."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.xray.conformal import cross_coverage


def block(spread: float, seed: int = 0):
    """Errors three times as large as stated, by a factor of their own in each eighth."""
    rng = np.random.default_rng(seed)
    shape = (32, 32, 32)
    factors = np.exp(spread * rng.standard_normal((2, 2, 2)))
    sd = rng.uniform(0.05, 0.1, shape)
    error = 3 * sd * np.kron(factors, np.ones((16, 16, 16))) * rng.standard_normal(shape)
    return np.zeros(shape), sd, error


def test_parts_alike_are_covered_as_stated():
    found = cross_coverage(*block(0.0))
    assert found.parts == 8
    assert found.share == pytest.approx(0.9, abs=0.01)
    assert found.before == pytest.approx(0.416, abs=0.02), "1.645 of three standard deviations"
    assert found.high - found.low < 0.03


def test_the_interval_is_that_of_another_part():
    """Of parts that differ, it holds the coverage of new ones about as often as it says."""
    held = []
    for seed in range(12):
        found = cross_coverage(*block(0.2, seed))
        _mean, sd, error = block(0.2, seed + 100)
        first = np.s_[:16, :16, :16]
        share = np.mean(np.abs(error[first]) <= 1.645 * 3 * np.exp(0.02) * sd[first])
        held.append(found.low - 0.01 <= share <= found.high + 0.01)
        assert found.high - found.low > 0.05
    assert np.mean(held) >= 0.75


def test_voxels_without_truth_do_not_count():
    mean, sd, truth = block(0.0)
    valid = np.ones(mean.shape, bool)
    valid[16:] = False
    spoilt = truth.copy()
    spoilt[16:] = 1e6
    found = cross_coverage(mean, sd, spoilt, valid=valid)
    assert found.parts == 4
    assert found.share == pytest.approx(0.9, abs=0.02)


def test_it_takes_parts_to_say_anything():
    mean, sd, truth = block(0.0)
    with pytest.raises(InputError, match="got 1 parts with valid voxels"):
        cross_coverage(mean, sd, truth, cuts=1)
