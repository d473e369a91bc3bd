"""Distance to a normal distribution by closed forms, and difficulty of mappings that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from napari_connecto.core.errors import InputError
from napari_connecto.models.inspect.neurons import mapping_difficulty, wasserstein_to_normal


def test_normal_values_are_near_a_normal_distribution_whatever_their_scale():
    y = np.random.default_rng(0).normal(3, 7, 20_000)
    assert wasserstein_to_normal(y) < 0.02


def test_two_points_are_as_far_as_the_closed_form_says():
    """E| |Z| - 1 | = 2 (2 Phi(1) - 3/2 - phi(0) + 2 phi(1)) = 0.535."""
    y = np.repeat([-5.0, 1.0], 5000)
    expected = 2 * (2 * norm.cdf(1) - 1.5 - norm.pdf(0) + 2 * norm.pdf(1))
    assert wasserstein_to_normal(y) == pytest.approx(expected, abs=1e-3)


def test_it_is_the_distance_to_a_normal_sample():
    y = np.random.default_rng(1).exponential(size=4000)
    sample = norm.ppf((np.arange(4000) + 0.5) / 4000)
    expected = wasserstein_distance((y - y.mean()) / y.std(), sample)
    assert wasserstein_to_normal(y) == pytest.approx(expected, abs=1e-9)


def test_a_constant_is_0_and_too_few_are_refused():
    assert wasserstein_to_normal(np.ones(9)) == 0.0
    with pytest.raises(InputError, match="got 1 values"):
        wasserstein_to_normal(np.ones(1))


def test_a_step_is_harder_to_map_than_a_slope():
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 1))
    slope, step = mapping_difficulty(x, x[:, 0]), mapping_difficulty(x, np.sign(x[:, 0]) + 1e-3 * x[:, 0])
    ratio = np.ptp(x) / np.median(np.abs(x[:1000, 0] - x[1000:, 0]))
    assert slope == pytest.approx(ratio, rel=0.1)  # every pair has the same quotient
    assert step > 0
    assert mapping_difficulty(x, np.zeros(2000)) == 0.0
    with pytest.raises(InputError, match="one value per input"):
        mapping_difficulty(x, np.zeros(3))
