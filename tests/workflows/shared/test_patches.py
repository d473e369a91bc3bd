from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.shared import patches
from napari_connecto.workflows.shared.patches import candidates
from tests.compute.parts import Chunked

NM = (40.0, 8.0, 8.0)


def tissue(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Blobs of some voxels, with noise, uint8."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (0, 4, 4))
    return np.clip(128 + 40 * blobs / blobs.std() + rng.normal(0, 30, shape), 0, 255).astype(np.uint8)


def starts(found: patches.Candidates) -> set[tuple[int, int, int]]:
    return {box.start for box in found.boxes}


def test_padding_resin_and_noise_are_skipped_and_counted():
    image = tissue((1, 128, 128))
    rng = np.random.default_rng(1)
    image[0, :32] = 0  # 4 patches of padding
    image[0, 32:64, :32] = rng.normal(128, 30, (32, 32)).clip(0, 255)  # white noise
    faint = ndimage.gaussian_filter(rng.normal(size=(32, 32)), 4)
    image[0, 32:64, 32:64] = 128 + 4 * faint / faint.std()  # resin: structure, but hardly any contrast
    found = candidates(Level(image, NM), (1, 32, 32), 100)
    want = {(0, y, x) for y in (32, 64, 96) for x in (0, 32, 64, 96)} - {(0, 32, 0), (0, 32, 32)}
    assert starts(found) == want
    assert found.skipped_empty == 6
    assert found.exhausted
    assert {box.shape for box in found.boxes} == {(1, 32, 32)}


def test_a_patch_mostly_of_padding_is_empty_and_one_partly_is_not():
    image = tissue((1, 32, 96))
    image[0, :20, 32:64] = 0
    image[0, :12, 64:] = 0
    assert starts(candidates(Level(image, NM), (1, 32, 32), 3)) == {(0, 0, 0), (0, 0, 64)}


def test_nan_is_empty_and_floats_do():
    image = tissue((1, 32, 64)).astype(np.float32)
    image[0, 5, 5] = np.nan
    found = candidates(Level(image, NM), (1, 32, 32), 5)
    assert (starts(found), found.skipped_empty) == ({(0, 0, 32)}, 1)


def test_only_what_is_needed_is_read():
    image = tissue((4, 256, 256))

    class Counting:
        shape, dtype = image.shape, image.dtype
        reads = 0

        def __getitem__(self, index):
            Counting.reads += 1
            return image[index]

    found = candidates(Level(Counting(), NM), (1, 32, 32), 10, seed=3)
    assert (len(found.boxes), found.skipped_empty, found.exhausted, Counting.reads) == (10, 0, False, 10)
    empty = candidates(Level(np.zeros((4, 256, 256), np.uint8), NM), (1, 8, 8), 2)
    assert (empty.boxes, empty.skipped_empty, empty.exhausted) == ((), 2 * patches.READS, False)


def test_the_seed_draws_and_the_grid_lies_in_the_middle():
    level = Level(tissue((1, 70, 133)), NM)
    found = [candidates(level, (1, 32, 32), 4, seed=seed).boxes for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    everything = candidates(level, (1, 32, 32), 100)
    assert starts(everything) == {(0, 3 + 32 * i, 2 + 32 * j) for i in range(2) for j in range(4)}


def test_a_small_level_is_one_patch():
    found = candidates(Level(tissue((2, 40, 100)), NM), (4, 64, 64), 5)
    assert [(box.start, box.stop) for box in found.boxes] == [((0, 0, 18), (2, 40, 82))]


def test_of_channels_the_first_counts():
    image = np.stack([tissue((1, 32, 64)), np.zeros((1, 32, 64), np.uint8)])
    assert len(candidates(Level(image, NM), (1, 32, 32), 9).boxes) == 2
    assert len(candidates(Level(image[::-1], NM), (1, 32, 32), 9).boxes) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 90), st.integers(0, 90)), max_size=3))
def test_no_patch_overlaps_another_or_what_is_excluded(seed, corners):
    exclude = [Box((z, y, x), (z + 1, y + 20, x + 20)) for z, y, x in corners]
    found = candidates(Level(tissue((2, 96, 96)), NM), (1, 24, 24), 40, seed, exclude)
    for i, box in enumerate(found.boxes):
        assert not any(box.overlaps(other) for other in [*found.boxes[:i], *exclude])
    free = [
        Box((z, y, x), (z + 1, y + 24, x + 24)) for z in range(2) for y in range(0, 96, 24) for x in range(0, 96, 24)
    ]
    assert len(found.boxes) == sum(not any(box.overlaps(taken) for taken in exclude) for box in free)


def test_places_of_a_huge_level_are_drawn_without_listing_them():
    places = patches._shuffled(10**15, 0)
    some = [next(places) for _ in range(1000)]
    assert len(set(some)) == 1000
    assert np.mean(some) == pytest.approx(5e14, rel=0.1)
    assert sorted(patches._shuffled(50, 1)) == list(range(50))


def test_refuses():
    level = Level(tissue((1, 32, 32)), NM)
    with pytest.raises(InputError, match=r"got 0 patches of shape \(1, 8, 8\)"):
        candidates(level, (1, 8, 8), 0)
    with pytest.raises(InputError, match=r"of shape \(1, 0, 8\)"):
        candidates(level, (1, 0, 8), 1)


def test_patches_of_one_chunk_cost_it_once():
    """A small image in one chunk was too large to sample: the chunk was counted again for every patch."""
    image = tissue((4, 256, 256))
    whole = Level(Chunked(image, image.shape), NM)
    assert len(candidates(whole, (1, 32, 32), 20, most_bytes=image.nbytes).boxes) == 20
    assert not candidates(whole, (1, 32, 32), 20, most_bytes=image.nbytes - 1).boxes
