from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.content import content_digest
from napari_connecto.core.errors import ChunkError, InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume

ARRAY = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


def pyramid(*sizes, calibrated=True):
    return Volume(tuple(Level(np.zeros((2, 2, 2)), size) for size in sizes), name="brain", calibrated=calibrated)


def test_read_gives_the_voxels_of_the_box():
    level = Level(ARRAY, (40, 4, 4))
    np.testing.assert_array_equal(level.read(Box((1, 0, 2), (3, 2, 5))), ARRAY[1:3, 0:2, 2:5])
    channels = Level(np.stack([ARRAY, ARRAY + 100]), (40, 4, 4))
    np.testing.assert_array_equal(channels.read(Box((1, 0, 2), (3, 2, 5)))[1], ARRAY[1:3, 0:2, 2:5] + 100)
    assert (level.channels, channels.channels, channels.shape) == (None, 2, (3, 4, 5))
    assert (channels.nbytes, channels.dtype) == (240, np.uint16)
    with pytest.raises(InputError, match="outside a level of shape"):
        level.read(Box((0, 0, 0), (4, 1, 1)))


@given(st.tuples(*[st.integers(-3, 2)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_read_padded_repeats_the_nearest_voxel(start, shape):
    box = Box(start, tuple(int(a + n) for a, n in zip(start, shape, strict=True)))
    level = Level(np.stack([ARRAY, ARRAY + 100]), (1, 1, 1))
    if box.clip(level.shape).size == 0:
        with pytest.raises(InputError, match="does not touch"):
            level.read_padded(box)
        return
    nearest = np.ix_(
        *(np.clip(range(a, b), 0, n - 1) for a, b, n in zip(box.start, box.stop, ARRAY.shape, strict=True))
    )
    np.testing.assert_array_equal(level.read_padded(box), np.stack([ARRAY[nearest], ARRAY[nearest] + 100]))


@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 3), min_size=1, max_size=5))
def test_world_and_voxels_are_inverse(points):
    level = Level(ARRAY, (40, 4, 4.5), (100, -20, 3))
    assert level.to_voxels(level.to_nm(points)) == pytest.approx(np.array(points), abs=1e-6)
    np.testing.assert_allclose(level.to_nm([[0, 0, 0], [1, 1, 2]]), [[100, -20, 3], [140, -16, 12]])


def test_box_in_another_level_of_unequal_factors():
    fine, coarse = Level(np.zeros((8, 64, 64)), (40, 4, 4)), Level(np.zeros((8, 16, 16)), (40, 16, 16))
    assert coarse.factor_to(fine) == (1, 4, 4)
    assert coarse.box_in(Box((1, 2, 3), (2, 4, 5)), fine) == Box((1, 8, 12), (2, 16, 20))
    assert fine.box_in(Box((1, 8, 12), (2, 16, 21)), coarse) == Box((1, 2, 3), (2, 4, 6))
    moved = Level(np.zeros((8, 16, 16)), (40, 16, 16), (0, 8, -16))
    assert moved.box_in(Box((0, 0, 1), (1, 1, 2)), fine) == Box((0, 2, 0), (1, 6, 4))
    assert fine.box_in(moved.box_in(Box((0, 0, 1), (1, 1, 2)), fine), moved) == Box((0, 0, 1), (1, 1, 2))


@given(st.tuples(*[st.sampled_from([1, 2, 3, 4])] * 3), st.floats(0.01, 1e4), st.tuples(*[st.integers(0, 10**6)] * 3))
def test_box_in_is_exact_for_whole_factors_at_any_size(factor, nm, start):
    fine = Level(np.zeros((1, 1, 1)), (nm, nm, nm))
    coarse = Level(np.zeros((1, 1, 1)), tuple(nm * f for f in factor))
    box = Box(start, tuple(a + 7 for a in start))
    assert coarse.box_in(box, fine) == box.rescale(factor)


