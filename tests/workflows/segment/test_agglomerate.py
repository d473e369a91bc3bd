"""The region graph and its merge tree, by hand and by law."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.workflows.segment.agglomerate import Graph, absorb, caution_of, groups, merge_tree
from napari_connecto.workflows.segment.params import SegmentParams


def stripes():
    """Four stripes; the boundary between them is 0.2, 0.8 and 0.4 high."""
    labels = np.repeat(np.array([1, 2, 3, 4], np.uint32), 4)[None, None] * np.ones((2, 5, 1), np.uint32)
    boundary = np.zeros(labels.shape, np.float32)
    for at, height in ((4, 0.2), (8, 0.8), (12, 0.4)):
        boundary[..., at] = height
    return labels, boundary


def chain(*means, area=1.0):
    """Fragments 1, 2, ... in a row."""
    n = len(means) + 1
    edges = np.stack([np.arange(1, n), np.arange(2, n + 1)], axis=1)
    sizes = np.r_[0, np.full(n, 10)]
    return Graph(sizes, edges, np.array(means) * area, np.full(len(means), area))


def test_the_graph_of_stripes():
    graph = Graph.of(*stripes())
    np.testing.assert_array_equal(graph.sizes, [0, 40, 40, 40, 40])
    np.testing.assert_array_equal(graph.edges, [[1, 2], [2, 3], [3, 4]])
    np.testing.assert_array_equal(graph.areas, [10, 10, 10])
    np.testing.assert_allclose(graph.heights, [2, 8, 4], rtol=1e-6)


def test_sections_do_not_touch_in_a_flat_graph():
    labels = np.arange(1, 5, dtype=np.uint32).reshape(2, 1, 2) * np.ones((2, 3, 2), np.uint32)
    boundary = np.full(labels.shape, 0.5, np.float32)
    np.testing.assert_array_equal(Graph.of(labels, boundary, flat=True).edges, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(Graph.of(labels, boundary).edges, [[1, 2], [1, 3], [2, 4], [3, 4]])


def test_the_weakest_boundary_goes_first():
    tree = merge_tree(Graph.of(*stripes()))
    np.testing.assert_allclose(tree.heights, [0.2, 0.4, 0.8], rtol=1e-6)
    for threshold, expected in (
        (0.1, [0, 1, 2, 3, 4]),
        (0.3, [0, 1, 1, 2, 3]),
        (0.5, [0, 1, 1, 2, 2]),
        (0.9, [0, 1, 1, 1, 1]),
    ):
        np.testing.assert_array_equal(tree.cut(threshold), expected)


def test_a_threshold_is_not_reached_by_what_equals_it():
    tree = merge_tree(chain(0.25, 0.5))
    np.testing.assert_array_equal(tree.cut(0.25), [0, 1, 2, 3])
    np.testing.assert_array_equal(tree.cut(0.5), [0, 1, 1, 2])


def test_linkage_is_by_the_mean_over_all_shared_faces():
    """1 and 2 merge; what they share with 3 is then (0.2 * 1 + 0.8 * 3) / 4 = 0.65."""
    edges = np.array([[1, 2], [1, 3], [2, 3]])
    graph = Graph(np.array([0, 1, 1, 1]), edges, np.array([0.1, 0.2, 2.4]), np.array([1.0, 1.0, 3.0]))
    tree = merge_tree(graph)
    np.testing.assert_allclose(tree.heights, [0.1, 0.65])
    np.testing.assert_array_equal(tree.cut(0.6), [0, 1, 1, 2])


def test_ties_go_to_the_smaller_numbers_and_stopping_early_changes_nothing():
    graph = chain(0.5, 0.5, 0.2, 0.5)
    whole, early = merge_tree(graph), merge_tree(graph, 0.5)
    np.testing.assert_array_equal(early.cut(0.5), whole.cut(0.5))
    np.testing.assert_array_equal(early.cut(0.5), [0, 1, 2, 3, 3, 4])
    assert sorted(whole.pairs[1].tolist()) == [1, 2]


def test_small_groups_go_to_the_weakest_boundary_smallest_first():
    graph = Graph(
        np.array([0, 50, 3, 2, 50]),
        np.array([[1, 2], [2, 3], [3, 4]]),
        np.array([0.9, 0.8, 0.7]),
        np.array([1.0, 1.0, 1.0]),
    )
    single = np.arange(5)
    np.testing.assert_array_equal(absorb(graph, single, 3), [0, 1, 2, 3, 3])
    np.testing.assert_array_equal(absorb(graph, single, 4), [0, 1, 2, 2, 2])
    np.testing.assert_array_equal(absorb(graph, single, 1), single)


def test_what_has_no_neighbour_stays_however_small():
    graph = Graph(np.array([0, 3]), np.empty((0, 2), np.int64), np.empty(0), np.empty(0))
    np.testing.assert_array_equal(absorb(graph, np.array([0, 1]), 100), [0, 1])
    np.testing.assert_array_equal(merge_tree(graph).cut(1.0), [0, 1])


def test_groups_are_numbered_by_their_first_member():
    np.testing.assert_array_equal(groups(5, np.array([[5, 1], [2, 4]])), [0, 1, 2, 3, 2, 1])
    np.testing.assert_array_equal(groups(2, np.empty((0, 2), np.int64)), [0, 1, 2])


@st.composite
def maps(draw):
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    small = rng.integers(1, draw(st.integers(2, 30)), (3, 5, 5))
    labels = np.unique(small, return_inverse=True)[1].reshape(small.shape).repeat(2, 1).repeat(2, 2) + 1
    return labels.astype(np.uint32), rng.random(labels.shape, np.float32)


@given(maps())
def test_a_higher_threshold_never_makes_more_segments_and_only_joins(drawn):
    tree = merge_tree(Graph.of(*drawn))
    assert (np.diff(tree.heights) >= 0).all()
    before = tree.cut(0.0)
    for threshold in np.linspace(0, 1.01, 12):
        now = tree.cut(threshold)
        assert now.max() <= before.max()
        assert len(np.unique(np.stack([before, now]), axis=1)[0]) == before.max() + 1  # each old group in one new
        before = now
    assert before.max() == 1


def greedy(graph, until, caution):
    """Groups by the definition: the cheapest of all contacts, again and again."""
    groups = {n: {n} for n in range(1, len(graph.sizes))}
    while True:
        costs = {}
        for a, b in combinations(sorted(groups), 2):
            between = [
                {int(u), int(v)} & groups[a] != set() and {int(u), int(v)} & groups[b] != set() for u, v in graph.edges
            ]
            if any(between):
                small = min(sum(int(graph.sizes[n]) for n in groups[k]) for k in (a, b))
                mean = graph.heights[between].sum() / graph.areas[between].sum()
                costs[a, b] = mean + caution * np.log(small / 1000)
        if not costs or min(costs.values()) >= until:
            return sorted(map(sorted, groups.values()))
        a, b = min(costs, key=costs.get)
        groups[a] |= groups.pop(b)


@given(maps(), st.sampled_from([0.0, 0.05, 0.3]))
def test_merging_agrees_with_its_definition(drawn, caution):
    graph = Graph.of(*drawn)
    until = 0.6 + caution * np.log(10 / 1000)
    group = merge_tree(graph, until, caution).cut(until)
    found = sorted(sorted(np.flatnonzero(group == k).tolist()) for k in range(1, group.max() + 1))
    assert found == greedy(graph, until, caution)


def test_with_caution_two_large_fragments_stay_apart_and_a_small_one_joins():
    edges, means = np.array([[1, 2], [2, 3]]), np.array([0.45, 0.45])
    graph = Graph(np.array([0, 10**6, 10**6, 100]), edges, means, np.ones(2))
    np.testing.assert_array_equal(merge_tree(graph, 0.5, 0.015).cut(0.5), [0, 1, 2, 2])
    np.testing.assert_array_equal(merge_tree(graph, 0.5).cut(0.5), [0, 1, 1, 1])


def test_caution_is_for_three_dimensions_and_by_default_not_for_one_direction():
    deep = SegmentParams(mode="3d", directions="three")
    assert caution_of(deep) == caution_of(replace(deep, directions="auto")) == 0.01
    assert caution_of(replace(deep, directions="one")) == caution_of(replace(deep, mode="2d")) == 0
    assert caution_of(replace(deep, directions="one", caution=0.2)) == 0.2


@given(maps(), st.floats(0, 1), st.integers(2, 60))
def test_nothing_small_is_left_and_no_voxel_is_lost(drawn, threshold, min_size):
    graph = Graph.of(*drawn)
    group = absorb(graph, merge_tree(graph).cut(threshold), min_size)
    sizes = np.bincount(group[drawn[0]].ravel())
    assert sizes[0] == 0
    assert sizes.sum() == drawn[0].size
    assert sizes[1:].min() >= min(min_size, drawn[0].size)


@given(maps())
def test_the_contracted_graph_is_the_graph_of_the_contracted_labels(drawn):
    labels, boundary = drawn
    graph = Graph.of(labels, boundary)
    group = merge_tree(graph).cut(0.5)
    short, full = graph.contracted(group), Graph.of(group[labels], boundary)
    np.testing.assert_array_equal(short.edges, full.edges)
    np.testing.assert_array_equal(short.areas, full.areas)
    np.testing.assert_allclose(short.heights, full.heights, rtol=1e-6)
    np.testing.assert_array_equal(short.sizes, full.sizes)


def test_merging_is_quick_enough_for_a_block():
    rng = np.random.default_rng(0)
    labels = np.arange(1, 20_001, dtype=np.uint32).reshape(20, 50, 20)
    labels = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    tree = merge_tree(Graph.of(labels, rng.random(labels.shape, np.float32)), 0.9)
    assert tree.cut(0.9).max() == pytest.approx(20_000 - len(tree.pairs))
