"""Which segments of successive sections are one object."""

from __future__ import annotations

import numpy as np

from napari_connecto.workflows.segment.link import NEUTRAL, link, link_sections
from napari_connecto.workflows.segment.params import SegmentParams


def overlaps(*rows, boundary=NEUTRAL):
    """Contacts of segments, from rows (segment, segment in the next section, voxels)."""
    found = np.array(rows)
    return found[:, :2], found[:, 2] * boundary, found[:, 2]


def test_sections_are_linked_to_their_best_match():
    sizes = np.array([0, 10, 10, 10, 4])
    found = overlaps((1, 2, 9), (1, 4, 1), (3, 4, 3))
    np.testing.assert_array_equal(link(found, sizes, 0.25), [[1, 2], [3, 4]])  # 9/11, and 3/11
    np.testing.assert_array_equal(link(found, sizes, 0.5), [[1, 2]])
    np.testing.assert_array_equal(link(found, sizes, 0.9), np.empty((0, 2)))
    split = overlaps((1, 2, 3), (1, 2, 6), (1, 4, 1), (3, 4, 3))  # the same, in two blocks
    np.testing.assert_array_equal(link(split, sizes, 0.25), [[1, 2], [3, 4]])


def test_boundary_between_two_sections_counts_against_their_overlap():
    """Of one overlap, only a clear one is linked; and the clearer of two matches is the best."""
    sizes = np.array([0, 10, 10, 10])
    for boundary, pairs in ((0.0, [[1, 2]]), (0.5, []), (1.0, [])):
        found = link(overlaps((1, 2, 6), boundary=boundary), sizes, 0.4, clear=True)  # 6/14 = 0.43
        np.testing.assert_array_equal(found, np.reshape(pairs, (-1, 2)))
    edges, _, areas = overlaps((1, 2, 6), (1, 3, 5))
    both = link((edges, np.array([6.0, 0.0]), areas), np.array([0, 11, 6, 5]), 0.1, clear=True)
    np.testing.assert_array_equal(both, [[1, 3]])


def test_a_branch_is_followed_to_both_ends():
    sizes = np.array([0, 20, 12, 8])
    np.testing.assert_array_equal(link(overlaps((1, 2, 12), (1, 3, 8)), sizes, 0.25), [[1, 2], [1, 3]])


def test_a_stack_of_discs_is_one_object_and_a_jump_is_two():
    labels = np.zeros((4, 1, 30), np.uint32)
    for z, start in enumerate((0, 1, 2, 20)):
        labels[z] = 2 * z + 1
        labels[z, :, start : start + 4] = 2 * z + 2
    linked = link_sections(labels, np.zeros(labels.shape, np.float32), SegmentParams())
    disc = [linked[z, 0, start] for z, start in enumerate((0, 1, 2, 20))]
    rest = [linked[z, 0, 10] for z in range(4)]
    assert disc[0] == disc[1] == disc[2] != disc[3]
    assert len(set(rest)) == 1
    assert set(rest).isdisjoint(disc)
