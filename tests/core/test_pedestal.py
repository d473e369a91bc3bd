"""An image plus a constant, in a type that holds both, is the same image to everything that scales values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Normalisation, Scaling
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.views.pedestal import above, moments, percentiles
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.pyramid import downsample
from napari_connecto.workflows.adapt.annotate.suggest import _thumbnail
from napari_connecto.workflows.shared.degrade import Style, degrade
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.xray.align import Masked, banded, sampled
from napari_connecto.workflows.xray.physics import density

NM = (40.0, 8.0, 8.0)
PEDESTALS = [
    ("u2", 60_000), ("i2", -32_768), ("u4", 4_000_000_000), ("i4", -2_000_000_000), ("i8", 2**61 + 7),
    ("i8", -(2**62)), ("u8", 2**63 + 12_345), ("f4", 2**22), ("f8", 1e12), ("f8", -1e12), (">u4", 4_000_000_000),
    (">u8", 2**63), (">f8", 1e12),
]  # fmt: skip
EXACT = [case for case in PEDESTALS if np.dtype(case[0]).itemsize < 8 or np.dtype(case[0]).kind == "f"]
"""Those of which interpolated values fit into float64."""
KINDS = [Normalisation("percentile", 1.0, 99.0), Normalisation("percentile", 0.37, 99.61), Normalisation("standard")]


def image(seed=0, shape=(6, 64, 64)):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), (0.5, 2, 2))
    return np.rint((smooth - smooth.min()) / np.ptp(smooth) * 255).astype("u1")


def raised(array, dtype, pedestal):
    own = np.dtype(dtype)
    return array.astype(own) + np.array(pedestal, own.newbyteorder("=")).astype(own)


def volume(array):
    return Volume((Level(array, NM),))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("dtype", "pedestal"), PEDESTALS)
def test_every_normalisation_gives_the_same_values(kind, dtype, pedestal):
    plain, above_it = image(), raised(image(), dtype, pedestal)
    expected = kind.resolve(volume(plain))(plain)
    np.testing.assert_allclose(kind.resolve(volume(above_it))(above_it), expected, atol=2e-6)
    turned, opposite = inverted(volume(above_it)), inverted(volume(plain))
    again = [kind.resolve(v)(v.levels[0].read(v.levels[0].box)) for v in (turned, opposite)]
    np.testing.assert_allclose(*again, atol=2e-6)


@pytest.mark.parametrize(("dtype", "pedestal"), EXACT)
def test_so_does_an_image_that_is_resampled(dtype, pedestal):
    kind, found = KINDS[0], []
    for array in (image(), raised(image(), dtype, pedestal)):
        other = resampled(Level(array, NM), (40.0, 6.5, 11.0))
        found.append(kind.resolve(volume(array))(other.read(Box((1, 3, 2), (5, 70, 40)))))
    np.testing.assert_allclose(*found, atol=5e-5)  # of 16 bits, interpolated in float32


@pytest.mark.parametrize(("dtype", "pedestal"), [case for case in PEDESTALS if case[0] != "f4"])
def test_so_does_a_coarser_level(dtype, pedestal):
    coarse = downsample(image(), (1, 2, 2), "image")
    found = downsample(raised(image(), dtype, pedestal), (1, 2, 2), "image")
    if np.dtype(dtype).kind == "f":
        assert np.abs(above(found, pedestal) - downsample(image().astype(float), (1, 2, 2), "image")).max() < 1e-3
    else:
        np.testing.assert_array_equal(found, raised(coarse, dtype, pedestal))


@pytest.mark.parametrize(("dtype", "pedestal"), EXACT)
def test_so_do_patches_thumbnails_styles_and_what_is_aligned(dtype, pedestal):
    plain, above_it = image(), raised(image(), dtype, pedestal)
    drawn = [candidates(Level(a, NM), (1, 32, 32), 5).boxes for a in (plain, above_it)]
    assert drawn[0] == drawn[1] != ()
    np.testing.assert_array_equal(_thumbnail(plain), _thumbnail(above_it))
    styles = [Style.of([a]) for a in (plain, above_it)]
    np.testing.assert_allclose(styles[0].power, styles[1].power, rtol=1e-4, atol=1e-4)
    blurred = ndimage.gaussian_filter(plain.astype(float), (0, 1, 1))
    worn = [degrade(blurred, Style.of([blurred]), style) - style.quantiles[0] for style in styles]
    np.testing.assert_allclose(*worn, atol=1e-2)
    np.testing.assert_allclose(*(density(a, "dark") for a in (plain, above_it)), atol=2e-6)
    shift = np.eye(4)
    shift[1, 3] = 3.7
    moved = [banded(sampled(Masked.of(Level(a, NM)), Level(plain, NM), shift)) for a in (plain, above_it)]
    np.testing.assert_allclose(*moved, atol=1e-4)


def test_a_mask_is_an_image_of_0_and_1():
    mask = image() > 128
    ones = mask.astype("u1")
    for kind in KINDS:
        np.testing.assert_array_equal(kind.resolve(volume(mask))(mask), kind.resolve(volume(ones))(ones))
    turned = inverted(volume(mask)).levels[0]
    np.testing.assert_array_equal(turned.read(turned.box), ~mask)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", "f4", "f8"])
def test_percentiles_and_moments_are_numpys(dtype):
    values = image(3).astype(dtype)
    base, found = percentiles(values, [0, 0.5, 12.3, 50, 99.9, 100])
    np.testing.assert_allclose(
        base + np.array(found), np.percentile(values.astype(float), [0, 0.5, 12.3, 50, 99.9, 100])
    )
    base, mean, deviation = moments(values)
    np.testing.assert_allclose((base + mean, deviation), (values.mean(dtype=float), values.std(dtype=float)))
    assert percentiles(values[:1, :1, :1], [1, 99])[1] == [0, 0]


def test_64_bit_integers_of_the_whole_range_are_told_apart():
    ends = np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], "u8")
    np.testing.assert_array_equal(above(ends, 2**63), [-(2.0**63), 1 - 2.0**63, -1, 0, 2.0**63 - 1])
    signed = np.array([-(2**63), -1, 0, 2**63 - 1], "i8")
    np.testing.assert_array_equal(above(signed, -(2**63)), [0, 2.0**63 - 1, 2.0**63, 2.0**64 - 1])
    scaling = Normalisation("range").resolve(volume(signed.reshape(1, 2, 2)))
    np.testing.assert_allclose(scaling(signed), [0, 0.5, 0.5, 1])
    assert Scaling(offset=1.0, scale=2.0) == Scaling(1.0, 2.0)  # as folders of before say it