def test_level_at_picks_the_nearest_size():
    volume = pyramid((40, 4, 4), (40, 8, 8), (40, 16, 16))
    assert volume.level_at((40, 8, 8)) is volume.levels[1]
    assert volume.level_at((40, 9, 9)) is volume.levels[1]
    assert volume.level_at((50, 4, 4)) is volume.levels[0]
    with pytest.raises(VoxelSizeError, match=r"voxels of 40x4x4, 40x8x8, 40x16x16 nm, the model needs 40x32x32 nm"):
        volume.level_at((40, 32, 32))
    assert volume.level_at((40, 32, 32), tolerance=1.0) is volume.levels[2]
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        pyramid((1, 1, 1), calibrated=False).level_at((1, 1, 1))


def test_refuses():
    with pytest.raises(InputError, match="a level is"):
        Level(np.zeros((2, 2)), (1, 1, 1))
    with pytest.raises(InputError, match="empty array"):
        Level(np.zeros((2, 0, 2)), (1, 1, 1))
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(VoxelSizeError, match="must be positive"):
            Level(ARRAY, (1, 1, bad))
    with pytest.raises(InputError, match="without levels"):
        Volume(())
    with pytest.raises(InputError, match="from finest to coarsest"):
        pyramid((2, 2, 2), (1, 1, 1))


def test_fingerprint_tells_sources_apart():
    one = Volume((Level(ARRAY, (1, 1, 1)),), source="a", metadata={"revision": "1"})
    other = Volume((Level(ARRAY, (1, 1, 1)),), source="a", metadata={"revision": "2"})
    assert one.fingerprint() == {
        "source": "a", "revision": "1", "shapes": [[3, 4, 5]], "voxel_nm": [[1, 1, 1]], "dtype": "uint16",
    }  # fmt: skip
    assert one.fingerprint() != other.fingerprint()


class Counted:
    """Lazy: counts the voxels it is asked for; those of the first block cannot be read where it is damaged."""

    def __init__(self, array, damaged=False):
        self.array, self.damaged, self.shape, self.dtype, self.voxels = array, damaged, array.shape, array.dtype, 0

    def __getitem__(self, index):
        if self.damaged and index[-3].start == 0:
            raise ChunkError("chunk (0, 0, 0) is damaged")
        self.voxels += self.array[index].size
        return self.array[index]


def test_volumes_in_memory_are_told_apart_by_their_voxels():
    array = np.zeros((20, 30, 40), np.uint16)
    other = array.copy()
    other[17, 20, 33] = 1
    one = Volume.from_array(array, (1, 1, 1)).fingerprint()
    assert Volume.from_array(array.copy(), (1, 1, 1)).fingerprint() == one
    lazy = Counted(array)
    volume = Volume.from_array(lazy, (1, 1, 1))
    assert volume.outline() == {key: value for key, value in one.items() if key != "content"}
    assert lazy.voxels == 0
    assert volume.fingerprint() == volume.fingerprint() == one
    assert lazy.voxels == array.size  # read once
    changed = Volume.from_array(other, (1, 1, 1)).fingerprint()
    assert {key for key in one if one[key] != changed[key]} == {"content"}
    damaged = Volume.from_array(Counted(array, damaged=True), (1, 1, 1)).fingerprint()
    assert damaged["content"] != one["content"]


def test_of_a_large_volume_spread_blocks_and_its_coarsest_level_are_read():
    fine = np.zeros((100, 100, 100), np.uint8)
    coarse = np.zeros((10, 100, 100), np.uint8)

    def digest(*arrays):
        levels = [Level(a, (100 / a.shape[0], 1, 1)) for a in arrays]
        return content_digest(levels, whole_bytes=coarse.nbytes)

    lazy = Counted(fine)
    reference = digest(lazy, coarse)
    assert lazy.voxels == 64 * 16**3
    for place in ((0, 0, 0), (99, 99, 99), (30, 30, 30)):
        changed = fine.copy()
        changed[place] = 1
        assert digest(changed, coarse) != reference
    assert digest(fine, coarse + (coarse == 0)) != reference
    assert digest(fine) == digest(fine, fine[:50]) != reference  # a coarsest level that is large is not read


def test_from_array_makes_2d_one_section():
    volume = Volume.from_array(np.zeros((6, 7)), (50, 4, 4), name="section", kind="labels")
    assert (volume.levels[0].shape, volume.levels[0].voxel_nm, volume.kind) == ((1, 6, 7), (50.0, 4.0, 4.0), "labels")
