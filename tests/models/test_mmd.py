from __future__ import annotations

import re
from math import exp, sqrt

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import InputError
from napari_connecto.models.transfer import mmd
from napari_connecto.models.transfer.mmd import mmd2, mmd_test


def reference(x: np.ndarray, y: np.ndarray, widths: list[float], unbiased: bool = True) -> float:
    """The formula of science.md as it stands, one pair after the other, in float64."""
    x, y = x.astype(float), y.astype(float)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return sum(exp(-float(((a - b) ** 2).sum()) / (2 * s * s)) for s in widths) / len(widths)

    def within(rows: np.ndarray) -> float:
        n = len(rows)
        total = sum(k(rows[i], rows[j]) for i in range(n) for j in range(n) if not (unbiased and i == j))
        return total / (n * (n - 1) if unbiased else n * n)

    cross = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * cross


def median_distance(x: np.ndarray, y: np.ndarray) -> float:
    rows = np.concatenate([x, y]).astype(float)
    return float(np.median([np.linalg.norm(rows[i] - rows[j]) for i in range(len(rows)) for j in range(i)]))


def samples(n: int, m: int, d: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def test_by_hand():
    """x = {0, 1}, y = {2, 4}: distances 1; 2; 2, 4, 1, 3, whose median is 2."""
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [4.0]])
    for s, given in ((2.0, "median"), (1.0, 1.0)):
        a, b = exp(-1 / (2 * s * s)), exp(-4 / (2 * s * s))
        cross = (b + exp(-16 / (2 * s * s)) + a + exp(-9 / (2 * s * s))) / 4
        assert mmd2(x, y, bandwidth=given) == pytest.approx(a + b - 2 * cross, rel=1e-13)
        biased = (1 + a) / 2 + (1 + b) / 2 - 2 * cross
        assert mmd2(x, y, bandwidth=given, unbiased=False) == pytest.approx(biased, rel=1e-13)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("n", "m", "d"), [(2, 3, 1), (20, 31, 8), (40, 25, 64)])
def test_agrees_with_a_plain_double_loop(n, m, d, unbiased):
    x, y = samples(n, m, d, shift=0.3)
    want = reference(x, y, [median_distance(x, y)], unbiased)
    assert mmd2(x, y, unbiased=unbiased) == pytest.approx(want, rel=1e-9)
    several = [0.5, 2.0, 9.0]
    want = reference(x, y, several, unbiased)
    assert mmd2(x, y, bandwidth=several, unbiased=unbiased) == pytest.approx(want, rel=1e-9)


def test_blocks_and_an_offset_far_away_change_nothing(monkeypatch):
    x, y = samples(37, 41, 5, shift=0.5)
    whole, test = mmd2(x, y, bandwidth=1.5), mmd_test(x, y, 50, bandwidth=1.5)
    assert mmd2(x + 1e4, y + 1e4, bandwidth=1.5) == pytest.approx(whole, rel=1e-8)
    monkeypatch.setattr(mmd, "BLOCK", 4 * 78)
    assert mmd2(x, y, bandwidth=1.5) == pytest.approx(whole, rel=1e-12)
    blocked = mmd_test(x, y, 50, bandwidth=1.5)
    assert blocked.mmd2 == pytest.approx(test.mmd2, rel=1e-12)
    assert (blocked.p, blocked.interval) == (test.p, pytest.approx(test.interval, rel=1e-12))


def test_float32_rows_and_tensors_are_taken_as_they_are():
    x, y = (sample.astype(np.float32) for sample in samples(30, 20, 6, 0.4))
    want = reference(x, y, [2.0])
    assert mmd2(x, y, bandwidth=2.0) == pytest.approx(want, rel=1e-9)
    assert mmd2(torch.as_tensor(x), torch.as_tensor(y), bandwidth=2.0) == pytest.approx(want, rel=1e-9)


def test_the_median_of_many_rows_is_that_of_a_fixed_sample(monkeypatch):
    x, y = samples(300, 300, 8)
    exact = mmd._median_distance(torch.as_tensor(np.concatenate([x, y])))
    assert exact == pytest.approx(median_distance(x, y), rel=1e-9)
    monkeypatch.setattr(mmd, "MEDIAN_ROWS", 200)
    sampled = mmd_test(x, y, 1).bandwidth
    assert sampled == mmd_test(x, y, 1).bandwidth
    assert sampled[0] == pytest.approx(exact, rel=0.05)
    assert sampled[0] != exact


def test_permutations_are_those_of_recomputing():
    x, y = samples(9, 7, 3, shift=0.8)
    result = mmd_test(x, y, 200, seed=3, bandwidth=1.3)
    assert result.mmd2 == pytest.approx(mmd2(x, y, bandwidth=1.3), rel=1e-9)
    rows, rng, far = np.concatenate([x, y]), np.random.default_rng(3), 0
    labels = mmd._relabelled(16, 9, 200, rng)[:, 1:].astype(bool)
    for column in labels.T:
        far += mmd2(rows[column], rows[~column], bandwidth=1.3) >= result.mmd2
    assert result.p == (1 + far) / 201
    assert (labels.sum(0) == 9).all()


