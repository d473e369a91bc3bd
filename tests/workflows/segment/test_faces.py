"""Segments of blocks become segments of the whole: rules by hand, records through the disk."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.tiles import TilePlan
from napari_connecto.workflows.segment import faces
from napari_connecto.workflows.segment.faces import Blocks, join, link, link_sections, overlaps, same


def row(*values):
    return np.array(values, np.uint32)


def test_overlaps_are_counted_and_zeros_left_out():
    np.testing.assert_array_equal(
        overlaps(row(1, 1, 2, 0, 2, 1), row(5, 5, 5, 5, 0, 3)), [[1, 3, 1], [1, 5, 2], [2, 5, 1]]
    )
    big = np.uint32(2**31 - 1)
    np.testing.assert_array_equal(overlaps(row(big), row(big)), [[big, big, 1]])


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ((1, 1, 2, 2), (7, 7, 8, 8), [[1, 7], [2, 8]]),
        ((1, 1, 1, 2), (7, 7, 8, 8), [[1, 7], [2, 8]]),  # the border is one voxel off
        ((1, 1, 1, 1), (7, 7, 8, 8), [[1, 7], [1, 8]]),  # one sees two where the other sees one
        ((1, 1, 0, 0), (7, 7, 7, 0), [[1, 7]]),
        ((1, 1, 2, 2), (7, 8, 8, 9), [[1, 7], [2, 9]]),  # half of 8 in each is not more than half
    ],
)
def test_what_is_the_same_in_two_views(a, b, pairs):
    np.testing.assert_array_equal(same(row(*a), row(*b)), pairs)


def test_sections_are_linked_to_their_best_match():
    sizes = np.array([0, 10, 10, 10, 4])
    found = np.array([[1, 2, 9], [1, 4, 1], [3, 4, 3]])
    np.testing.assert_array_equal(link(found, sizes, 0.25), [[1, 2], [3, 4]])  # 9/11, and 3/11
    np.testing.assert_array_equal(link(found, sizes, 0.5), [[1, 2]])
    np.testing.assert_array_equal(link(found, sizes, 0.9), np.empty((0, 2)))
    split = np.array([[1, 2, 3], [1, 2, 6], [1, 4, 1], [3, 4, 3]])  # the same, in two blocks
    np.testing.assert_array_equal(link(split, sizes, 0.25), [[1, 2], [3, 4]])


def test_a_branch_is_followed_to_both_ends():
    sizes = np.array([0, 20, 12, 8])
    found = np.array([[1, 2, 12], [1, 3, 8]])
    np.testing.assert_array_equal(link(found, sizes, 0.25), [[1, 2], [1, 3]])


def test_a_stack_of_discs_is_one_object_and_a_jump_is_two():
    labels = np.zeros((4, 1, 30), np.uint32)
    for z, start in enumerate((0, 1, 2, 20)):
        labels[z] = 2 * z + 1
        labels[z, :, start : start + 4] = 2 * z + 2
    linked = link_sections(labels, 0.25)
    disc = [linked[z, 0, start] for z, start in enumerate((0, 1, 2, 20))]
    rest = [linked[z, 0, 10] for z in range(4)]
    assert disc[0] == disc[1] == disc[2] != disc[3]
    assert len(set(rest)) == 1
    assert set(rest).isdisjoint(disc)


def saved(tmp_path, labels, tile, halo, linked=False):
    """Records of blocks that see ``labels``, each with numbers of its own."""
    blocks = Blocks(TilePlan(labels.shape, tile, halo), tmp_path / "records", linked)
    own = np.zeros(labels.shape, np.int64)
    counts = []
    for tile_ in blocks.plan:
        seen = labels[blocks.read_box(tile_).slices]
        mine = np.unique(seen, return_inverse=True)[1].reshape(seen.shape).astype(np.uint32) + 1
        own[tile_.write.slices], count = blocks.save(tile_, mine, np.ones(mine.shape, bool))
        counts.append(count)
    return blocks, own, counts


@pytest.mark.parametrize("halo", [(2, 2, 2), (1, 3, 3), (3, 1, 2)])
def test_blocks_are_joined_to_what_they_were_cut_from(tmp_path, halo):
    rng = np.random.default_rng(1)
    coarse = np.arange(1, 1 + 3 * 4 * 4).reshape(3, 4, 4)
    coarse = rng.permutation(coarse.size + 1)[coarse]
    labels = coarse.repeat(5, 0).repeat(6, 1).repeat(7, 2)[:, :23, :26]
    blocks, own, counts = saved(tmp_path, labels, (6, 9, 11), halo)
    first, final = run(join(blocks, 0.25))
    np.testing.assert_array_equal(first, np.r_[0, np.cumsum(counts)[:-1]])
    found = np.zeros(labels.shape, np.int64)
    for tile in blocks.plan:
        found[tile.write.slices] = final[own[tile.write.slices] + first[tile.index]]
    pairs = np.unique(np.stack([labels.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == final.max()
    np.testing.assert_array_equal(np.unique(final), np.arange(final.max() + 1))


def test_a_loop_seen_in_one_block_only_is_one(tmp_path):
    """Two arms that meet in the next block: this block sees two, the next one, the answer is one."""
    labels = np.ones((1, 9, 16), int)
    labels[0, 2, :14] = labels[0, 6, :14] = 2
    labels[0, 2:7, 13] = 2
    blocks = Blocks(TilePlan(labels.shape, (1, 9, 8), (0, 2, 2)), tmp_path, False)
    left, right = labels[..., :10].copy(), labels[..., 6:]
    left[0, 6, :] = np.where(left[0, 6] == 2, 3, left[0, 6])
    blocks.save(blocks.plan[0], left.astype(np.uint32), np.ones(left.shape, bool))
    blocks.save(blocks.plan[1], right.astype(np.uint32), np.ones(right.shape, bool))
    first, final = run(join(blocks, 0.25))
    np.testing.assert_array_equal(first, [0, 3])
    np.testing.assert_array_equal(final, [0, 1, 2, 2, 1, 2])


def test_what_only_the_halo_saw_joins_nothing(tmp_path):
    blocks = Blocks(TilePlan((1, 1, 16), (1, 1, 8), (0, 2, 2)), tmp_path, False)
    left, right = np.ones((1, 1, 10), np.uint32), np.full((1, 1, 10), 2, np.uint32)
    left[..., 8:] = 5  # beyond its own
    right[..., :2] = 9
    _, count = blocks.save(blocks.plan[0], left, left > 0)
    assert count == 1
    blocks.save(blocks.plan[1], right, right > 0)
    _, final = run(join(blocks, 0.25))
    np.testing.assert_array_equal(final, [0, 1, 2])


def test_walls_do_not_count(tmp_path):
    """A segment that reaches into a face by its wall alone is not joined to the one that has that wall elsewhere."""
    blocks = Blocks(TilePlan((1, 4, 16), (1, 4, 8), (0, 2, 2)), tmp_path, False)
    left, right = np.ones((1, 4, 10), np.uint32), np.ones((1, 4, 10), np.uint32)
    right[:, 3] = 2
    wall = np.ones(left.shape, bool)
    wall[:, 3] = False
    blocks.save(blocks.plan[0], left, wall)
    blocks.save(blocks.plan[1], right, wall)
    np.testing.assert_array_equal(run(join(blocks, 0.25))[1], [0, 1, 1, 2])


def test_sections_of_different_blocks_are_linked_by_their_whole_size(tmp_path):
    """Cut anywhere, the overlap of two segments is that of the whole."""
    labels = np.zeros((4, 12, 12), np.uint32)
    for z in range(4):
        labels[z] = 10 * z + 1
        labels[z, 2 + z : 8 + z, 3:10] = 10 * z + 2
    whole = link_sections(np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + 1, 0.4)
    blocks, own, _ = saved(tmp_path, labels, (2, 5, 7), (0, 2, 2), linked=True)
    first, final = run(join(blocks, 0.4))
    found = np.zeros(labels.shape, np.int64)
    for tile in blocks.plan:
        found[tile.write.slices] = final[own[tile.write.slices] + first[tile.index]]
    np.testing.assert_array_equal(found, whole)
    assert final.max() == 2


def test_a_damaged_record_is_named(tmp_path):
    blocks, _, _ = saved(tmp_path, np.ones((4, 4, 4), int), (4, 4, 2), (1, 1, 1))
    next(iter(tmp_path.rglob("*1.npz"))).write_bytes(b"PK nonsense")
    with pytest.raises(StoreError, match=r"cannot read .*000000001.npz.*choose a new folder"):
        run(join(blocks, 0.25))


def test_a_record_that_found_no_room_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StoreError, match="No space left on device"):
        faces._write_arrays(tmp_path / "0.npz", {"a": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []
