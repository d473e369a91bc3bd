"""The cascade's formulas: golden values, invariants, and agreement with their own simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.rates import break_even, expected_cascade, simulate_cascade

GOLDEN = [  # branching, prevalence, fpr, tpr, then the cascade's tpr, fpr, calls
    (8, 0.01, (0.05, 0.10), (0.95, 0.98), 0.931000, 0.007989, 0.292985),
    (8, 0.20, (0.02, 0.05), (0.95, 0.90), 0.855000, 0.014435, 0.882394),
    (4, 0.03, (0.05, 0.10), (0.95, 0.98), 0.931000, 0.008842, 0.450942),
    (8, 0.005, (0.05, 0.10, 0.20), (0.95, 0.98, 0.99), 0.921690, 0.003572, 0.143650),
]


@pytest.mark.parametrize(("branching", "p", "fpr", "tpr", "want_tpr", "want_fpr", "want_calls"), GOLDEN)
def test_golden_values(branching, p, fpr, tpr, want_tpr, want_fpr, want_calls):
    got = expected_cascade(p, tpr, fpr, branching)
    assert got.tpr == pytest.approx(want_tpr, abs=1e-6)
    assert got.fpr == pytest.approx(want_fpr, abs=1e-6)
    assert got.total_calls == pytest.approx(want_calls, abs=1e-6)
    assert got.saving == pytest.approx(1 - want_calls, abs=1e-6)
    assert len(got.calls) == len(tpr)
    assert got.calls[-1] == branching ** -(len(tpr) - 1)


def recursion(p, tpr, fpr, b):
    """The other form of the formulas, level by level from the top, for independent chunks."""
    levels, q = len(tpr), 1 - p
    a_above, b_above = fpr[-1], tpr[-1]
    calls = [b ** -(levels - 1.0)]
    for k in range(levels - 2, -1, -1):
        positive = 1 - q ** (b ** (k + 1))
        calls.insert(0, b ** -float(k) * ((1 - positive) * a_above + positive * b_above))
        r = q ** (b**k * (b - 1))
        a_above, b_above = fpr[k] * (r * a_above + (1 - r) * b_above), tpr[k] * b_above
    return b_above, a_above, calls


rates = st.floats(0, 1)


@st.composite
def cascades(draw, low=1, high=4):
    levels = draw(st.integers(low, high))
    tpr, fpr = (draw(st.lists(rates, min_size=levels, max_size=levels)) for _ in range(2))
    return draw(st.floats(0.0005, 0.9)), tpr, fpr, draw(st.integers(1, 8))


@given(cascades())
def test_equals_the_recursion(cascade):
    p, tpr, fpr, b = cascade
    got = expected_cascade(p, tpr, fpr, b)
    want_tpr, want_fpr, want_calls = recursion(p, tpr, fpr, b)
    assert got.tpr == pytest.approx(want_tpr, abs=1e-9)
    assert got.fpr == pytest.approx(want_fpr, abs=1e-9)
    assert got.calls == pytest.approx(want_calls, abs=1e-9)


@given(cascades())
def test_iid_is_measured_prevalence_of_independent_chunks(cascade):
    p, tpr, fpr, b = cascade
    share = [1 - (1 - p) ** (b**k) for k in range(len(tpr))]
    iid, measured = expected_cascade(p, tpr, fpr, b), expected_cascade(share, tpr, fpr, b)
    assert measured.calls == pytest.approx(iid.calls, abs=1e-9)
    assert measured.fpr == pytest.approx(iid.fpr, abs=1e-9)
    assert measured.variance is None
    assert measured.total_variance is None


@given(cascades(low=2))
@settings(max_examples=40)
def test_simulation_agrees(cascade):
    p, tpr, fpr, b = cascade
    want = expected_cascade(p, tpr, fpr, b)
    chunks = 40 * b ** (len(tpr) - 1)
    runs = [simulate_cascade(p, tpr, fpr, b, chunks, seed) for seed in range(60)]
    error = np.sqrt(want.total_variance / chunks / 60)
    assert abs(np.mean([run.total_calls for run in runs]) - want.total_calls) <= 4 * error + 1e-12
    for name in ("fpr", "tpr"):
        values = np.array([getattr(run, name) for run in runs])
        if not np.isfinite(values).all() or p * chunks < 20 or (1 - p) * chunks < 20:
            continue  # a mean of ratios is biased where the denominator may be small
        error = values.std(ddof=1) / np.sqrt(60)
        assert abs(values.mean() - getattr(want, name)) <= 4 * error + 1e-3, name


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("branching", "p", "fpr", "tpr", "_t", "_f", "_c"), GOLDEN)
def test_calls_lie_within_four_of_their_own_standard_deviations(branching, p, fpr, tpr, _t, _f, _c, seed):
    n = 512_000
    want, got = expected_cascade(p, tpr, fpr, branching), simulate_cascade(p, tpr, fpr, branching, n, seed)
    assert abs(got.total_calls - want.total_calls) < 4 * np.sqrt(want.total_variance / n)
    for k in range(len(tpr) - 1):
        assert abs(got.calls[k] - want.calls[k]) < 4 * np.sqrt(want.variance[k] / n)
        assert got.variance[k] == pytest.approx(want.variance[k], rel=0.05)
    assert got.calls[-1] == want.calls[-1]


def test_variance_of_two_levels_is_binomial():
    p, b = 0.03, 4
    got = expected_cascade(p, (0.9, 0.95), (0.1, 0.2), b)
    q = (1 - p) ** b
    pi = q * 0.2 + (1 - q) * 0.95
    assert got.variance[0] == pytest.approx(b * pi * (1 - pi), rel=1e-12)
    assert got.variance[1] == 0
    assert got.total_variance == pytest.approx(b * pi * (1 - pi), rel=1e-12)


def test_variance_of_three_levels_agrees_with_simulation():
    args = 0.01, (0.9, 0.93, 0.97), (0.05, 0.2, 0.3), (8, 4)
    n, want = 3200, expected_cascade(*args)
    runs = [simulate_cascade(*args, n, seed).calls for seed in range(1500)]
    sampled = np.var(runs, axis=0, ddof=1) * n
    assert sampled == pytest.approx(want.variance, rel=4 * np.sqrt(2 / 1500))
    assert np.var(np.sum(runs, axis=1), ddof=1) * n == pytest.approx(want.total_variance, rel=4 * np.sqrt(2 / 1500))


def test_clustered_objects_cost_fewer_calls():
    tpr, fpr = (0.95, 0.98), (0.05, 0.10)
    iid, clustered = expected_cascade(0.01, tpr, fpr, 8), expected_cascade((0.01, 0.02), tpr, fpr, 8)
    assert clustered.calls[0] == pytest.approx(0.98 * 0.10 + 0.02 * 0.98)
    assert clustered.total_calls < iid.total_calls
    got = simulate_cascade((0.01, 0.02), tpr, fpr, 8, 800_000, 3)
    assert got.calls[0] == pytest.approx(clustered.calls[0], rel=0.02)
    assert got.fpr == pytest.approx(clustered.fpr, rel=0.05)
    assert got.tpr == pytest.approx(clustered.tpr, rel=0.01)


def test_two_sensitivities():
    got = expected_cascade((0.01, 0.05), (0.9, 0.8), (0.1, 0.1), 8, tpr_chunk=(0.9, 0.99))
    assert got.tpr == pytest.approx(0.72)
    assert got.calls[0] == pytest.approx(0.95 * 0.1 + 0.05 * 0.99)


@given(cascades())
def test_invariants(cascade):
    p, tpr, fpr, b = cascade
    levels = len(tpr)
    open_gates = expected_cascade(p, [tpr[0]] + [1.0] * (levels - 1), [fpr[0]] + [1.0] * (levels - 1), b)
    assert open_gates.total_calls == pytest.approx(sum(float(b) ** -k for k in range(levels)))
    assert (open_gates.tpr, open_gates.fpr) == pytest.approx((tpr[0], fpr[0]))
    got = expected_cascade(p, tpr, fpr, b)
    assert got.tpr <= min(tpr) + 1e-12
    assert got.fpr <= fpr[0] + 1e-12
    assert all(v >= 0 for v in got.variance)


def test_perfect_coarse_level_loses_nothing():
    got = expected_cascade(0.01, (0.95, 1.0), (0.05, 0.0), 8)
    assert got.tpr == 0.95
    assert got.calls[0] == pytest.approx(1 - 0.99**8)


def test_one_level_and_the_ends_of_prevalence():
    one = expected_cascade(0.1, [0.9], [0.2])
    assert (one.tpr, one.fpr, one.calls, one.saving, one.variance) == (0.9, pytest.approx(0.2), (1.0,), 0.0, (0.0,))
    none, every = (expected_cascade(p, (0.9, 0.8), (0.1, 0.2), 8) for p in (0.0, 1.0))
    assert none.calls[0] == pytest.approx(0.2)
    assert every.calls[0] == pytest.approx(0.8)
    tiny = expected_cascade(1e-14, (0.9, 0.8), (0.1, 0.0), 8)
    assert tiny.calls[0] == pytest.approx(8e-14 * 0.8, rel=1e-9)


def test_unequal_and_ragged_branching():
    got = expected_cascade(0.01, (0.9, 0.9, 0.9), (0.1, 0.1, 0.1), (4, 8))
    assert got.calls[1:] == pytest.approx(((0.99**32 * 0.1 + (1 - 0.99**32) * 0.9) / 4, 1 / 32))
    assert expected_cascade(0.01, (0.9, 0.9), (0.1, 0.1), 3.5).calls[1] == 1 / 3.5


def test_cost_and_break_even():
    tpr, fpr, cost = (0.95, 0.97), (0.05, 0.1), (2.0, 3.0)
    got = expected_cascade(0.01, tpr, fpr, 8)
    assert got.cost(cost) == pytest.approx(got.calls[0] * 2 + 3 / 8)
    p = break_even(tpr, fpr, 8, cost)
    assert expected_cascade(p, tpr, fpr, 8).cost(cost) == pytest.approx(2.0)
    assert expected_cascade(p, tpr, fpr, 8).calls[0] == pytest.approx(1 - 3 / (8 * 2))
    assert break_even(tpr, fpr, 8, (1.0, 20.0)) == 0.0
    assert break_even((0.9, 0.5), (0.1, 0.1), 8) == 1.0


def test_simulation_is_seeded_and_counts_all():
    args = 0.05, (0.9, 0.8), (0.1, 0.2), 8, 1000
    assert simulate_cascade(*args, 5) == simulate_cascade(*args, 5)
    assert simulate_cascade(*args, 5) != simulate_cascade(*args, 6)
    assert np.isnan(simulate_cascade(0.0, (1.0,), (0.0,), (), 10).tpr)
    assert np.isnan(simulate_cascade(1.0, (1.0,), (0.0,), (), 10).fpr)
    perfect = simulate_cascade(0.05, (1.0, 1.0), (0.0, 0.0), 8, 100_000, 2)
    assert (perfect.tpr, perfect.fpr) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ((1.5, (0.9,), (0.1,)), r"got prevalence \[1.5\]; allowed: 0 to 1"),
        ((float("nan"), (0.9,), (0.1,)), "got prevalence"),
        ((0.1, (0.9, 1.2), (0.1, 0.1), 8), r"got tpr \[0.9, 1.2\]; allowed: 0 to 1"),
        ((0.1, (0.9, 0.9), (0.1,), 8), "got 1 values of fpr; need 2, from the finest"),
        ((0.1, (), ()), "got no tpr"),
        ((0.1, (0.9, 0.9), (0.1, 0.1), (8, 8)), "got 2 values of branching; need 1"),
        ((0.1, (0.9, 0.9), (0.1, 0.1), 0.5), r"got branching \[0.5\]; allowed: 1 to inf"),
        (((0.2, 0.1), (0.9, 0.9), (0.1, 0.1), 8), "cannot fall from the finest level"),
        ((0.1, (0.9, 0.9), (0.1, 0.1), 8, (0.9,)), "got 1 values of tpr_chunk"),
    ],
)
def test_errors_say_what_is_wrong(args, match):
    with pytest.raises(InputError, match=match) as error:
        expected_cascade(*args)
    assert "\n" not in str(error.value)


def test_simulation_and_break_even_refuse():
    with pytest.raises(InputError, match="whole numbers"):
        simulate_cascade(0.1, (0.9, 0.9), (0.1, 0.1), 2.5, 100)
    with pytest.raises(InputError, match="whole numbers, 1 or more"):
        simulate_cascade(0.1, (0.9, 0.9), (0.1, 0.1), 2, 0)
    with pytest.raises(InputError, match="at most 2 times the finer"):
        simulate_cascade((0.1, 0.5), (0.9, 0.9), (0.1, 0.1), 2, 100)
    with pytest.raises(InputError, match="worse than chance"):
        break_even((0.9, 0.1), (0.1, 0.5), 8)
    with pytest.raises(InputError, match="got 1 values of cost; need 2"):
        expected_cascade(0.1, (0.9, 0.9), (0.1, 0.1), 8).cost([1.0])
