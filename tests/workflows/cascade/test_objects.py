"""Objects read off tile by tile are those of the whole map."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.search.seen import only

NM = (30.0, 10.0, 10.0)


@st.composite
def maps(draw, low=1, high=12):
    shape = tuple(draw(st.tuples(*[st.integers(low, high)] * 3)))
    tile = tuple(draw(st.tuples(*[st.integers(1, 6)] * 3)))
    density, seed = draw(st.floats(0.05, 0.9)), draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    smooth = ndimage.uniform_filter(rng.random(shape), draw(st.sampled_from([1, 2, 3])))
    cut = np.quantile(smooth, 1 - density)
    return np.where(smooth >= cut, rng.integers(128, 256, shape), rng.integers(0, 128, shape)).astype(np.uint8), tile


@given(maps(), st.integers(1, 5), st.sampled_from([0.3, 0.5, 0.501, 0.7, 0.9]))
def test_masks_joined_across_tiles_are_skimages(case, least, threshold):
    image, tile = case
    finder = MaskFinder(
        Level(image, NM, (5.0, 6.0, 7.0)), TilePlan(image.shape, tile), ObjectRule("masks", threshold, 50, least)
    )
    everything = np.arange(len(finder.plan))
    found = finder.find(everything)
    got = np.zeros(image.shape, np.uint32)
    for part, block in finder.relabelled(everything):
        got[part.write.slices] = block
    expected = measure.label(image / 255 >= threshold, connectivity=1)
    regions = [r for r in measure.regionprops(expected, image / 255) if r.area >= least]
    assert len(found) == len(regions)
    assert got.max(initial=0) == len(found)
    by_first = {int(got[tuple(r.coords[0])]): r for r in regions}
    assert sorted(by_first) == list(range(1, len(found) + 1))
    for i, region in by_first.items():
        assert (got[tuple(region.coords.T)] == i).all()
        np.testing.assert_allclose(found.centre_nm[i - 1], (np.array(region.centroid) + 0.5) * NM + [5, 6, 7])
        np.testing.assert_allclose(found.score[i - 1], region.intensity_mean)
        assert tuple(found.box[i - 1]) == region.bbox
    assert np.count_nonzero(got) == sum(int(r.area) for r in regions)


@given(maps(4, 14), st.sampled_from([20.0, 60.0, 90.0, 130.0]))
def test_centres_found_in_tiles_are_those_of_the_whole_map(case, diameter):
    image, tile = case
    level, rule = Level(image, NM), ObjectRule("centres", 0.45, diameter)
    whole, plan = TilePlan(image.shape, image.shape), TilePlan(image.shape, tile)
    a = find_objects(level, whole, [0], rule)
    b = find_objects(level, plan, np.arange(len(plan)), rule)
    if len(np.unique(a.score)) < len(a.score):
        return  # of two equal peaks too close to each other the first is kept, and tilings differ in which that is
    order_a, order_b = np.lexsort(a.centre_nm.T), np.lexsort(b.centre_nm.T)
    np.testing.assert_array_equal(a.centre_nm[order_a], b.centre_nm[order_b])
    np.testing.assert_array_equal(a.score[order_a], b.score[order_b])
    np.testing.assert_array_equal(a.box[order_a], b.box[order_b])


def test_centres_keep_their_distance_and_their_boxes():
    image = np.zeros((3, 30, 60), np.uint8)
    image[1, 10, 10], image[1, 10, 12], image[1, 10, 40] = 255, 250, 240
    rule = ObjectRule("centres", 0.01, 80.0)
    found = find_objects(Level(image, (10.0, 10.0, 10.0)), TilePlan(image.shape, (1, 8, 8)), np.arange(3 * 4 * 8), rule)
    voxels = np.floor(found.centre_nm / 10).astype(int)
    assert [tuple(v) for v in voxels[np.argsort(voxels[:, 2])]] == [(1, 10, 11), (1, 10, 40)]
    assert found.box[np.argmax(voxels[:, 2])].tolist() == [0, 6, 36, 3, 15, 45]


def test_min_voxels_and_empty_maps():
    image = np.zeros((4, 8, 8), np.uint8)
    rule, plan = ObjectRule("masks", 0.5, 50, 3), TilePlan(image.shape, (2, 4, 4))
    assert len(find_objects(Level(image, NM), plan, np.arange(len(plan)), rule)) == 0
    image[1:3, 0, 0] = 255
    assert len(find_objects(Level(image, NM), plan, np.arange(len(plan)), rule)) == 0
    image[2, 1, 0] = 255
    found = find_objects(Level(image, NM), plan, np.arange(len(plan)), rule)
    assert found.box.tolist() == [[1, 0, 0, 3, 2, 1]]
    assert found.score.tolist() == [1.0]


def test_only_some_tiles_of_a_map():
    image = np.random.default_rng(0).integers(1, 255, (7, 9, 11)).astype(np.uint8)
    plan = TilePlan(image.shape, (3, 4, 5))
    expected = np.zeros_like(image)
    for tile in plan.tiles([0, 5, 13]):
        expected[tile.write.slices] = image[tile.write.slices]
    level = only(Level(image, NM), plan, np.array([0, 5, 13]))
    np.testing.assert_array_equal(level.read(level.box), expected)
    part = plan[5].write.grow((1, 1, 1)).clip(image.shape)
    np.testing.assert_array_equal(level.read(part), expected[part.slices])
    assert image.min() >= 1


def test_in_flat_volumes_masks_of_two_sections_are_two_objects():
    image = np.zeros((2, 6, 12), np.uint8)
    image[:, 1:4, 2:9] = 200
    level, plan = Level(image, NM), TilePlan(image.shape, (1, 6, 5))
    joined, apart = (
        find_objects(level, plan, range(len(plan)), ObjectRule("masks", 0.5, 50, 4, flat)) for flat in (False, True)
    )
    assert joined.box.tolist() == [[0, 1, 2, 2, 4, 9]]
    assert apart.box.tolist() == [[0, 1, 2, 1, 4, 9], [1, 1, 2, 2, 4, 9]]
