"""Pieces of blocks become segments of the whole: rules by hand, records through the disk."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.tiles import TilePlan
from napari_connecto.workflows.segment import records
from napari_connecto.workflows.segment.faces import Blocks
from napari_connecto.workflows.segment.join import join
from napari_connecto.workflows.segment.link import link_sections
from napari_connecto.workflows.segment.params import SegmentParams

ALL = SegmentParams(mode="3d", min_size=0)


def walls(labels, flat=False):
    """1 where the next voxel along an axis has another label, else 0."""
    edge = np.zeros(labels.shape, np.float32)
    for axis in range(1 if flat else 0, 3):
        differ = np.diff(labels, axis=axis) != 0
        for part in (slice(1, None), slice(None, -1)):
            np.moveaxis(edge, axis, 0)[part] = np.maximum(
                np.moveaxis(edge, axis, 0)[part], np.moveaxis(differ, axis, 0)
            )
    return np.minimum(edge, 1)


def saved(blocks, labels, boundary=None):
    """Records of blocks that see ``labels``, each with numbers of its own; and the numbers."""
    boundary = walls(labels, blocks.mode != "3d") if boundary is None else boundary
    own = np.zeros(labels.shape, np.int64)
    for tile in blocks.plan:
        at = blocks.read_box(tile).slices
        mine = np.unique(labels[at], return_inverse=True)[1].reshape(labels[at].shape).astype(np.uint32) + 1
        own[tile.write.slices], _ = blocks.save(tile, mine, boundary[at], 0.5)
    return own


def joined(blocks, own, params=ALL):
    first, final = run(join(blocks, params))
    found = np.zeros(own.shape, np.int64)
    for tile in blocks.plan:
        found[tile.write.slices] = final[own[tile.write.slices] + first[tile.index]]
    np.testing.assert_array_equal(np.unique(final), np.arange(final.max() + 1))
    return found


def same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize("halo", [(2, 2, 2), (1, 3, 3), (3, 1, 2)])
def test_blocks_are_joined_to_what_they_were_cut_from(tmp_path, halo):
    rng = np.random.default_rng(1)
    coarse = np.arange(1, 1 + 3 * 4 * 4).reshape(3, 4, 4)
    coarse = rng.permutation(coarse.size + 1)[coarse]
    labels = coarse.repeat(5, 0).repeat(6, 1).repeat(7, 2)[:, :23, :26]
    blocks = Blocks(TilePlan(labels.shape, (6, 9, 11), halo), tmp_path / "records", "3d")
    assert same_partition(joined(blocks, saved(blocks, labels)), labels)


def halves(tmp_path, left, right, wall, height=4):
    """Two blocks of 8 columns with a halo of 2, each with its own view (height, 10) and the boundary (height, 16)."""
    blocks = Blocks(TilePlan((1, height, 16), (1, height, 8), (0, 2, 2)), tmp_path, "3d")
    own = np.zeros((1, height, 16), np.int64)
    for tile, view in zip(blocks.plan, (left, right), strict=True):
        at = blocks.read_box(tile).slices
        own[tile.write.slices], _ = blocks.save(tile, view[None].astype(np.uint32), wall[None][at], 0.5)
    return joined(blocks, own)[0]


def test_one_neurite_in_two_blocks_is_one_though_its_face_is_a_wall(tmp_path):
    """Both blocks see the places on both sides of the face as one piece, so the wall there is no evidence."""
    view = np.ones((4, 10))
    assert len(np.unique(halves(tmp_path / "a", view, view, np.ones((4, 16), np.float32)))) == 1
    left = np.ones((4, 10))
    left[:, 8:] = 2  # beyond the face this block sees something else: there is a wall, and it counts
    assert len(np.unique(halves(tmp_path / "b", left, view, 0.9 * (np.arange(64).reshape(4, 16) % 16 // 7 == 1)))) == 2


def test_two_neurites_are_not_merged_by_a_border_that_two_blocks_see_a_voxel_apart(tmp_path):
    """The rule of half the smaller overlap merged them: the border between 1 and 2 lies elsewhere in each view."""
    left, right, wall = np.ones((8, 10)), np.ones((8, 10)), np.zeros((8, 16), np.float32)
    left[4:], right[5:], wall[3:6] = 2, 2, 0.9
    found = halves(tmp_path, left, right, wall, height=8)
    np.testing.assert_array_equal(found[:4], 1)
    np.testing.assert_array_equal(found[5:], 2)


def test_two_pieces_of_one_block_are_one_where_the_other_sees_no_wall(tmp_path):
    """A loop: two arms that meet in the next block."""
    whole = np.ones((21, 16))
    whole[2:8, :14] = whole[13:19, :14] = whole[2:19, 11:14] = 2
    left, right = whole[:, :10].copy(), whole[:, 6:]
    left[13:19] += left[13:19] == 2
    found = halves(tmp_path, left, right, walls(whole[None])[0], height=21)
    assert same_partition(found[:, :11], whole[:, :11])


def test_what_only_the_halo_saw_joins_nothing(tmp_path):
    left, right, wall = np.ones((1, 10)), np.full((1, 10), 2), np.zeros((1, 16), np.float32)
    left[:, 8:], right[:, :2] = 5, 9  # beyond its own
    wall[:, 7:9] = 1
    np.testing.assert_array_equal(halves(tmp_path, left, right, wall, height=1), [[1] * 8 + [2] * 8])


def test_a_piece_of_nothing_but_wall_is_no_segment(tmp_path):
    left, right, wall = np.ones((4, 10)), np.full((4, 10), 2), np.zeros((4, 16), np.float32)
    right[:2, :3], wall[:, 7], wall[:2, 8] = 3, 1, 1
    np.testing.assert_array_equal(np.unique(halves(tmp_path, left, right, wall)), [1, 2])


def test_a_segment_is_small_only_if_it_is_so_in_all_blocks_together(tmp_path):
    labels = np.ones((1, 8, 16), int)
    labels[:, 1:5, 5:11] = 2  # 24 voxels, 12 in each block
    labels[:, 5:8, 1:4] = 3  # 9 voxels
    blocks = Blocks(TilePlan(labels.shape, (1, 8, 8), (0, 2, 2)), tmp_path, "3d")
    found = joined(blocks, saved(blocks, labels), SegmentParams(mode="3d", min_size=13))
    assert same_partition(found, np.where(labels == 3, 1, labels))


def test_sections_of_different_blocks_are_linked_by_their_whole_size(tmp_path):
    """Cut anywhere, the overlap of two segments is that of the whole."""
    labels = np.zeros((4, 12, 12), np.uint32)
    for z in range(4):
        labels[z] = 10 * z + 1
        labels[z, 2 + z : 8 + z, 3:10] = 10 * z + 2
    params = SegmentParams(mode="2d-linked", min_size=0, link=0.4)
    numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + 1
    whole = link_sections(numbers, walls(labels, flat=True), params)
    blocks = Blocks(TilePlan(labels.shape, (2, 5, 7), (0, 2, 2)), tmp_path, "2d-linked")
    found = joined(blocks, saved(blocks, labels), params)
    np.testing.assert_array_equal(found, whole)
    assert found.max() == 2


def test_a_damaged_record_and_one_of_an_older_version_are_named(tmp_path):
    blocks = Blocks(TilePlan((4, 4, 4), (4, 4, 2), (1, 1, 1)), tmp_path, "3d")
    saved(blocks, np.ones((4, 4, 4), int))
    path = tmp_path / "000000001.npz"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(StoreError, match=r"cannot read .*000000001.npz.*choose a new folder"):
        run(join(blocks, ALL))
    np.savez(path, sizes=np.zeros(2, int), face20=np.zeros((4, 4, 2)))
    with pytest.raises(StoreError, match=r"cannot read .*000000001.npz.*choose a new folder"):
        run(join(blocks, ALL))


def test_a_record_that_found_no_room_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StoreError, match="No space left on device"):
        records.write_arrays(tmp_path / "0.npz", {"a": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []
