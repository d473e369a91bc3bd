"""What networks are shown: balanced, aligned, seeded, and silent about what is not labelled."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.training import stage
from napari_connecto.workflows.cascade.training.contrast import contrast_factor
from napari_connecto.workflows.cascade.training.samples import Patches, augment, pool

NM = (1.0, 1.0, 1.0)
BLOCK = Box((2, 8, 8), (10, 56, 56))


def patches(stride=(1, 1, 1), trimmed=(0, 0, 0), tile=(4, 16, 16), halo=(2, 4, 4), seed=0, hard=()):
    """An image whose voxels say whether they hold an object (200) or lie outside the block (90)."""
    target = np.zeros(BLOCK.shape, np.uint8)
    target[3:5, 10:14, 20:24] = 255
    image = np.full((12, 64, 64), 90, np.uint8)
    image[BLOCK.slices] = 0
    image[BLOCK.slices][target > 0] = 200
    card = ModelCard("c", "detect", NM, tile, halo, (Output("p", stride, trimmed),))
    return Patches(Level(image, NM), target, BLOCK, card, Scaling(0.0, 255.0), list(hard))


def test_image_target_and_weight_stay_aligned_through_augmentation():
    for image, target, weight in islice(patches().draw(4, seed=1), 20):
        assert (image.shape, target.shape, weight.shape) == ((4, 1, 8, 24, 24),) * 3
        for i in range(4):
            levels = [np.median(image[i][where]) for where in (target[i] > 0, weight[i] == 0) if where.any()]
            background = np.median(image[i][(target[i] == 0) & (weight[i] > 0)])
            noise = 0.13  # three times the strongest added
            if (target[i] > 0).any():
                assert (np.abs(image[i][target[i] > 0] - levels[0]) < 2 * noise).all()
                assert levels[0] - background > 0.5
            if (weight[i] == 0).any():
                assert 0.2 < levels[-1] - background < 0.6
                assert (np.abs(image[i][weight[i] == 0] - levels[-1]) < 2 * noise).all()
            assert not target[i][weight[i] == 0].any()


def test_half_of_the_samples_hold_an_object_and_the_rest_are_anywhere():
    shown = [bool(t.any()) for _, t, _ in islice(patches(halo=(0, 0, 0)).draw(1, seed=2), 400)]
    assert 0.45 < np.mean(shown) < 0.75
    none = patches()
    none.target[:] = 0
    assert not any(t.any() for _, t, _ in islice(none.draw(2, seed=0), 5))


def test_hard_places_are_drawn_more_often():
    corner = Box((6, 40, 40), (10, 56, 56))
    rng_image = np.zeros((12, 64, 64), np.uint8)
    rng_image[corner.slices] = 255

    def share(hard):
        source = patches(halo=(0, 0, 0), hard=hard)
        object.__setattr__(source.level, "array", rng_image)
        return np.mean([(i > 0.5).mean() > 0.5 for i, _, _ in islice(source.draw(1, seed=3), 300)])

    assert share([corner]) > share([]) + 0.1


def test_the_same_seed_draws_the_same_samples():
    for a, b in zip(islice(patches().draw(3, 7), 5), islice(patches().draw(3, 7), 5), strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)
    first, other = (next(patches().draw(3, seed)) for seed in (7, 8))
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize(
    ("stride", "trimmed"), [((1, 4, 4), (0, 0, 0)), ((2, 4, 4), (0, 0, 0)), ((1, 1, 1), (2, 0, 0))]
)
def test_targets_are_at_the_outputs_stride(stride, trimmed):
    source = patches(stride, trimmed)
    image, target, weight = next(source.draw(6, seed=0))
    cells = tuple((n - 2 * t) // s for n, t, s in zip((8, 24, 24), trimmed, stride, strict=True))
    assert target.shape == weight.shape == (6, 1, *cells)
    assert image.shape == (6, 1, 8, 24, 24)
    bright = image[:, :, trimmed[0] : 8 - trimmed[0]] > 0.5
    for i in range(6):
        np.testing.assert_array_equal(pool(bright[i, 0].astype(np.uint8), stride) > 0, target[i, 0] > 0)


def test_pool_is_a_maximum():
    array = np.random.default_rng(0).integers(0, 99, (2, 4, 6))
    pooled = pool(array, (1, 2, 3))
    for z, y, x in np.ndindex(2, 2, 2):
        assert pooled[z, y, x] == array[z, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3].max()


def test_augmentation_turns_only_square_tiles_and_never_mixes_axes():
    rng = np.random.default_rng(0)
    image = rng.random((1, 2, 3, 5)).astype(np.float32)
    for _ in range(20):
        a, t, w = augment(rng, image, image.copy(), np.ones_like(image), square=False)
        assert a.shape == t.shape == w.shape == image.shape
        np.testing.assert_array_equal(np.sort(t, axis=None), np.sort(image, axis=None))
        gain = np.polyfit(t.ravel(), a.ravel(), 1)
        assert 0.75 < gain[0] < 1.3
        assert abs(gain[1]) < 0.12


def test_contrast_changes_around_the_images_median_and_keeps_it():
    rng = np.random.default_rng(0)
    image = rng.random((2, 2, 8, 8)).astype(np.float32)
    middle = np.array([0.2, 0.6], np.float32).reshape(2, 1, 1, 1)
    changed = [augment(rng, image, image, image, square=True, middle=middle, contrast=2.0) for _ in range(200)]
    gains = np.array([[np.polyfit(t[c].ravel(), a[c].ravel(), 1) for c in (0, 1)] for a, t, _ in changed])
    spread = gains[:, 0, 0]
    assert 0.38 < spread.min() < 0.55
    assert 1.8 < spread.max() < 2.6
    at_middle = gains[:, :, 0] * middle.ravel() + gains[:, :, 1]
    assert np.abs(at_middle - middle.ravel()).max() < 0.25 * 0.6 + 0.08 + 0.02  # what brightness changes


@pytest.mark.parametrize(
    ("shades", "factor"),
    [
        ((200,) * 6, 1.0),
        ((190, 195, 200, 205, 210), 1.0),
        ((40,) * 6, 1.0),  # dark ones
        ((110, 130, 150, 200, 240), 2.0),
        ((20, 60, 140, 200, 220), 2.0),  # darker and brighter ones
        ((110,), 1.0),  # too few to tell
    ],
)
@pytest.mark.parametrize("channels", [None, 2])
def test_contrast_is_changed_where_the_objects_differ_in_it(shades, factor, channels):
    image, target = np.full((1, 32, 128), 100, np.uint8), np.zeros((1, 32, 128), np.uint8)
    for n, shade in enumerate(shades):
        image[0, 8:20, 20 * n + 4 : 20 * n + 16] = shade
        target[0, 8:20, 20 * n + 4 : 20 * n + 16] = 255
    array = image if channels is None else np.stack([image] * channels)
    card = ModelCard("c", "detect", NM, (1, 16, 16), (0, 4, 4), (Output("p"),), channels=channels or 1)
    made = Patches(Level(array, NM), target, Box((0, 0, 0), (1, 32, 128)), card, Scaling(0.0, 255.0))
    assert contrast_factor(made, made) == factor
    darker = replace(made, level=Level(array // 4, NM))
    assert contrast_factor(made, darker) == (2.0 if len(shades) > 1 else 1.0)  # images that differ


def test_the_middle_is_the_images_median_scaled_per_channel():
    source = patches()
    assert source.middle.ravel() == pytest.approx([90 / 255])
    array = np.stack([np.full((12, 64, 64), 51, np.uint8), np.asarray(source.level.array)])
    coloured = replace(source, level=Level(array, NM))
    assert coloured.middle.ravel() == pytest.approx([0.2, 90 / 255])


def test_half_way_through_a_training_chunks_taken_for_objects_become_hard_samples():
    source = patches(halo=(0, 0, 0))

    class Sure:
        card = source.card

        def __call__(self, batch, seeds):
            return {"p": np.ones((len(batch), *self.card.tile), np.float32)}

    check = stage._Check(source, list(islice(source.draw(2, seed=1), 2)), seed=0)
    half = stage.VALIDATIONS // 2
    scores = [check(Sure()) for _ in range(half - 1)]
    assert source.hard == []
    scores.append(check(Sure()))
    assert scores == [scores[0]] * half
    assert source.hard
    holds = [source.target[box.shift([-s for s in BLOCK.start]).slices].any() for box in source.hard]
    assert not any(holds), "a chunk with an object is no mistake"
