"""Known shifts and affine maps between X-ray and EM are found again; what is no pair is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.xray import pair_input
from napari_connecto.workflows.xray.align import BlockShift, Masked, banded, correlation, fitted, sampled, shifted
from napari_connecto.workflows.xray.pair import Pair, pair_volumes
from napari_connecto.workflows.xray.params import PairParams, XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray

XRAY_NM = 30.0


@pytest.fixture(scope="module")
def em() -> Volume:
    """1.2 um of neuropil, 10 nm."""
    return phantom("neuropil-isotropic", (96, 120, 120), seed=21).image


@pytest.fixture(scope="module")
def xray(em) -> Volume:
    """As it is by default: blurred, noisy, with rings."""
    return simulate_xray(em, XrayParams(seed=3))


def at(volume: Volume, origin_nm: tuple[float, float, float]) -> Volume:
    """The same voxels, said to lie elsewhere."""
    return Volume(tuple(replace(level, origin_nm=origin_nm) for level in volume.levels), name=volume.name)


def of(array: np.ndarray, like: Volume) -> Volume:
    return Volume((replace(like.levels[0], array=array),), name=like.name)


def bent(volume: Volume, affine: np.ndarray) -> Volume:
    """The volume as it looks where ``affine`` would lay it back in place; NaN where nothing was seen."""
    level = volume.levels[0]
    seen = sampled(Masked.of(level), level, np.linalg.inv(affine))
    return of(np.where(seen.valid, seen.level.array, np.nan), volume)


def turned(centre: np.ndarray, degrees: float, stretch: tuple[float, float, float], move: tuple) -> np.ndarray:
    affine = np.eye(4)
    axis = np.array([1.0, -0.6, 0.5]) / np.linalg.norm([1.0, -0.6, 0.5])
    affine[:3, :3] = Rotation.from_rotvec(axis * np.radians(degrees)).as_matrix() @ np.diag(stretch)
    affine[:3, 3] = centre + move - affine[:3, :3] @ centre
    return affine


def furthest(pair: Pair, affine: np.ndarray) -> float:
    """The largest error in nm over the corners of the common grid."""
    corners = pair.em.to_nm(np.array(list(np.ndindex(2, 2, 2))) * pair.em.shape)
    ones = np.ones((8, 1))
    found = np.hstack([corners, ones]) @ np.linalg.inv(affine).T @ pair.affine.T
    return float(np.linalg.norm(found[:, :3] - corners, axis=1).max())


def test_a_pair_in_place_stays_and_lies_on_one_grid(xray, em):
    pair = pair_volumes(xray, em)
    assert furthest(pair, np.eye(4)) < 0.1 * XRAY_NM
    for level in (pair.xray, pair.em):
        assert (level.shape, level.voxel_nm, level.origin_nm) == ((96, 120, 120), (10.0,) * 3, (0.0,) * 3)
    assert pair.valid.all()
    assert pair.xray.array.dtype == np.float32
    np.testing.assert_array_equal(pair.em.array, em.levels[0].array)
    middles = pair.xray.array[1::3, 1::3, 1::3]  # X-ray voxels' centres
    inner = (slice(2, -2),) * 3
    assert np.corrcoef(middles[inner].ravel(), xray.levels[0].array[inner].ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("move", "inverted"), [((100.0, -230.0, 57.0), False), ((-15.0, 8.0, 301.0), True)])
def test_a_shift_is_found_to_a_tenth_of_an_x_ray_voxel_whatever_the_sign_of_contrast(xray, em, move, inverted):
    array = xray.levels[0].array
    wrong = at(of(255 - array if inverted else array, xray), tuple(-m for m in move))
    pair = pair_volumes(wrong, em)
    np.testing.assert_allclose(pair.shift_nm, move, atol=0.1 * XRAY_NM)
    assert furthest(pair, shifted(np.array(move))) < 0.15 * XRAY_NM
    assert (pair.correlation < -0.8) if inverted else (pair.correlation > 0.8)
    assert np.median(pair.off_nm) < 0.1 * XRAY_NM
    assert len(pair.blocks) == len(pair.residual_nm) > 10


def test_turns_and_stretches_along_each_axis_are_found(xray, em):
    level = em.levels[0]
    affine = turned(level.to_nm(level.box.centre), 2.0, (1.015, 0.985, 1.0), (35.0, -50.0, 20.0))
    pair = pair_volumes(bent(xray, affine), em, PairParams(most_bad=0.5))
    assert furthest(pair, affine) < 0.2 * XRAY_NM
    assert 0.6 < pair.valid.mean() < 0.99
    assert np.isfinite(pair.xray.array).all()
    unbent = pair_volumes(bent(xray, affine), em, PairParams(most_bad=0.5, affine=False))
    assert furthest(unbent, affine) > 0.5 * XRAY_NM
    assert np.median(unbent.off_nm) > 2 * np.median(pair.off_nm)


def test_missing_sections_are_bridged_and_not_valid(xray, em):
    """A fifth of the sections, in runs of one to three, moved the map by two X-ray voxels when they counted."""
    rng, array = np.random.default_rng(0), em.levels[0].array.copy()
    missing = np.zeros(len(array), bool)
    while missing.mean() < 0.2:
        at_ = int(rng.integers(len(array)))
        missing[at_ : at_ + int(rng.integers(1, 4))] = True
    array[missing] = 0
    affine = turned(em.levels[0].to_nm(em.levels[0].box.centre), 0.0, (0.97, 0.97, 0.97), (35.0, -50.0, 20.0))
    pair = pair_volumes(bent(xray, affine), of(array, em), PairParams(most_bad=0.5))
    assert furthest(pair, affine) < 0.6 * XRAY_NM
    lost = (np.asarray(pair.em.array) == 0).all(axis=(1, 2))
    assert lost.sum() > 10
    assert not pair.valid[lost].any()
    assert pair.valid[~lost].mean() > 0.5
    level, found = pair_input.bridged(Level(array, (10.0,) * 3))
    np.testing.assert_array_equal(found, missing)
    assert level.array[missing].std() > 10


def test_em_in_thick_sections_and_x_ray_of_other_voxels_are_paired():
    em = phantom("neuropil", (28, 160, 160), seed=4).image
    xray = at(simulate_xray(em, XrayParams(voxel_nm=(48.0, 32.0, 24.0))), (-60.0, 35.0, -44.0))
    pair = pair_volumes(xray, em)
    np.testing.assert_allclose(pair.shift_nm, (60.0, -35.0, 44.0), atol=6)
    assert pair.em.voxel_nm == (40.0, 8.0, 8.0)


def test_a_small_em_in_a_large_x_ray_is_read_where_it_lies_and_masks_what_is_not_finite(xray, em):
    box = Box((24, 30, 36), (84, 102, 114))
    inner = Level(em.levels[0].read(box).astype(float), (10.0,) * 3, (240.0, 300.0, 360.0))
    inner.array[:6, :6, :6] = np.nan
    pair = pair_volumes(at(xray, (20.0, -10.0, 0.0)), Volume((inner,), name="inner"))
    np.testing.assert_allclose(pair.shift_nm, (-20.0, 10.0, 0.0), atol=0.1 * XRAY_NM)
    assert pair.em.origin_nm == (240.0, 300.0, 360.0)
    assert pair.valid.sum() == 60 * 72 * 78 - 216


def test_a_coarser_level_can_be_the_grid(xray, em):
    fine = em.levels[0]
    coarse = Level(fine.array.reshape(48, 2, 60, 2, 60, 2).mean((1, 3, 5)).astype(fine.dtype), (20.0,) * 3)
    pair = pair_volumes(xray, Volume((fine, coarse)), PairParams(voxel_nm=(20.0, 20.0, 20.0)))
    assert pair.em.shape == (48, 60, 60)
    assert furthest(pair, np.eye(4)) < 0.15 * XRAY_NM


def test_what_was_found_is_said_in_words(xray, em):
    grid, moved, left, alike = pair_volumes(at(of(255 - xray.levels[0].array, xray), (30.0, 0.0, 0.0)), em).lines()
    assert grid == "common grid: 96 x 120 x 120 voxels of 10 x 10 x 10 nm, 100.0 % valid"
    assert moved.startswith(("X-ray moved by z y x -30.", "X-ray moved by z y x -29."))
    assert left.startswith("residual in 27 blocks: median ")
    assert alike.endswith("contrast is inverted")


def test_blocks_with_one_outlier_give_the_map_of_the_others():
    centres = np.array(list(np.ndindex(3, 3, 3))) * 500.0
    shifts = (centres - 500) @ np.diag([0.01, -0.02, 0.0]) + [5.0, 0.0, -8.0]
    shifts[13] = [300.0, 300.0, 300.0]
    blocks = [BlockShift(Box.of((1, 1, 1)), c, s, 1.0) for c, s in zip(centres, shifts, strict=True)]
    found = fitted(blocks, (30.0, 30.0, 30.0), affine=True)
    np.testing.assert_allclose(np.diag(found), [1.01, 0.98, 1, 1], atol=0.002)
    np.testing.assert_allclose((found @ [500.0, 500.0, 500.0, 1.0])[:3] - 500, [5.0, 0.0, -8.0], atol=1.0)


def test_other_tissue_is_refused_and_how_far_it_is_off_is_said(xray):
    other = phantom("neuropil-isotropic", (96, 120, 120), seed=22).image
    with pytest.raises(InputError, match=r"cannot align.*shift \d+ nm"):
        pair_volumes(xray, other)


def test_what_chance_gives_is_the_root_mean_square_over_shifts():
    one, other = (Masked.of(Level(np.random.default_rng(k).normal(size=(12, 10, 9)), (1.0,) * 3)) for k in (0, 1))
    alike, chance = correlation(one, other)
    bands = [banded(part) for part in (one, other)]
    size = np.sqrt((bands[0] ** 2).sum() * (bands[1] ** 2).sum())
    shifts = np.ndindex(12, 10, 9)
    each = np.array([(bands[0] * np.roll(bands[1], s, (0, 1, 2))).sum() / size for s in shifts])
    assert alike == pytest.approx(each[0])
    assert chance == pytest.approx(np.sqrt((each**2).mean()))


def test_bad_input_is_one_line(xray, em, monkeypatch):
    array = xray.levels[0].array.astype(float)
    with pytest.raises(InputError, match=r"z y x 5000 to 5960, .*: they are 4040 nm apart; correct the origin"):
        pair_volumes(at(xray, (5000.0, 0.0, 0.0)), em)
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        pair_volumes(xray, replace(em, calibrated=False))
    with pytest.raises(VoxelSizeError, match="X-ray voxels of 10 x 10 x 10 nm, finer than the EM's 30 x 30 x 30"):
        pair_volumes(em, xray)
    with pytest.raises(InputError, match="has 2 channels; open the one that is the X-ray"):
        pair_volumes(of(np.stack([array, array]), xray), em)
    with pytest.raises(InputError, match="no finite value in 50 % of its voxels, more than the allowed 20 %"):
        pair_volumes(of(np.where(np.arange(32)[:, None, None] < 16, np.nan, array), xray), em)
    late = Volume((Level(array[:, :, 10:], (30.0,) * 3, (0.0, 0.0, 300.0)),))
    part = Volume((Level(em.levels[0].array[:, :, :90], (10.0,) * 3),))
    with pytest.raises(InputError, match=r"share \d+.\d % of the smaller one, at least 90 %"):
        pair_volumes(late, part, PairParams(least_overlap=0.9))
    monkeypatch.setattr(pair_input, "free_memory", lambda: 10)
    with pytest.raises(InputError, match="GB are free; choose a coarser level"):
        pair_volumes(xray, em)


@pytest.mark.real
@pytest.mark.slow
def test_x_ray_simulated_from_real_em_is_laid_back(real_data):
    em = open_volume(real_data / "flyem_medulla/image.tif", voxel_nm=(10, 10, 10))
    xray = simulate_xray(em)
    move = (-70.0, 120.0, 44.0)
    pair = pair_volumes(at(xray, tuple(-m for m in move)), em)
    assert furthest(pair, shifted(np.array(move))) < 0.2 * XRAY_NM
    level = em.levels[0]
    affine = turned(level.to_nm(level.box.centre), 1.5, (1.01, 0.99, 1.0), (20.0, 10.0, -30.0))
    pair = pair_volumes(bent(xray, affine), em)
    assert furthest(pair, affine) < 0.25 * XRAY_NM
