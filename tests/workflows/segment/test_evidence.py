"""Thresholds leave what was known before only where the annotation says more than chance."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_connecto.core.partition_metrics import Contingency, bits_by_instance, variation_of_information
from napari_connecto.workflows.segment.evidence import Evidence


def evidence(gains, noise, instances, seed=0):
    """Three by three thresholds; ``gains`` are mean bits below 1, of neurites of 100 voxels each."""
    rng = np.random.default_rng(seed)
    bits = 100 * (1 - np.array(gains, float)[:, None] + noise * rng.normal(size=(9, instances)))
    points = tuple(product((0.1, 0.3, 0.5), (0.2, 0.4, 0.6), (50,)))
    return Evidence(points, (3, 3, 1), bits / 4, bits * 3 / 4, np.full(instances, 100))


PRIOR = (0.5, 0.6, 50)
CORNER = [0.4, 0.4, 0, 0.4, 0.4, 0, 0, 0, 0]


def test_a_gain_within_the_noise_of_few_neurites_stays_at_the_prior_and_of_many_leaves_it():
    few, many = (evidence(CORNER, 1.5, n) for n in (6, 400))
    assert few.chosen(PRIOR) == few.points.index(PRIOR)
    assert many.points[many.chosen(PRIOR)] == (0.1, 0.2, 50)


def test_a_gain_that_every_neurite_shows_needs_few_of_them():
    sure = evidence(CORNER, 0.01, 4)
    assert sure.points[sure.chosen(PRIOR)] == (0.1, 0.2, 50)


def test_luck_among_many_points_is_not_followed():
    left = [evidence([0] * 9, 1.0, 12, seed).chosen(PRIOR) != 8 for seed in range(200)]
    assert np.mean(left) < 0.1


def test_one_neurite_proves_nothing():
    alone = evidence(CORNER, 0.0, 1)
    assert alone.gain(8, 0) == (pytest.approx(0.4), float("inf"))
    assert alone.chosen(PRIOR) == 8


def test_the_error_is_that_of_a_mean_over_neurites_of_one_size():
    found = evidence(CORNER, 0.7, 30)
    each = (found.split + found.merge)[8] / 100 - (found.split + found.merge)[0] / 100
    assert found.gain(8, 0) == pytest.approx((each.mean(), each.std(ddof=1) / np.sqrt(30)))


def test_the_point_amid_good_neighbours_is_better_than_a_lucky_one_at_a_cliff():
    gains = [0.30, 0.29, 0.28, 0.29, 0.28, 0, 0, 0, 0.31]
    found = evidence(gains, 0.0, 50)
    assert found.points[found.best()] == (0.1, 0.2, 50)


def test_instances_sum_up_to_the_variation_of_information():
    rng = np.random.default_rng(0)
    seg, truth = rng.integers(0, 5, (2, 3, 20, 20))
    ids, voxels, split, merge = bits_by_instance(Contingency.of(seg, truth))
    vi = variation_of_information(seg, truth)
    assert ids.tolist() == [1, 2, 3, 4]
    assert voxels.tolist() == [(truth == i).sum() for i in ids]
    assert split.sum() / voxels.sum() == pytest.approx(vi.split)
    assert merge.sum() / voxels.sum() == pytest.approx(vi.merge)
    alone = np.array([3, 3, 3, 4]), np.array([1, 1, 2, 2])
    np.testing.assert_allclose(bits_by_instance(Contingency.of(*alone))[2:], [[0, 2], [2 * np.log2(1.5), np.log2(3)]])
