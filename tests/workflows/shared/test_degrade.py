"""Degrading one style to another: blur, noise and histogram that are known are found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.shared.degrade import (
    BINS,
    CENTRES,
    LEVELS,
    Style,
    blurring,
    coloured,
    degrade,
    degrade_all,
    filtered,
    missing_noise,
    remapped,
)

CASES = [(1.0, 12.0, 0.5), (1.5, 8.0, 1.0), (2.0, 5.0, 2.0)]
"""Sigma of blur in voxels, noise before the contrast changes, contrast."""


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    """Neuropil almost without noise of its own."""
    image = np.asarray(phantom("neuropil", (24, 256, 256), seed=1).image.levels[0].array, np.float64)
    return gaussian_filter(image, (0, 0.7, 0.7))


def worn(image: np.ndarray, sigma: float, noise: float, contrast: float, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return contrast * (gaussian_filter(image, (0, sigma, sigma)) + rng.normal(0, noise, image.shape)) + 20


@pytest.mark.parametrize(("sigma", "noise", "contrast"), CASES)
def test_a_sharp_image_degraded_has_spectrum_noise_and_histogram_of_the_worn_one(sharp, sigma, noise, contrast):
    source, target = Style.of([sharp[:12]]), Style.of([worn(sharp[12:], sigma, noise, contrast)])
    got = Style.of([degrade(sharp[:12], source, target, seed=0)])
    np.testing.assert_allclose(got.power, target.power, rtol=0.25)  # 12 % in amplitude, in every ring
    assert target.noise == pytest.approx(noise * contrast, rel=0.03)
    assert got.noise == pytest.approx(noise * contrast, rel=0.1)
    np.testing.assert_allclose(got.quantiles, target.quantiles, atol=0.02)


@pytest.mark.parametrize(("sigma", "noise", "contrast"), CASES)
def test_the_blur_that_is_found_is_the_one_that_was_made(sharp, sigma, noise, contrast):
    found = blurring(Style.of([sharp[:12]]), Style.of([worn(sharp[12:], sigma, noise, contrast)]))
    made = np.exp(-2 * np.pi**2 * sigma**2 * CENTRES**2)
    np.testing.assert_allclose(found[made > 0.35], made[made > 0.35], atol=0.09)
    assert (found[made < 0.1] < 0.35).all()  # under the noise, where little can be known
    assert (np.diff(found) <= 1e-12).all()


def test_equal_styles_change_nothing_whatever_part_of_the_image_is_degraded(sharp):
    style = Style.of([sharp])
    for part in (sharp, sharp[3], sharp[5:7, :100, 20:90]):
        np.testing.assert_array_equal(degrade(part, style, style, seed=1), part)


def test_nothing_is_sharpened_and_too_much_noise_stays(sharp):
    blurred = worn(sharp, 2.0, 6.0, 1.0)
    source, target = Style.of([blurred]), Style.of([sharp])
    assert missing_noise(source, target).mean() < 0.2 * target.noise**2  # the source has 80 times that
    np.testing.assert_allclose(blurring(source, target), 1, atol=0.01)
    got = Style.of([degrade(blurred, source, target, seed=0)])
    assert got.noise == pytest.approx(source.noise, rel=0.05)  # at about the same contrast
    halfway = Style.of([worn(sharp, 1.2, 6.0, 1.0)])
    assert (Style.of([filtered(blurred, blurring(source, halfway))]).power <= 1.01 * source.power).all()
    np.testing.assert_allclose(got.quantiles, target.quantiles, atol=0.02)


def test_the_seed_decides_the_noise(sharp):
    source, target = Style.of([sharp]), Style.of([worn(sharp, 1.0, 10.0, 1.0)])
    first, again, other = (degrade(sharp[:2], source, target, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef((first - sharp[:2]).ravel(), (other - sharp[:2]).ravel())[0, 1] < 0.7
    assert first.dtype == np.float64


def test_patches_of_several_shapes_share_one_map_of_intensities(sharp):
    source, target = Style.of([sharp]), Style.of([3 * sharp + 7])
    flat, stack = degrade_all([sharp[0], sharp[1:3, :64]], source, target)
    np.testing.assert_allclose(flat, 3 * sharp[0] + 7, rtol=1e-5)
    np.testing.assert_allclose(stack, 3 * sharp[1:3, :64] + 7, rtol=1e-5)


def test_white_noise_has_its_variance_in_every_ring_and_coloured_noise_its_power():
    white = np.random.default_rng(0).normal(0, 1, (16, 128, 128))
    style = Style.of([5 * white])
    np.testing.assert_allclose(style.power[2:], 25, rtol=0.12)  # the mean is taken off the first two
    assert style.noise == pytest.approx(5, rel=0.02)
    np.testing.assert_allclose(coloured(white, np.full(BINS, 9.0)), 3 * white, atol=1e-9)
    falling = 4 * np.exp(-8 * CENTRES)
    np.testing.assert_allclose(Style.of([coloured(white, falling)]).power[2:], falling[2:], rtol=0.15)


def test_a_filter_keeps_the_mean_and_scales_a_wave_by_the_amplitude_at_its_frequency():
    wave = np.cos(np.pi * (np.arange(64) + 0.5) * 16 / 64)[None, :] * np.ones((32, 1))  # 1/8 cycle per voxel
    halved = filtered(10 + wave, np.interp(CENTRES, [0.1, 0.15], [1.0, 0.0]))
    np.testing.assert_allclose(halved, 10 + 0.5 * wave, atol=0.01)
    along_z = filtered(np.moveaxis(10 + wave[None], -1, 0), np.interp(CENTRES, [0.1, 0.15], [1.0, 0.0]), axes=(0,))
    np.testing.assert_allclose(np.moveaxis(along_z, 0, -1)[0], halved, atol=1e-9)


def test_quantiles_are_mapped_and_what_lies_beyond_goes_on_straight():
    got = remapped(np.array([-1.0, 0.0, 0.5, 1.0, 3.0]), np.array([0.0, 0.5, 1.0]), np.array([10.0, 11.0, 14.0]))
    np.testing.assert_allclose(got, [6.0, 10.0, 11.0, 14.0, 22.0])
    np.testing.assert_allclose(remapped(np.array([2.0, 2.0]), np.array([2.0, 2.0]), np.array([5.0, 6.0])), [5.0, 5.0])


def test_the_style_of_a_level_comes_from_its_tissue(sharp):
    padded = np.concatenate([np.zeros_like(sharp), sharp], axis=2)
    found, known = Style.of_level(Level(padded, (40.0, 8.0, 8.0)), patches=24, size=128), Style.of([sharp])
    np.testing.assert_allclose(found.quantiles[10:-10], known.quantiles[10:-10], rtol=0.1)
    assert len(found.quantiles) == len(LEVELS)


def test_bad_input_is_one_line(sharp):
    with pytest.raises(InputError, match="at least 16 along y, x"):
        Style.of([np.zeros((8, 8))])
    with pytest.raises(InputError, match="NaN or infinite"):
        Style.of([np.full((32, 32), np.nan)])
    with pytest.raises(InputError, match="give at least one"):
        Style.of([])
    with pytest.raises(InputError, match="no coarse structure"):
        degrade(sharp, Style.of([sharp]), Style.of([np.zeros((32, 32))]))
    with pytest.raises(InputError, match="with tissue"):
        Style.of_level(Level(np.zeros((4, 256, 256)), (40.0, 8.0, 8.0)))
