"""What labels say, and what a model learns from them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Scaling
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example, prepared
from napari_connecto.workflows.adapt.fine_tune import boundary_card
from napari_connecto.workflows.segment.tune import instances
from napari_connecto.workflows.shared.em_labels import boundary_target, to_em

NM = (40.0, 8.0, 8.0)


def test_labels_of_others_in_our_numbers():
    ids = np.array([[0, 1, 7]])
    assert to_em(ids, "instances").tolist() == [[1, 3, 9]]
    assert to_em(ids, "membranes").tolist() == [[2, 1, 1]]
    assert to_em(ids, "em") is ids
    with pytest.raises(InputError, match="allowed: em, instances, membranes"):
        to_em(ids, "neurons")
    with pytest.raises(InputError, match="must be integers: convert them"):
        to_em(ids.astype(float), "em")


@pytest.mark.parametrize("dtype", ["int64", "uint64", ">u8"])
def test_ids_of_64_bits_stay_apart(dtype):
    most = 2**63 - 1 if dtype == "int64" else 2**64 - 1
    ids = np.array([[0, most, most - 1, 5, most]], np.dtype(dtype).newbyteorder("=")).astype(dtype)
    assert to_em(ids, "instances").tolist() == [[1, 5, 4, 3, 5]]
    assert to_em(ids[:, 1:], "instances").tolist() == [[5, 4, 3, 5]]
    found = instances(ids)
    assert (found == found[0, 1]).tolist() == [[False, True, False, False, True]]
    assert len(np.unique(found)) == 4
    assert found[0, 0] == 0
    assert instances(ids[:, 1:]).min() > 0
    with pytest.raises(InputError, match="renumber them"):
        to_em(ids, "em")


def test_the_target_is_background_and_both_sides_of_touching_instances():
    labels = np.array([[3, 3, 4, 4, 2, 0, 5, 1, 5]])
    target, weight = boundary_target(labels)
    # 4 beside 2: "some neurite" is no other instance; 5 beside 0: nothing is known there
    assert target.tolist() == [[0, 1, 1, 0, 0, 0, 0, 1, 0]]
    assert weight.tolist() == [[1, 1, 1, 1, 1, 0, 1, 1, 1]]


def test_sections_do_not_see_each_other():
    labels = np.stack([np.full((4, 4), 3), np.full((4, 4), 4)])
    assert boundary_target(labels)[0].sum() == 0


def samples(**options):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 255, (3, 70, 80), np.uint8), rng.integers(0, 5, (3, 70, 80)).astype(np.uint32)
    return EmSamples([Example(image, labels, NM)], boundary_card("x", NM), **{"crop": 48, "batch": 2, **options})


def test_a_sample_is_a_function_of_its_number():
    first, again = samples(), samples()
    ahead = first.from_step(3)
    for got, want in zip(next(ahead), again.at(3), strict=True):
        np.testing.assert_array_equal(got, want)
    assert any((a != b).any() for a, b in zip(first.at(3), first.at(4), strict=True))
    assert any((a != b).any() for a, b in zip(first.at(3), samples(seed=1).at(3), strict=True))


def test_without_augmentation_a_crop_is_the_scaled_image_and_its_target():
    drawn = samples(augment=None)
    image, target, weight = drawn.at(0)
    whole, labels = drawn._ready[0]
    boundary, known = boundary_target(labels)
    places = [
        (z, y, x)
        for z in range(3)
        for y in range(70 - 47)
        for x in range(80 - 47)
        if np.array_equal(whole[z, y : y + 48, x : x + 48], image[0, 0, 0])
    ]
    assert len(places) == 1
    z, y, x = places[0]
    inside = (slice(1, -1), slice(1, -1))  # at its rim a crop does not see who touches it
    np.testing.assert_array_equal(target[0, 0, 0][inside], boundary[z, y : y + 48, x : x + 48][inside])
    np.testing.assert_array_equal(weight[0, 0, 0], known[z, y : y + 48, x : x + 48])


def test_crops_shrink_to_what_all_patches_hold_and_only_less_than_64_is_padded():
    rng = np.random.default_rng(0)

    def drawn(*sizes, crop=192):
        pairs = [(rng.integers(0, 255, (1, *size), np.uint8), np.full((1, *size), 3, np.uint32)) for size in sizes]
        examples = [Example(image, labels, NM) for image, labels in pairs]
        return EmSamples(examples, boundary_card("x", NM), crop, 2, augment=None)

    assert [drawn((128, 128)).side, drawn((200, 130), (121, 300)).side, drawn((300, 300)).side] == [128, 112, 192]
    assert [drawn((40, 200)).side, drawn((40, 40), crop=48).side] == [64, 48]
    weight = drawn((128, 128)).at(0)[2]
    assert weight.shape == (2, 1, 1, 128, 128)
    assert weight.min() == 1  # nothing of it is padding
    assert drawn((40, 200)).at(0)[2].sum() == 2 * 40 * 64


def test_patches_of_other_voxels_are_brought_to_the_models():
    image = np.zeros((1, 40, 40), np.uint8)
    image[:, :, 20:] = 100
    labels = np.where(image > 0, 3, 1)
    example = Example(image, labels, (40.0, 16.0, 16.0), Scaling(0, 100))
    scaled, known = prepared(example, boundary_card("x", NM))
    assert scaled.shape == known.shape == (1, 80, 80)
    assert known[0, 0].tolist() == [1] * 40 + [3] * 40
    np.testing.assert_allclose(scaled[0, 0, [0, 38, 41, 79]], [0, 0, 1, 1], atol=1e-6)
    assert scaled[0, 0, 39] == pytest.approx(0.25)


def test_shapes_and_values_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"an image of shape \(1, 4, 4\) with labels of \(1, 4, 5\)"):
        Example(np.zeros((1, 4, 4)), np.zeros((1, 4, 5), int))
    with pytest.raises(InputError, match="NaN, infinite or huge"):
        Example(np.full((1, 4, 4), np.nan), np.zeros((1, 4, 4), int))
    with pytest.raises(InputError, match="no annotated patch"):
        EmSamples([], boundary_card("x", NM))
