"""Laws of feature channel coding: exact on networks set by hand, better than shuffled rows on trained ones."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto import theory
from napari_connecto.theory.toys import truth


@given(st.integers(2, 3), st.integers(1, 4), st.integers(6, 16), st.integers(0, 99))
def test_the_clauses_of_a_network_set_by_hand_are_decoded_exactly(k: int, count: int, neurons: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(k * count + 2)
    clauses = sorted(tuple(sorted(order[k * c : k * c + k].tolist())) for c in range(count))
    toy = theory.hand_set(clauses, len(order), neurons, seed)
    found = theory.decode_clauses(toy.w1, toy.b1, toy.w2, size=k)
    assert sorted(clause.inputs for clause in found) == clauses
    for clause in found:
        assert clause.agreement == 1
        assert len(clause.positive) == neurons // 2
        assert clause.negative == ()


@given(st.integers(2, 3), st.integers(2, 4), st.integers(0, 99))
def test_a_network_set_by_hand_is_right_while_no_more_inputs_are_on_than_a_clause_has(
    k: int, count: int, seed: int
) -> None:
    clauses = [tuple(range(k * c, k * c + k)) for c in range(count)]
    toy = theory.hand_set(clauses, k * count, 8, seed)
    x = np.array(
        [[i in on for i in range(k * count)] for n in range(k + 1) for on in combinations(range(k * count), n)]
    )
    np.testing.assert_array_equal(toy(x), truth(x, clauses))


def test_negative_witnesses_are_silenced_by_the_clause() -> None:
    """1.5 - x0 - x1, subtracted: the answer rises above zero once both are on."""
    w1, b1, w2 = np.array([[-1.0, -1, 0]]), np.array([1.5]), np.array([-1.0])
    (clause,) = theory.decode_clauses(w1, b1, w2)
    assert (clause.inputs, clause.positive, clause.negative) == ((0, 1), (), (0,))
    toy = theory.Network(w1, b1, w2, 0.25)
    assert toy(np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0]])).tolist() == [False, False, True]
    for other in (theory.decode_clauses(w1, -b1, w2), theory.decode_clauses(w1, b1, -w2)):
        assert other == []


def test_signs_agreement_channels_interference_and_capacity_by_hand() -> None:
    w1 = np.array([[2.0, 1.9, 0.1], [-3.0, -0.2, 1.0], [0.5, 0.6, -0.7]])
    codes = theory.sign_codes(w1, tau=0.15)
    assert codes.tolist() == [[1, 1, 0], [-1, -1, 1], [1, 1, -1]]
    np.testing.assert_allclose(theory.agreement(codes), [[1, 1, -2 / 3], [1, 1, -2 / 3], [-2 / 3, -2 / 3, 1]])
    channels = theory.feature_channels(codes, [(0, 1), (2,), (0, 2)])
    assert channels.tolist() == [[1, -1, 1], [0, 1, -1], [0, 0, 0]]
    np.testing.assert_allclose(theory.interference(channels), np.array([[3, 2, 0], [2, 2, 0], [0, 0, 0]]) / 3)
    np.testing.assert_allclose(theory.capacity(np.array([[1.0, 1, 0], [0, 0, 2]])), [0.5, 0.5, 1])


def test_training_lowers_the_error_and_is_the_same_for_the_same_seed() -> None:
    clauses = [(0, 1), (2, 3)]
    x = np.random.default_rng(0).random((500, 4)) < 0.5
    first, again = (theory.train(clauses, 4, 6, [7], steps=400)[0] for _ in range(2))
    np.testing.assert_array_equal(first.w1, again.w1)
    assert (first(x) == truth(x, clauses)).mean() > 0.95
    np.testing.assert_array_equal(theory.train(clauses, 4, 6, [3, 7], steps=400)[1].w1, first.w1)


def average_precision(toy: theory.Network, clauses: list[tuple[int, int]], rng: np.random.Generator) -> float:
    """Of ranking all pairs of inputs by the agreement of their codes; equal ones in random order."""
    agree = theory.agreement(theory.sign_codes(toy.w1, 0.1 * np.abs(toy.w1).max()))
    pairs = rng.permutation(list(combinations(range(toy.w1.shape[1]), 2)))
    order = np.argsort([-agree[i, j] for i, j in pairs], kind="stable")
    hit = np.array([(i, j) in clauses for i, j in pairs[order].tolist()])
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())


@pytest.mark.slow
def test_trained_networks_share_codes_within_clauses_and_shuffled_rows_do_not() -> None:
    clauses, rng = [(2 * c, 2 * c + 1) for c in range(8)], np.random.default_rng(0)
    toys = theory.train(clauses, 16, 8, range(12))
    shuffled = [theory.Network(rng.permuted(t.w1, axis=1), t.b1, t.w2, t.b2) for t in toys]
    ours, theirs = (np.mean([average_precision(t, clauses, rng) for t in each]) for each in (toys, shuffled))
    assert ours > 0.4
    assert theirs < 0.2


@pytest.mark.slow
def test_some_seeds_give_one_code_to_each_clause() -> None:
    """12 inputs, 4 clauses, 4 neurons: decoded without an error in more than one seed of 24, at no seed if shuffled."""
    clauses, rng = [(0, 1), (2, 3), (4, 5), (6, 7)], np.random.default_rng(0)
    counts = [0, 0]
    for toy in theory.train(clauses, 12, 4, range(24)):
        for kind, w1 in enumerate((toy.w1, rng.permuted(toy.w1, axis=1))):
            found = theory.decode_clauses(w1, toy.b1, toy.w2, tau=0.25 * np.abs(w1).max(), least=1.0)
            counts[kind] += [clause.inputs for clause in found] == clauses
    assert counts[0] >= 2
    assert counts[1] == 0
