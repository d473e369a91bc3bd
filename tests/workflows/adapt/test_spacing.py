"""Patches of a session are no near copies of each other, and nothing held out lies beside what is learnt from."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.annotate.spacing import LEAST_NM, apart_nm
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion, suggest
from napari_connecto.workflows.adapt.params import SuggestParams
from tests.workflows.checkers import NM, SIZE, Believer

STRATEGIES = SuggestParams.__dataclass_fields__["strategy"].metadata["choices"]


def tissue(shape=(30, 128, 128), seed=0, voxel=NM):
    """Sections that are near copies of their neighbours, of squares that differ in contrast."""
    rng = np.random.default_rng(seed)
    contrast = np.kron(rng.uniform(0.02, 0.3, [n // SIZE for n in shape[1:]]), np.ones((SIZE, SIZE)))
    checker = (np.indices(shape[1:]) // 8).sum(0) % 2
    section = np.where(checker > 0, 1 - contrast, contrast)
    drift = ndimage.gaussian_filter1d(rng.normal(0, 1, (shape[0], 1, 1)), 3, axis=0) * 0.01
    return Volume((Level(np.clip(section[None] + drift, 0, 1).astype(np.float32), voxel),))


class Encoder:
    """Mean and contrast of a patch."""

    card = Believer().card

    def __call__(self, batch):
        return np.stack([batch.mean(axis=(1, 2, 3, 4)), batch.std(axis=(1, 2, 3, 4))], 1)


def gaps_nm(a: Box, b: Box, voxel=NM) -> np.ndarray:
    gap = [max(c - f, e - d) for c, d, e, f in zip(a.start, a.stop, b.start, b.stop, strict=True)]
    return np.array(gap) * voxel


def lawful(found: list[Suggestion]) -> None:
    for one, other in combinations(found, 2):
        gap = gaps_nm(one.box, other.box)
        if one.random != other.random:
            assert gap.max() >= 2 * LEAST_NM
        else:
            assert gap[1:].max() >= 0 or gap[0] >= LEAST_NM


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("arm", [0, 2])
def test_no_strategy_takes_one_place_on_neighbouring_sections(strategy, arm):
    for seed in range(2):
        found = suggest(
            tissue(seed=seed), Believer(), 8, strategy=strategy, size=SIZE, random_arm=arm, seed=seed, encoder=Encoder()
        )
        assert (len(found), sum(s.random for s in found), found.note) == (8, arm, "")
        lawful(found)


def test_further_patches_keep_the_distance_from_those_of_the_session():
    image, there = tissue(), []
    for seed in range(4):
        learnt, held = ([s.box for s in there if s.random == out] for out in (False, True))
        options = {"exclude": learnt, "held_out": held, "size": SIZE, "seed": seed}
        there += suggest(image, Believer(), 3, random_arm=1, **options)
        lawful(there)
    assert len(there) == 12


def test_where_the_volume_is_too_small_there_are_fewer_and_it_is_said_why():
    found = suggest(tissue((8, 32, 32)), Believer(), 4, size=SIZE)
    assert len(found) == 2
    assert found.note.startswith("found room for 2 of 4 patches (patches stacked along z stay 200 nm apart, held-out")
    lawful(found)
    flat = suggest(tissue((1, 64, 64)), Believer(), 3, size=SIZE, random_arm=1)
    assert [s.random for s in flat] == [False] * 3
    assert "(0 of 1 held out; patches stacked along z" in flat.note
    both = suggest(tissue((1, 128, 128)), Believer(), 16, size=SIZE, random_arm=1)
    assert both[-1].random
    assert len(both) == 8  # at the best place, a corner, it keeps 8 others out
    lawful(both)


def test_held_out_patches_are_drawn_from_everywhere():
    places = set()
    for seed in range(12):
        places.add(suggest(tissue(), Believer(), 2, size=SIZE, random_arm=1, seed=seed, pool=60)[-1].box.start)
    assert len(places) > 8


@pytest.mark.parametrize("sigma", [4, 8])
def test_the_distance_is_where_the_image_has_changed(sigma):
    """Noise blurred by a Gaussian is correlated as exp(-d^2 / 4 sigma^2)."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((12, 256, 256)), (0, sigma, sigma))
    boxes = [Box((z, 0, 0), (z + 1, 256, 256)) for z in range(12)]
    found = apart_nm(Level(noise, (100.0, 50.0, 50.0)), boxes)
    assert found == pytest.approx(2 * sigma * np.sqrt(np.log(10)) * 50, rel=0.15)
    assert apart_nm(Level(noise, (4.0, 4.0, 4.0)), boxes) == LEAST_NM
