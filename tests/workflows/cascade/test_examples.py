"""Labels and points as targets on any level: against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.training.examples import Examples, crop, from_labels, from_points, split_region

NM = (40.0, 20.0, 20.0)


def examples_of(mask, voxel_nm=NM, origin=(0.0, 0.0, 0.0), centres=None):
    target = Level(mask.astype(np.uint8) * 255, voxel_nm, origin)
    return Examples(target, np.array([[1.0, 1, 1]]) if centres is None else centres, 100.0)


def by_brute_force(examples, level):
    """A voxel holds an object if any labelled voxel lies in it, or if it lies in one."""
    target, box = np.asarray(examples.target.array), examples.region(level)
    out = np.zeros(box.shape, np.uint8)
    for index in np.ndindex(*box.shape):
        start = level.to_nm(np.array(index) + box.start)
        low = examples.target.to_voxels(start)
        high = examples.target.to_voxels(start + level.voxel_nm)
        part = tuple(slice(int(np.floor(a + 1e-3)), int(np.ceil(b - 1e-3))) for a, b in zip(low, high, strict=True))
        out[index] = 255 * (target[part] >= 128).any()
    return out


@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 4, 4), (3, 1, 2), (1, 0.5, 0.5), (0.5, 0.25, 2)]),
    st.tuples(*[st.integers(0, 3)] * 3),
    st.floats(0.01, 0.5),
    st.integers(0, 999),
)
def test_coarser_and_finer_targets_are_those_of_brute_force(shape, factor, shift, density, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    voxel = tuple(v * f for v, f in zip(NM, factor, strict=True))
    origin = tuple(float(s * v) for s, v in zip(shift, voxel, strict=True))  # the labels lie inside a larger volume
    examples = examples_of(mask, origin=origin)
    level = Level(np.zeros([s + 12 * 4 for s in shift], np.uint8), voxel)
    if examples.region(level).size == 0:
        with pytest.raises(InputError, match="check their scale and position"):
            examples.on(level)
        return
    target, box = examples.on(level)
    assert box.start == shift
    assert level.box.contains(box)
    np.testing.assert_array_equal(target, by_brute_force(examples, level))


def test_soft_targets_keep_their_values_and_coarsen_by_maximum():
    values = np.random.default_rng(0).integers(0, 255, (2, 4, 6)).astype(np.uint8)
    examples = Examples(Level(values, NM), np.array([[1.0, 1, 1]]), 100.0)
    same, _ = examples.on(Level(values, NM), soft=True)
    np.testing.assert_array_equal(same, values)
    coarse, box = examples.on(Level(np.zeros((2, 2, 3), np.uint8), (40.0, 40.0, 40.0)), soft=True)
    np.testing.assert_array_equal(coarse, values.reshape(2, 2, 2, 3, 2).max(axis=(2, 4)))
    assert box == Box((0, 0, 0), (2, 2, 3))
    hard, _ = examples.on(Level(values, NM))
    np.testing.assert_array_equal(hard, np.where(values >= 128, 255, 0))


def test_labels_elsewhere_are_refused():
    with pytest.raises(InputError, match=r"span .* check their scale and position"):
        examples_of(np.ones((4, 4, 4)), origin=(1e6, 0.0, 0.0)).on(Level(np.zeros((9, 9, 9)), NM))


def blobs():
    mask = np.zeros((6, 30, 40), np.uint16)
    mask[1:4, 3:9, 3:9] = 1
    mask[2:5, 20:26, 30:36] = 1
    return mask


def test_masks_are_split_into_their_parts_and_instances_are_not():
    mask = blobs()
    parts = from_labels(Volume.from_array(mask, NM, kind="labels"), "masks")
    np.testing.assert_array_equal(parts.target.array, np.where(mask, 255, 0))
    np.testing.assert_allclose(parts.centres_nm, [[100, 120, 120], [140, 460, 660]])
    voxels = 3 * 6 * 6
    assert parts.diameter_nm == pytest.approx((6 * voxels * 40 * 20 * 20 / np.pi) ** (1 / 3))
    touching = mask.copy()
    touching[1:4, 9:15, 3:9] = 7  # touches object 1
    instances = from_labels(Volume.from_array(touching, NM, kind="labels"), "masks")
    assert len(instances.centres_nm) == 2  # ids 1 (both blobs, as the labels say) and 7
    np.testing.assert_allclose(instances.centres_nm[1], [100, 240, 120])


def test_a_centre_lies_in_its_object_however_curved():
    mask = np.zeros((1, 21, 21), np.uint8)
    y, x = np.ogrid[:21, :21]
    mask[0] = (abs(np.hypot(y - 10, x - 10) - 8) < 1) & (x < 18)
    examples = from_labels(Volume.from_array(mask, NM), "masks")
    at = np.floor(examples.target.to_voxels(examples.centres_nm)).astype(int)
    assert len(at) == 1
    assert mask[tuple(at[0])]


def test_flat_labels_measure_areas():
    mask = np.zeros((1, 40, 40), np.uint8)
    y, x = np.ogrid[:40, :40]
    mask[0] = np.hypot(y - 20, x - 20) <= 10
    examples = from_labels(Volume.from_array(mask, (50.0, 4.0, 4.0)), "masks")
    assert examples.diameter_nm == pytest.approx(80, rel=0.03)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.uint8), "the labels are empty; paint at least a few"),
        (np.zeros((2, 3, 4), np.float32), "labels of type float32; labels must be integers"),
    ],
)
def test_unusable_labels_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        from_labels(Volume.from_array(array, NM), "masks")


def test_points_become_gaussians_of_a_quarter_diameter():
    like = Level(np.zeros((9, 40, 40), np.uint8), NM)
    centre = like.to_nm([4.5, 20.5, 10.5])
    examples = from_points(np.array([centre, [1e9, 0, 0]]), 320.0, like)
    target = np.asarray(examples.target.array)
    np.testing.assert_allclose(examples.centres_nm, [centre])
    assert target[4, 20, 10] == 255
    sigma = 80.0
    for step in ((0, 0, 3), (0, 2, 0), (1, 0, 0), (1, 1, 2)):
        r2 = ((np.array(step) * NM) ** 2).sum() / sigma**2
        assert target[4 + step[0], 20 + step[1], 10 + step[2]] == np.rint(255 * np.exp(-r2 / 2))
    np.testing.assert_array_equal(target, np.flip(target, 0))
    assert target[:, :, 25:].max() == 0


def test_even_a_tiny_object_reaches_one_at_its_centre():
    like = Level(np.zeros((3, 8, 8), np.uint8), NM)
    target = np.asarray(from_points(like.to_nm([[1.9, 3.05, 5.95]]), 8.0, like).target.array)
    assert np.argwhere(target >= 128).tolist() == [[1, 3, 5]]
    assert target.max() == 255


def test_points_elsewhere_are_refused():
    with pytest.raises(InputError, match="got 2 points, none inside the volume; check their units"):
        from_points(np.full((2, 3), 1e9), 100.0, Level(np.zeros((3, 8, 8), np.uint8), NM))


@given(st.integers(6, 60), st.floats(0.15, 0.5), st.integers(0, 99), st.sampled_from([(0, 0, 0), (80, 100, 100)]))
def test_train_and_measured_blocks_are_apart(n, validation, seed, gap_nm):
    rng = np.random.default_rng(seed)
    shape = (16, 60, 80)
    centres = rng.uniform(0, np.array(shape) * NM, (n, 3))
    examples = examples_of(np.zeros(shape), centres=centres)
    try:
        train, measured = split_region(examples, validation, gap_nm)
    except InputError as error:
        assert "cannot be split into two separate blocks" in str(error)  # noqa: PT017
        return
    assert not train.overlaps(measured)
    apart = [
        axis
        for axis in range(3)
        if train.stop[axis] <= measured.start[axis] or measured.stop[axis] <= train.start[axis]
    ]
    assert len(apart) == 1
    axis = apart[0]
    between = max(measured.start[axis] - train.stop[axis], train.start[axis] - measured.stop[axis])
    assert between * NM[axis] >= gap_nm[axis]
    at = examples.target.to_voxels(centres)
    for box in (train, measured):
        assert np.count_nonzero(((at >= box.start) & (at < box.stop)).all(axis=1)) >= 2
        assert examples.target.box.contains(box)


def test_too_few_objects_cannot_be_split():
    with pytest.raises(InputError, match=r"objects \(3\) cannot be split into two separate blocks"):
        split_region(examples_of(np.zeros((8, 40, 40)), centres=np.array([[1.0, 1, 1]] * 3)), 0.35, (0, 0, 0))


def test_crop_stays_in_its_place():
    level = Level(np.arange(4 * 6 * 8).reshape(4, 6, 8), NM, (100.0, 0.0, -5.0))
    part = crop(level, Box((1, 2, 3), (9, 4, 8)))
    np.testing.assert_array_equal(part.array, level.array[1:, 2:4, 3:])
    np.testing.assert_allclose(part.to_nm([0, 0, 0]), level.to_nm([1, 2, 3]))


@pytest.mark.parametrize("pixel", [0.5, 1.0, 3.0])
def test_the_thickness_of_single_sections_means_nothing(pixel):
    """A 2-D image gets the z size of its own y: labels with other pixels lie on it all the same."""
    mask = np.zeros((1, 24, 24), np.uint8)
    mask[0, 12:18, 12:18] = 255
    target = Level(mask, (pixel,) * 3, (-pixel / 2, -0.5, -0.5))
    examples = Examples(target, target.to_nm([[0.5, 15, 15]]), 6 * pixel)
    n = int(24 * pixel)
    level = Level(np.zeros((1, n, n), np.uint8), (1.0, 1.0, 1.0), (-0.5, -0.5, -0.5))
    found, box = examples.on(level)
    assert box == level.box
    assert found.sum() == 255 * (6 * pixel) ** 2
