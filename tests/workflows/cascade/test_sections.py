"""Law: a mask's parts are joined across sections where these show the same objects, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import disk

from napari_connecto.workflows.cascade.training.sections import numbered, separate

ISOTROPIC = (1.0, 1.0, 1.0)


def unrelated(sections: int = 8, discs: int = 60, radius: float = 7.0, side: int = 256, seed: int = 0) -> np.ndarray:
    """Sections with discs at places of their own."""
    mask, rng = np.zeros((sections, side, side), bool), np.random.default_rng(seed)
    for plane in mask:
        for centre in rng.uniform(0, side, (discs, 2)):
            plane[disk(centre, radius, shape=plane.shape)] = True
    return mask


def balls(diameter: float, step: float, shape: tuple[int, int, int] = (24, 192, 192), seed: int = 0) -> np.ndarray:
    """Balls in a volume whose sections are ``step`` apart."""
    z, y, x = np.indices(shape) * np.array((step, 1, 1))[:, None, None, None]
    rng, mask = np.random.default_rng(seed), np.zeros(shape, bool)
    for centre in rng.uniform(0, 1, (15, 3)) * np.array(shape) * (step, 1, 1):
        mask |= (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= (diameter / 2) ** 2
    return mask


@pytest.mark.parametrize("discs", [5, 60, 200])
def test_unrelated_sections_are_separate_however_dense(discs):
    assert separate(unrelated(discs=discs), ISOTROPIC)


@pytest.mark.parametrize("sections", [2, 3, 5])
def test_few_unrelated_sections_are_separate_too_and_few_related_ones_are_not(sections):
    """There are no distant sections to compare with; of 20 draws, nearly all must be seen."""
    seeds = range(20)
    assert sum(separate(unrelated(sections, side=128, discs=15, seed=seed), ISOTROPIC) for seed in seeds) >= 15
    assert not any(separate(balls(10, 3, (sections, 96, 96), seed), (3.0, 1.0, 1.0)) for seed in seeds)


@pytest.mark.parametrize(("diameter", "step"), [(20, 1), (20, 5), (12, 5), (3, 1), (40, 5)])
def test_sections_of_the_same_objects_are_not(diameter, step):
    assert not separate(balls(diameter, step), (step, 1.0, 1.0))


def test_fibres_along_z_are_one_object_each():
    mask = np.zeros((40, 64, 64), bool)
    mask[:, 10:14, 10:14] = mask[:, 40:44, 20:24] = True
    assert numbered(mask, ISOTROPIC).max() == 2


def test_sections_as_far_apart_as_objects_are_wide_are_separate():
    same = np.repeat(balls(20, 1)[12:13], 3, axis=0)
    parts = int(numbered(same[:1], ISOTROPIC).max())
    assert numbered(same, (4.0, 1.0, 1.0)).max() == parts
    apart = numbered(same, (50.0, 1.0, 1.0))
    assert apart.max() == 3 * parts
    assert ((apart > 0) == same).all()


def test_labels_of_several_objects_stay_as_the_user_numbered_them():
    labels = np.zeros((2, 8, 8), int)
    labels[:, :2], labels[:, 4:] = 7, 9
    assert np.unique(numbered(labels, (1000.0, 1.0, 1.0))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("mask", [np.zeros((4, 8, 8), bool), np.ones((1, 8, 8), bool)], ids=["empty", "one section"])
def test_nothing_to_join(mask):
    assert not separate(mask, ISOTROPIC)
    assert numbered(mask, ISOTROPIC).max() == mask.any()
