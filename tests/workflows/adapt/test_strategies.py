from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.adapt.annotate.strategies import OTHERS, RANKINGS, Pool, k_center, needs_features, pick
from napari_connecto.workflows.adapt.params import SuggestParams

POOL = Pool(
    score=np.array([0.1, 0.42, 0.9, 0.4, 0.05, 0.36, 0.7]),
    pixel=np.array([0.0, 0.3, 0.8, 0.6, 0.0, 0.1, 0.95]),
    unit="bit",
    features=np.array([[0.0, 0], [1, 0], [10, 0], [0, 9], [1, 1], [0, 1], [5, 5]]),
)


def indices(strategy: str, n: int, pool: Pool = POOL, **more) -> list[int]:
    return [choice.index for choice in pick(pool, n, strategy, **more)]


def test_median_takes_what_is_nearest_to_the_pools_median():
    assert indices("median", 3) == [3, 1, 5]
    assert [choice.reason for choice in pick(POOL, 2, "median")] == [
        "uncertainty 0.4 bit, the pool's median is 0.4 (rank 1 of 7)",
        "uncertainty 0.42 bit, the pool's median is 0.4 (rank 2 of 7)",
    ]


def test_median_pixel_and_entropy_take_the_highest():
    assert indices("median-pixel", 3) == [6, 2, 3]
    assert indices("entropy", 3) == [2, 6, 1]
    assert pick(POOL, 1, "median-pixel")[0].reason == (
        "half of its pixels are at 0.95 bit or more, highest first (rank 1 of 7)"
    )
    assert pick(POOL, 1, "entropy")[0].reason == "uncertainty 0.9 bit, highest first (rank 1 of 7)"


def test_k_center_begins_in_the_middle_and_then_goes_far():
    # mean (17/7, 16/7): nearest is 4 at (1, 1); from there 2 at (10, 0), then 3 at (0, 9), then 6
    assert indices("k-center", 4) == [4, 2, 3, 6]
    reasons = [choice.reason for choice in pick(POOL, 2, "k-center")]
    assert reasons[0].startswith("the most typical of 7 patches")
    assert reasons[1] == "differs most from those above in the encoder's space (distance 9.1)"


def test_diversity_keeps_to_the_band_of_a_ranking():
    assert indices("median-diverse", 1) == [3]
    # band of 2: the eight nearest to the median are all seven; farthest from 3 at (0, 9) is 2 at (10, 0)
    assert indices("median-diverse", 2) == [3, 2]
    assert indices("median", 2, diversity=True) == [3, 2]
    wide = Pool(np.arange(41.0), np.arange(41.0), "bit", np.stack([np.arange(41.0), np.zeros(41)], 1))
    # entropy's first eight are 40 .. 33: from 40 on the farthest is 33
    assert indices("entropy", 2, wide, diversity=True) == [40, 33]
    assert pick(wide, 2, "entropy", diversity=True)[1].reason == (
        "uncertainty 33 bit, highest first (rank 8 of 41), and different from those above (distance 7)"
    )


def test_badge_begins_with_the_longest_and_draws_by_squared_distance():
    assert indices("badge", 1) == [2]
    pool = Pool(np.ones(3), np.ones(3), "bit", np.array([[10.0, 0], [9, 0], [0, 0]]))
    seconds = [indices("badge", 2, pool, seed=seed)[1] for seed in range(300)]
    assert np.mean(np.array(seconds) == 1) == pytest.approx(1 / 101, abs=0.02)  # 1^2 against 10^2
    sure = Pool(np.array([1.0, 1.0, 0.0]), np.ones(3), "bit", np.array([[10.0, 0], [9, 0], [30, 0]]))
    assert indices("badge", 1, sure) == [0]  # far away, but the model is sure of it
    alike = Pool(np.ones(4), np.ones(4), "bit", np.ones((4, 2)))
    assert sorted(indices("badge", 4, alike)) == [0, 1, 2, 3]


def test_random_is_even_and_seeded():
    assert indices("random", 4, seed=5) == indices("random", 4, seed=5)
    first = [indices("random", 1, seed=seed)[0] for seed in range(700)]
    assert np.bincount(first, minlength=7).min() > 65
    assert pick(POOL, 1, "random")[0].reason == "drawn at random from 7 patches"


def test_greedy_k_center_is_within_twice_the_best_radius():
    rng = np.random.default_rng(0)
    vectors = rng.random((9, 2))

    def radius(centres):
        return np.linalg.norm(vectors[:, None] - vectors[list(centres)], axis=-1).min(1).max()

    best = min(radius((i, j, k)) for i in range(9) for j in range(i) for k in range(j))
    for first in range(9):
        assert radius(k_center(vectors, 3, first)[0]) <= 2 * best


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*RANKINGS, *OTHERS, "median-diverse"]), st.integers(1, 12), st.integers(0, 3), st.booleans())
def test_every_strategy_chooses_n_different_patches(strategy, n, seed, diversity):
    rng = np.random.default_rng(seed)
    pool = Pool(rng.random(12).round(1), rng.random(12).round(1), "bit", rng.integers(0, 3, (12, 2)))
    chosen = indices(strategy, n, pool, diversity=diversity, seed=seed)
    assert len(set(chosen)) == len(chosen) == n
    assert chosen == indices(strategy, n, pool, diversity=diversity, seed=seed)
    assert chosen[:1] == indices(strategy, 1, pool, diversity=diversity, seed=seed)


def test_the_form_knows_every_strategy():
    choices = {field: SuggestParams.__dataclass_fields__[field].metadata["choices"] for field in ("strategy",)}
    assert set(choices["strategy"]) == {*RANKINGS, *OTHERS, "median-diverse"}
    assert [s for s in choices["strategy"] if needs_features(s)] == ["k-center", "badge", "median-diverse"]
    assert needs_features("entropy", diversity=True)
    assert not needs_features("random", diversity=True)


def test_refuses():
    with pytest.raises(InputError, match="got 8 patches to choose from 7"):
        pick(POOL, 8, "median")
    with pytest.raises(InputError, match="got strategy 'best'; allowed: median, median-pixel, entropy, random"):
        pick(POOL, 1, "best")
    with pytest.raises(InputError, match="no encoder, which comparing patches needs"):
        pick(replace(POOL, features=None), 2, "badge")
    with pytest.raises(InputError, match="got strategy='best'; allowed: median"):
        SuggestParams(strategy="best")
