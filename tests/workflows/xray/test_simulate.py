"""The X-ray forward model: each step does what its formula says, and a simulated volume lies where its EM lies."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.shared.degrade import Style
from napari_connecto.workflows.xray import physics as xray_physics
from napari_connecto.workflows.xray import simulate
from napari_connecto.workflows.xray.params import XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray

BARE = XrayParams(fwhm_nm=(0.0, 0.0, 0.0), edge_gain=1.0, photons=0.0, background=0.0, rings=0.0, stripes=0.0)
"""Nothing but density and the mean over X-ray voxels."""
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def em() -> Volume:
    """Neuropil of 40 x 8 x 8 nm."""
    return phantom("neuropil", (16, 192, 192), seed=1).image


def voxels(volume: Volume) -> np.ndarray:
    return np.asarray(volume.levels[0].array)


def test_density_is_linear_in_intensity_and_stain_is_dense():
    image = np.tile(np.arange(0, 256, dtype=np.uint8), (4, 4, 1))
    dark = xray_physics.density(image, "dark")
    np.testing.assert_allclose(dark[0, 0, [0, 255]], [1, 0])
    np.testing.assert_allclose(dark[0, 0, 128], 0.5, atol=0.005)
    np.testing.assert_allclose(xray_physics.density(image, "bright"), 1 - dark, atol=1e-6)


def test_a_point_becomes_a_gaussian_of_the_stated_width_along_each_axis_whatever_the_voxel():
    voxel, fwhm = (20.0, 10.0, 5.0), (100.0, 60.0, 40.0)
    point = np.zeros((40, 60, 80), np.float32)
    point[20, 30, 40] = 1
    seen = xray_physics.transferred(point, voxel, fwhm, 1.0, 40.0)
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    for axis, at in enumerate((20, 30, 40)):
        profile = seen.sum(axis=tuple(a for a in range(3) if a != axis))
        place = (np.arange(len(profile)) - at) * voxel[axis]
        assert np.sqrt((profile * place**2).sum()) == pytest.approx(fwhm[axis] / 2.3548, rel=0.01)


def test_propagation_raises_fine_waves_by_the_gain_and_leaves_the_mean():
    place = (np.arange(512) + 0.5) * 10.0  # nm; a wave of the cosine transform, so that edges do not matter
    for wavelength in (5120.0, 251.3, 20.48):
        n = round(2 * 5120 / wavelength)
        k = np.pi * n / 5120
        wave = np.cos(k * place)[None, None].astype(np.float32)
        expected = (1 + 1.5 * (40 * k) ** 2) / (1 + (40 * k) ** 2)
        seen = xray_physics.transferred(7 + wave, (10.0,) * 3, (0.0,) * 3, 1.5, 40.0)
        np.testing.assert_allclose(seen, 7 + expected * wave, atol=1e-3)


def test_the_length_is_paganins():
    # 17 keV, 20 mm, delta/beta 100: sqrt(0.0729 nm x 2e7 nm x 100 / 4 pi)
    assert xray_physics.paganin_length_nm(0.0729, 2e7, 100.0) == pytest.approx(3406.3, abs=0.1)


def test_cells_hold_the_mean_of_what_is_inside_also_where_they_cut_voxels():
    np.testing.assert_allclose(xray_physics.averaged(np.array([[[1.0, 2, 3, 4, 9]]]), (1, 1, 2)), [[[1.5, 3.5]]])
    cut = xray_physics.averaged(np.array([[[1.0, 2, 3, 4, 9]]]), (1, 1, 1.5))
    np.testing.assert_allclose(cut, [[[(1 + 1) / 1.5, (1 + 3) / 1.5, (4 + 4.5) / 1.5]]], rtol=1e-6)
    image = RNG(0).normal(size=(6, 10, 14))
    assert xray_physics.averaged(image, (1.2, 2.5, 3.5)).mean() == pytest.approx(image.mean(), abs=1e-6)


def test_counting_noise_has_the_variance_of_its_counts_and_no_bias():
    rho = np.full((40, 60, 60), 0.6)
    seen = xray_physics.counted(rho, 2000.0, 0.5, 10.0, RNG(0))
    mean = 2000 * np.exp(-0.3)
    assert seen.mean() == pytest.approx(0.6, abs=0.003)
    assert seen.std() == pytest.approx(np.sqrt(mean + 100) / mean / 0.5, rel=0.02)


def test_rings_are_constant_around_the_axis_and_new_in_every_section():
    field = xray_physics.rings((60, 41, 41), (20.5, 20.5), RNG(0))
    for y, x in ((20, 28), (12, 20), (20, 12)):
        np.testing.assert_array_equal(field[:, y, x], field[:, 28, 20])
    assert field.std() == pytest.approx(1, rel=0.1)
    assert abs(np.corrcoef(field[:, 28, 20], field[:, 30, 20])[0, 1]) < 0.4


def test_stripes_are_straight_and_of_unit_size():
    field = xray_physics.stripes((40, 64, 64), RNG(1))
    assert field.std() == pytest.approx(1, rel=0.1)
    spectrum = np.abs(np.fft.fft2(field)) ** 2
    share = np.sort(spectrum.mean(0).ravel())[::-1]
    assert share[: share.size // 12].sum() > 0.6 * share.sum()  # on three lines of frequencies


def test_the_background_is_a_quadratic_of_mean_zero():
    field = xray_physics.background((8, 20, 30), RNG(3))
    assert field.mean() == pytest.approx(0, abs=1e-9)
    assert np.abs(field).max() == pytest.approx(1)
    np.testing.assert_allclose(np.diff(field, 3, axis=2), 0, atol=1e-9)
    assert np.ptp(xray_physics.background((1, 20, 30), RNG(3))) > 0.5


def test_without_blur_and_noise_it_is_the_mean_of_the_em_at_the_place_of_the_em(em):
    base = em.levels[0]
    moved = replace(em, levels=(replace(base, origin_nm=(400.0, -80.0, 16.0)),))
    made = simulate_xray(moved, replace(BARE, voxel_nm=(80.0, 24.0, 24.0)), region=Box((2, 3, 0), (16, 192, 192)))
    level = made.levels[0]
    assert level.voxel_nm == (80.0, 24.0, 24.0)
    assert level.origin_nm == (480.0, -56.0, 16.0)
    assert level.shape == (7, 63, 64)
    means = voxels(em)[2:, 3:].reshape(7, 2, 63, 3, 64, 3).mean((1, 3, 5))
    assert np.corrcoef(means.ravel(), level.array.ravel())[0, 1] > 0.998
    whole = simulate_xray(moved, replace(BARE, voxel_nm=(80.0, 24.0, 24.0)))
    np.testing.assert_allclose(level.array, voxels(whole)[1:, 1:].astype(int), atol=4)  # percentiles differ a little


def test_defaults_keep_anisotropic_voxels_and_say_what_they_are(em):
    made = simulate_xray(em)
    assert made.levels[0].voxel_nm == (40.0, 30.0, 30.0)
    assert made.levels[0].shape == (16, 51, 51)
    assert made.name == "X-ray (simulated from neuropil)"
    assert made.metadata["simulated_from"] == "neuropil"
    told = json.loads(json.dumps(made.metadata["simulated"]))
    assert told["voxel_nm"] == [40.0, 30.0, 30.0]
    assert told["photons"] == 2000
    assert voxels(made).dtype == np.uint8
    assert (voxels(made).min(), voxels(made).max()) == (0, 255)
    deep = simulate_xray(em, XrayParams(dtype="uint16"))
    assert voxels(deep).dtype == np.uint16
    np.testing.assert_allclose(voxels(deep) / 257, voxels(made), atol=0.51)


def test_the_seed_decides_and_one_part_does_not_move_another(em):
    first, again, other = (voxels(simulate_xray(em, XrayParams(seed=s))) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    quiet = simulate_xray(em, replace(BARE, rings=0.3, dtype="uint16"))
    more = simulate_xray(em, replace(BARE, rings=0.3, stripes=1e-4, dtype="uint16"))
    assert np.corrcoef(voxels(quiet).ravel(), voxels(more).ravel())[0, 1] > 0.999


def test_stain_can_be_turned_on_either_side(em):
    dark = voxels(simulate_xray(em, BARE)).astype(int)
    np.testing.assert_allclose(voxels(simulate_xray(em, replace(BARE, xray_stain="bright"))), 255 - dark, atol=1)
    np.testing.assert_allclose(voxels(simulate_xray(em, replace(BARE, em_stain="bright"))), 255 - dark, atol=1)


def test_the_look_of_a_given_volume_is_taken_over(em):
    other = phantom("neuropil", (16, 192, 192), seed=5).image
    real = simulate_xray(other, XrayParams(fwhm_nm=(90.0,) * 3, photons=800.0, background=0.0, dtype="uint16", seed=9))
    made = simulate_xray(em, replace(BARE, fwhm_nm=(60.0,) * 3), like=real)
    assert voxels(made).dtype == np.uint16
    assert made.metadata["simulated"]["like"] == real.name
    style, plain, wanted = (
        Style.of([voxels(v)]) for v in (made, simulate_xray(em, replace(BARE, dtype="uint16")), real)
    )
    np.testing.assert_allclose(style.quantiles, wanted.quantiles, rtol=0.01, atol=50)
    assert style.noise == pytest.approx(wanted.noise, rel=0.2)
    assert plain.noise < 0.5 * wanted.noise


def test_bad_input_is_one_line(em, monkeypatch):
    level = em.levels[0]
    with pytest.raises(VoxelSizeError, match="states no voxel size; give it in nm"):
        simulate_xray(replace(em, calibrated=False))
    with pytest.raises(VoxelSizeError, match="finer than the EM's 40 x 8 x 8 nm; give at least those"):
        simulate_xray(em, XrayParams(voxel_nm=(30.0, 30.0, 30.0)))
    with pytest.raises(InputError, match="has 2 channels; open the one"):
        simulate_xray(Volume((Level(np.stack([level.array] * 2), level.voxel_nm),)))
    with pytest.raises(InputError, match="got 1 EM voxels without a finite value"):
        simulate_xray(
            Volume((Level(np.where(np.arange(level.array.size).reshape(level.shape), 1.0, np.nan), level.voxel_nm),))
        )
    with pytest.raises(InputError, match="of one value, 3"):
        simulate_xray(Volume((Level(np.full((8, 64, 64), 3), level.voxel_nm),)))
    with pytest.raises(InputError, match="outside of 'neuropil'"):
        simulate_xray(em, region=Box((90, 0, 0), (99, 9, 9)))
    with pytest.raises(InputError, match="smaller than one X-ray voxel of 900 x 30 x 30 nm"):
        simulate_xray(em, XrayParams(voxel_nm=(900.0, 30.0, 30.0)))
    with pytest.raises(VoxelSizeError, match="cannot take the style of 'neuropil'"):
        simulate_xray(em, like=em)
    with pytest.raises(InputError, match="got photons=-1"):
        XrayParams(photons=-1)
    monkeypatch.setattr(simulate, "free_memory", lambda: 1000)
    with pytest.raises(InputError, match="GB are free; give a smaller region"):
        simulate_xray(em)
