"""Synthetic volumes: the same for the same seed, and true to their truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import InputError
from napari_connecto.phantoms import phantom

SHAPES = {"cells": (16, 128, 128), "neuropil": (12, 128, 128), "neuropil-isotropic": (64, 72, 72)}
NEUROPILS = pytest.mark.parametrize("name", ["neuropil", "neuropil-isotropic"])
MADE = {}


def made(name, seed=0):
    if (name, seed) not in MADE:
        MADE[name, seed] = phantom(name, SHAPES[name], seed)
    return MADE[name, seed]


def voxels(volume):
    return np.asarray(volume.levels[0].array)


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_seed_makes_the_same_voxels(name):
    again = phantom(name, SHAPES[name], 0)
    np.testing.assert_array_equal(voxels(made(name).image), voxels(again.image))
    for truth, volume in again.truth.items():
        np.testing.assert_array_equal(voxels(made(name).truth[truth]), voxels(volume))
    assert (voxels(made(name, 1).image) != voxels(again.image)).mean() > 0.5
    assert made(name).image.fingerprint() == again.image.fingerprint() != made(name, 1).image.fingerprint()


@pytest.mark.parametrize(
    ("name", "voxel_nm", "truths"),
    [
        ("cells", (2000, 1000, 1000), ["cells"]),
        ("neuropil", (40, 8, 8), ["neurons", "mitochondria"]),
        ("neuropil-isotropic", (10, 10, 10), ["neurons", "mitochondria"]),
    ],
)
def test_it_says_what_it_is(name, voxel_nm, truths):
    made_here = made(name)
    assert made_here.image.levels[0].voxel_nm == voxel_nm
    assert made_here.image.levels[0].dtype == np.uint8
    assert made_here.image.metadata["synthetic"] is True
    assert list(made_here.truth) == truths
    for volume in made_here.truth.values():
        assert (volume.kind, volume.levels[0].shape, volume.levels[0].voxel_nm) == ("labels", SHAPES[name], voxel_nm)
        assert voxels(volume).dtype == np.uint16


def test_cells_are_bright_sparse_and_apart():
    image, cells = voxels(made("cells").image).astype(float), voxels(made("cells").truth["cells"])
    ids = np.unique(cells)[1:]
    assert len(ids) >= 4
    assert 0.0005 < (cells > 0).mean() < 0.05
    around = ndimage.binary_dilation(cells > 0, iterations=3) & (cells == 0)
    assert image[cells > 0].mean() > 1.8 * image[around].mean()
    for label in ids:
        assert ndimage.label(cells == label)[1] == 1
        peak = np.unravel_index(np.argmax(np.where(cells == label, image, 0)), image.shape)
        assert cells[peak] == label


@NEUROPILS
def test_mitochondria_lie_each_in_one_neurite(name):
    neurons, mitochondria = (voxels(made(name).truth[n]) for n in ("neurons", "mitochondria"))
    ids = np.unique(mitochondria)[1:]
    assert len(ids) >= 1
    for label in ids:
        assert len(np.unique(neurons[mitochondria == label])) == 1
        assert neurons[mitochondria == label].min() > 0


def test_the_isotropic_neuropil_looks_the_same_along_every_axis():
    image, neurons = (
        voxels(made("neuropil-isotropic").image).astype(float),
        voxels(made("neuropil-isotropic").truth["neurons"]),
    )
    steps = [np.abs(np.diff(ndimage.gaussian_filter(image, 2), axis=axis)).mean() for axis in range(3)]
    np.testing.assert_allclose(steps, np.mean(steps), rtol=0.15)
    borders = [(np.diff((neurons == 0).astype(int), axis=axis) != 0).mean() for axis in range(3)]
    np.testing.assert_allclose(borders, np.mean(borders), rtol=0.15)


@NEUROPILS
def test_membranes_are_dark(name):
    image, neurons = voxels(made(name).image).astype(float), voxels(made(name).truth["neurons"])
    inside = ndimage.binary_erosion(neurons > 0, np.ones((1, 9, 9)))
    assert image[neurons == 0].mean() < image[inside].mean() - 30


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("brain", None, "there are: cells, neuropil, neuropil-isotropic"),
        ("cells", (4, 64, 64), r"needs at least \(8, 32, 32\)"),
    ],
)
def test_refusals(name, shape, message):
    with pytest.raises(InputError, match=message):
        phantom(name, shape)
