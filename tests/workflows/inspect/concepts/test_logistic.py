"""The linear probe: what it separates, that classes weigh the same, that units of channels do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.inspect.concepts.logistic import fit_linear


def clouds(n=400, share=0.1, seed=0):
    """Two clouds that differ along (1, 1, 0), and which points are in the second."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    return (rng.standard_normal((n, 3)) + np.outer(truth, [2, 2, 0])).astype(np.float32), truth


def test_it_finds_the_direction_that_separates():
    x, truth = clouds(4000)
    direction = fit_linear(x, truth).direction
    assert direction @ (np.array([1, 1, 0]) / np.sqrt(2)) > 0.98


def test_both_classes_weigh_the_same():
    """The middle between the clouds is at a score of 0, although the second is rare."""
    x, truth = clouds(8000, share=0.05)
    assert fit_linear(x, truth)(np.array([[1, 1, 0]], np.float32))[0] == pytest.approx(0, abs=0.4)


def test_units_of_channels_do_not_matter():
    x, truth = clouds()
    moved = (x * np.array([1, 100, 0.01]) + np.array([0, 5, -3])).astype(np.float32)
    np.testing.assert_allclose(fit_linear(moved, truth)(moved), fit_linear(x, truth)(x), rtol=1e-2, atol=1e-2)


def test_a_constant_channel_is_ignored():
    x, truth = clouds()
    wider = np.concatenate([x, np.full((len(x), 1), 7, np.float32)], axis=1)
    assert fit_linear(wider, truth).weights[3] == pytest.approx(0, abs=1e-4)


def test_one_class_alone_is_refused():
    x, _ = clouds()
    with pytest.raises(InputError, match="both need at least one"):
        fit_linear(x, np.ones(len(x), bool))
