"""Touching objects are parted: the same parts however the map is tiled, and every part has its voxels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.search.split import parted

NM = (30.0, 10.0, 10.0)


def discs(*centres: tuple[float, float], radius: float = 7.0, shape: tuple[int, int] = (40, 64)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy, cx in centres], axis=0)[None]


def found(mask: np.ndarray, tile: tuple[int, int, int], split_nm: float = 140.0):
    image = np.where(mask, 200, 10).astype(np.uint8)
    finder = MaskFinder(Level(image, NM), TilePlan(image.shape, tile), ObjectRule("masks", 0.5, 140, 4, True, split_nm))
    objects = finder.find(np.arange(len(finder.plan)))
    labels = np.zeros(image.shape, np.uint32)
    for done, ids in finder.relabelled(np.arange(len(finder.plan))):
        labels[done.write.slices] = ids
    return objects, labels


@pytest.mark.parametrize("tile", [(1, 40, 64), (1, 16, 16), (1, 7, 64), (1, 40, 5)])
def test_two_touching_discs_are_two_objects_however_they_are_tiled(tile):
    mask = discs((20, 20), (20, 32), (20, 52))
    objects, labels = found(mask, tile)
    assert sorted(np.round(objects.centre_nm[:, 2] / 10 - 0.5).astype(int).tolist()) == pytest.approx(
        [20, 32, 52], abs=1
    )
    np.testing.assert_array_equal(labels > 0, mask)
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    for number, box in zip(objects.id, objects.box, strict=True):
        at = np.argwhere(labels == number)
        assert [*at.min(0), *(at.max(0) + 1)] == box.tolist()
    whole, _ = found(mask, (1, 40, 64))
    assert sorted(map(tuple, whole.box.tolist())) == sorted(map(tuple, objects.box.tolist()))


def test_without_a_width_they_stay_one():
    objects, labels = found(discs((20, 20), (20, 32)), (1, 16, 16), 0.0)
    assert len(objects) == 1
    assert labels.max() == 1


@pytest.mark.parametrize("stretch", [1, 3])
def test_one_object_is_not_parted(stretch):
    y, x = np.mgrid[:40, :64]
    ellipse = ((y - 20) / 8) ** 2 + ((x - 30) / (8 * stretch)) ** 2 <= 1
    assert parted(ellipse[None], 16.0, (1, 1, 1)).max() == 1


def test_a_rod_is_one_object():
    rod = np.zeros((1, 20, 80), bool)
    rod[0, 6:14, 5:75] = True
    assert parted(rod, 8.0, (1, 1, 1)).max() == 1


@pytest.mark.parametrize(("least", "count"), [(1, 3), (80, 2), (10_000, 1)])
def test_parts_below_the_least_size_go_to_their_neighbours(least, count):
    mask = discs((20, 20), (20, 32)) | discs((20, 43), radius=4.5)
    parts = parted(mask, 8.0, (1, 1, 1), least=least)
    np.testing.assert_array_equal(parts > 0, mask)
    assert np.unique(parts[mask]).tolist() == list(range(1, count + 1))


@pytest.mark.parametrize("shape", ["square", "disc"])
def test_a_dip_of_the_probability_parts_what_the_outline_does_not_show(shape):
    """Two objects that together look like one: only the map's gap says so."""
    y, x = np.mgrid[:40, :40]
    mask = (np.hypot(y - 20, x - 20) < 16 if shape == "disc" else np.maximum(abs(y - 20), abs(x - 20)) < 16)[None]
    probability = np.where(abs(x - 20) < 2, 0.6, 1.0)[None].astype(np.float32)
    assert parted(mask, 20.0, (1, 1, 1)).max() == 1
    parts = parted(mask, 20.0, (1, 1, 1), probability)
    assert parts.max() == 2
    assert parts[0, 20, 10] != parts[0, 20, 30]
    assert (parts[0, 5:35, 10] == parts[0, 20, 10]).sum() > 20


def test_spheres_are_parted_in_three_dimensions():
    z, y, x = np.mgrid[:20, :20, :36]
    mask = np.any([(z - 10) ** 2 + (y - 10) ** 2 + (x - cx) ** 2 <= 64 for cx in (10, 24)], axis=0)
    parts = parted(mask, 16.0, (1, 1, 1))
    assert parts.max() == 2
    assert parts[10, 10, 10] != parts[10, 10, 24]


@pytest.mark.parametrize("depth", [1, 5])
def test_spheres_stacked_along_z_are_parted_whatever_the_voxels_depth(depth):
    z, y, x = np.mgrid[:40:depth, :20, :20].astype(float)
    mask = np.any([(z - cz) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 <= 81 for cz in (10, 26)], axis=0)
    assert parted(mask, 18.0, (depth, 1, 1)).max() == 2
