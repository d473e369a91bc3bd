from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.metrics import Counts
from napari_connecto.workflows.cascade.matching import match_labels, match_points


def points(*x):
    return np.array([[0.0, 0.0, v] for v in x])


def test_one_to_one_and_as_many_as_possible():
    # the greedy nearest pair (1.0, 1.2) would leave both others alone
    match = match_points(points(1.0, 2.0), points(0.2, 1.2), 0.9)
    assert dict(zip(match.found.tolist(), match.truth.tolist(), strict=True)) == {0: 0, 1: 1}
    assert sorted(match.quality) == pytest.approx([0.8, 0.8])
    assert match.counts == Counts(2, 0, 0)
    assert match.f1 == 1.0


def test_two_found_on_one_true_object_is_one_false():
    match = match_points(points(1.0, 1.1), points(1.04), 0.5)
    assert (match.found.tolist(), match.counts) == ([0], Counts(1, 1, 0))
    assert match_points(points(0.0), points(5.0), 4.9).counts == Counts(0, 1, 1)
    assert match_points(points(0.0), points(5.0), 5.0).counts == Counts(1, 0, 0)


def brute(found, truth, limit):
    """Most pairs, then least distance, by trying all."""
    small, large = (found, truth) if len(found) <= len(truth) else (truth, found)
    best = (0, 0.0)
    for chosen in permutations(range(len(large)), len(small)):
        distances = [np.linalg.norm(small[i] - large[j]) for i, j in enumerate(chosen)]
        near = [d for d in distances if d <= limit]
        best = min(best, (-len(near), sum(near)))
    return -best[0], best[1]


coordinates = st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=5)


@given(coordinates, coordinates, st.sampled_from([1.0, 2.5, 4.0]))
def test_equals_brute_force(found, truth, limit):
    found, truth = np.array(found, float).reshape(-1, 3), np.array(truth, float).reshape(-1, 3)
    match = match_points(found, truth, limit)
    pairs, distance = brute(found, truth, limit)
    assert (match.counts.tp, match.quality.sum()) == (pairs, pytest.approx(distance))
    assert len(np.unique(match.found)) == len(np.unique(match.truth)) == pairs
    assert np.linalg.norm(found[match.found] - truth[match.truth], axis=1) == pytest.approx(match.quality)
    assert match.counts == Counts(pairs, len(found) - pairs, len(truth) - pairs)
    back = match_points(truth, found, limit)
    assert (back.counts.tp, back.quality.sum()) == (pairs, pytest.approx(distance))


def test_many_points():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 2e5, (5000, 3))
    moved = truth[500:] + rng.normal(0, 50, (4500, 3))
    match = match_points(np.concatenate([moved, rng.uniform(3e5, 4e5, (300, 3))]), truth, 1000)
    assert match.counts == Counts(4500, 300, 500)
    np.testing.assert_array_equal(match.truth - 500, match.found)


def test_labels_by_overlap():
    truth, found = np.zeros((1, 6, 20), np.uint16), np.zeros((1, 6, 20), np.int64)
    truth[0, 0, :10] = 7
    found[0, 0, 2:10] = 900  # 8 of 10
    truth[0, 2, :10] = 8
    found[0, 2, :4] = 901  # 4 of 10: too little
    truth[0, 4, :4] = 9  # not found
    found[0, 5, 15:] = 902  # not there
    match = match_labels(found, truth)
    assert (match.found.tolist(), match.truth.tolist(), match.quality.tolist()) == ([900], [7], [0.8])
    assert match.counts == Counts(1, 2, 2)
    assert match_labels(found, truth, 0.4).counts == Counts(2, 1, 1)
    assert match_labels(truth, truth).f1 == 1.0
    assert match_labels(np.zeros_like(found), truth).counts == Counts(0, 0, 3)
    assert match_labels(np.zeros_like(found), np.zeros_like(truth)).f1 == 1.0


def test_labels_match_one_to_one_below_a_half():
    truth, found = np.zeros((1, 1, 12), int), np.zeros((1, 1, 12), int)
    truth[..., :6], truth[..., 6:] = 1, 2
    found[..., :12] = 5
    assert match_labels(found, truth, 0.3).counts == Counts(1, 0, 1)


def test_refuses():
    with pytest.raises(InputError, match=r"got found_nm of shape \(2, 2\)"):
        match_points(np.zeros((2, 2)), np.zeros((2, 3)), 1.0)
    with pytest.raises(InputError, match="got truth_nm"):
        match_points(np.zeros((2, 3)), np.full((2, 3), np.nan), 1.0)
    with pytest.raises(InputError, match="max_distance_nm=0; it must be a positive"):
        match_points(np.zeros((2, 3)), np.zeros((2, 3)), 0)
    with pytest.raises(InputError, match="need integers of one shape"):
        match_labels(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(InputError, match="got min_iou=0"):
        match_labels(np.zeros((2, 2), int), np.zeros((2, 2), int), 0)