def test_resamples_are_those_of_recomputing(monkeypatch):
    monkeypatch.setattr(mmd, "BOOTSTRAPS", 40)
    x, y = samples(6, 8, 2, shift=1.0)
    interval = mmd_test(x, y, 5, seed=1, bandwidth=1.0).interval
    rng = np.random.default_rng(1)
    mmd._relabelled(14, 6, 5, rng)
    copies_x, copies_y = (rng.multinomial(k, np.full(k, 1 / k), 40) for k in (6, 8))

    def kernel(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2)

    def one(wx, wy):
        xx, yy = np.outer(wx, wx) * (1 - np.eye(6)), np.outer(wy, wy) * (1 - np.eye(8))
        within = (kernel(x, x) * xx).sum() / xx.sum() + (kernel(y, y) * yy).sum() / yy.sum()
        return within - 2 * wx @ kernel(x, y) @ wy / (wx.sum() * wy.sum())

    values = [one(wx, wy) for wx, wy in zip(copies_x, copies_y, strict=True)]
    assert interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=1e-9)


def test_under_the_null_p_is_uniform():
    """200 tests of samples from one distribution: the share below q is about q."""
    p = np.array([mmd_test(*samples(20, 25, 4, seed=seed), 99, seed=seed).p for seed in range(200)])
    assert p.min() >= 0.01
    assert 0.01 <= (p <= 0.05).mean() <= 0.09  # binomial: 0.05 +- 0.015
    assert abs((p <= 0.5).mean() - 0.5) < 0.1
    assert abs(p.mean() - 0.5) < 0.06


def test_a_shift_is_found_and_lies_in_the_interval():
    found = [mmd_test(*samples(40, 40, 4, 0.6, seed), 199, seed=seed) for seed in range(30)]
    assert np.mean([test.p <= 0.05 for test in found]) > 0.9
    assert all(test.interval[0] < test.mmd2 < test.interval[1] for test in found)
    truth = _population(0.6 * sqrt(4), 4, 2.0)  # the interval of a fixed s covers the population's value
    fixed = [mmd_test(*samples(40, 40, 4, 0.6, seed), 1, seed=seed, bandwidth=2.0).interval for seed in range(100)]
    assert 0.88 <= np.mean([low <= truth <= high for low, high in fixed]) <= 1.0


def _population(shift: float, d: int, s: float) -> float:
    """MMD^2 between two unit Gaussians in d dimensions, ``shift`` apart, in closed form."""
    scale = (s * s / (s * s + 2)) ** (d / 2)
    return 2 * scale * (1 - exp(-(shift**2) / (2 * (s * s + 2))))


def test_the_unbiased_value_has_the_populations_mean():
    values = [mmd2(*samples(30, 30, 3, 0.5, seed), bandwidth=1.5) for seed in range(300)]
    error = np.std(values) / sqrt(300)
    assert abs(np.mean(values) - _population(0.5 * sqrt(3), 3, 1.5)) < 3 * error


def test_the_same_seed_gives_the_same_answer():
    x, y = samples(30, 30, 4, 0.2)
    assert mmd_test(x, y, 99, seed=1) == mmd_test(x, y, 99, seed=1)
    assert mmd_test(x, y, 99, seed=1).interval != mmd_test(x, y, 99, seed=2).interval


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees():
    x, y = samples(200, 300, 64, 0.1)
    assert mmd2(x, y, device="cuda") == pytest.approx(mmd2(x, y), rel=1e-5)
    assert mmd_test(x, y, 99, device="cuda").p == pytest.approx(mmd_test(x, y, 99).p, abs=0.02)


@pytest.mark.parametrize(
    ("x", "y", "bandwidth", "message"),
    [
        (np.ones((1, 3)), np.ones((4, 3)), 1.0, "first sample of shape (1, 3); it must be (rows >= 2"),
        (np.ones((4, 3)), np.ones(4), 1.0, "second sample of shape (4,)"),
        (np.ones((4, 3)), np.ones((4, 5)), 1.0, "samples of 3 and 5 features"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), 1.0, "NaN or infinite features in the first"),
        (np.eye(3), np.eye(3), 0.0, "got bandwidth 0.0; it must be positive"),
        (np.eye(3), np.eye(3), [], "got bandwidth []; it must be positive"),
        (np.eye(3), np.eye(3), "mean", "got bandwidth 'mean'; allowed: 'median'"),
        (np.ones((4, 3)), np.ones((4, 3)), "median", "most of whose rows are equal"),
    ],
)
def test_refuses(x, y, bandwidth, message):
    with pytest.raises(InputError, match=re.escape(message)):
        mmd2(x, y, bandwidth=bandwidth)


def test_refuses_no_permutations():
    with pytest.raises(InputError, match="got 0 permutations"):
        mmd_test(np.eye(3), np.eye(3), 0)
