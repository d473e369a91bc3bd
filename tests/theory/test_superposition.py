"""Laws of pairwise AND in superposition: no false negative, false positives below the bound, sizes as stated."""

from __future__ import annotations

from itertools import combinations
from math import ceil, log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto import theory


def some_pairs(m: int, count: int, seed: int) -> np.ndarray:
    every = np.array(list(combinations(range(m), 2)))
    return np.random.default_rng(seed).permutation(every)[:count]


def two_on(m: int) -> np.ndarray:
    """Every input with at most two on."""
    on = [(), *combinations(range(m), 1), *combinations(range(m), 2)]
    x = np.zeros((len(on), m))
    for row, inputs in zip(x, on, strict=True):
        row[list(inputs)] = 1
    return x


@settings(max_examples=25)
@given(st.integers(4, 12), st.integers(1, 40), st.floats(1, 4), st.integers(0, 99))
def test_no_and_is_missed_and_false_ones_are_as_many_as_counted(m: int, count: int, factor: float, seed: int) -> None:
    pairs = some_pairs(m, count, seed)
    net = theory.two_and(m, pairs, int(factor * theory.code_length(len(pairs))), seed)
    x = two_on(m)
    answers = net(x)
    wanted = (x[:, pairs[:, 0]] > 0) & (x[:, pairs[:, 1]] > 0)
    assert answers[wanted].all()
    assert not answers[x.sum(1) < 2].any()
    false = (answers & ~wanted)[x.sum(1) == 2].sum()
    others = (m * (m - 1) // 2 - 1) * len(pairs)
    assert net.false_positive_rate() == pytest.approx(false / max(1, others))


@pytest.mark.parametrize(("features", "m"), [(64, 32), (256, 64), (1024, 64)])
def test_false_positives_at_sqrt_m_log_m_neurons(features: int, m: int) -> None:
    """Golden values of a first trial: below 0.002 at sqrt(m') log2 m' neurons, below 0.0001 at twice as many."""
    neurons = int(sqrt(features) * log2(features))
    for size, most in ((neurons, 2e-3), (2 * neurons, 1e-4)):
        rates, bounds = [], []
        for seed in range(4):
            net = theory.two_and(m, some_pairs(m, features, seed), size, seed)
            rates.append(net.false_positive_rate())
            bounds.append(net.bound)
            assert net.parameters <= features * 3 * log2(features) + size <= features * log2(features) ** 2
        assert np.mean(rates) < most
        assert np.mean(rates) < np.mean(bounds)


@given(st.integers(2, 2**16), st.integers(1, 500))
def test_the_bound_is_one_in_the_number_of_pairs_at_two_d_log_neurons(pairs: int, degree: int) -> None:
    neurons = 2 * degree * theory.code_length(pairs)
    assert theory.false_positive_bound(pairs, degree, neurons) <= 1 / pairs
    assert theory.false_positive_bound(pairs, degree, 2 * neurons) < theory.false_positive_bound(pairs, degree, neurons)


def test_lower_bounds() -> None:
    assert theory.parameters_lower_bound(1024) == 10240
    assert theory.neurons_lower_bound(1024) == pytest.approx(101.19, abs=0.01)
    for features in (64, 256, 1024, 4096):
        built = theory.two_and(64, some_pairs(64, features, 0), 2 * ceil(sqrt(features) * log2(features)))
        assert theory.neurons_lower_bound(features) < built.w1.shape[0]
        assert theory.parameters_lower_bound(len(built.pairs)) < built.parameters


@pytest.mark.parametrize(
    ("pairs", "neurons", "message"),
    [
        ([(0, 1), (1, 0)], 8, "give every pair once"),
        ([(0, 4)], 8, "outside 0 to 3"),
        ([(2, 2)], 8, "an input with itself"),
        ([], 8, "give every pair once"),
        ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)], 2, "2 neurons for codes of 3"),
    ],
)
def test_wrong_pairs_are_refused(pairs: list[tuple[int, int]], neurons: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        theory.two_and(4, pairs, neurons)
