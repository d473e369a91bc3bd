"""Calibration against what is known of Gaussians, and recalibration of one that lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.metrics import auroc
from napari_connecto.workflows.xray.reliability import Recalibration, calibration, quantile


def draw(seed: int = 0, n: int = 60_000, lie: float = 1.0):
    """Mean 0, truth of a known sd that varies, and what is stated: ``lie`` times that."""
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.02, 0.2, n)
    return np.zeros(n), lie * sd, sd * rng.standard_normal(n)


def test_a_true_gaussian_is_covered_as_stated_and_ranks_its_errors():
    found = calibration(*draw())
    for level, share in found.coverage.items():
        assert share == pytest.approx(level, abs=0.006)
    assert 0.45 < found.spearman < 0.55
    assert 0 < found.ause < 0.35
    assert found.by_sd[0] == found.by_error[0] == 1
    assert (np.diff(found.by_error) <= 1e-12).all()


def test_an_oracle_has_no_area_and_a_constant_says_nothing():
    mean, sd, truth = draw()
    assert calibration(mean, np.abs(truth), truth).ause == pytest.approx(0, abs=1e-12)
    assert calibration(mean, np.abs(truth), truth).spearman == pytest.approx(1)
    constant = calibration(mean, np.full_like(sd, 0.1), truth)
    assert np.isnan(constant.spearman)
    assert constant.ause > 1.3 * calibration(mean, sd, truth).ause


def test_a_known_sparsification():
    """Errors 1, 2, 3, 4 of which the sd finds the worst first, then the best."""
    found = calibration(np.zeros(4), np.array([3.0, 1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    half = int(np.argmin(np.abs(found.removed - 0.5)))
    assert found.by_error[half] == pytest.approx(1.5 / 2.5)
    assert found.by_sd[half] == pytest.approx(2.5 / 2.5)
    assert found.spearman == pytest.approx(1 - 6 * (2**2 + 1**2 + 1**2) / (4 * (4**2 - 1))), "ranks 1 2 3 4 and 3 1 2 4"


def test_only_what_is_valid_counts():
    mean, sd, truth = draw(n=2000)
    valid = np.arange(2000) < 1000
    truth[~valid] = np.nan
    assert calibration(mean, sd, truth, valid=valid).coverage[0.9] == pytest.approx(0.9, abs=0.03)
    with pytest.raises(InputError, match="not finite"):
        calibration(mean, sd, truth)
    with pytest.raises(InputError, match="no voxel is valid"):
        calibration(mean, sd, truth, valid=np.zeros(2000, bool))
    with pytest.raises(InputError, match="of one shape"):
        calibration(mean[:5], sd, truth)
    with pytest.raises(InputError, match="between 0 and 1"):
        calibration(mean[:9], sd[:9], np.zeros(9), levels=(0.5, 1.0))


@pytest.mark.parametrize("lie", [0.3, 1.0, 4.0])
def test_recalibration_mends_a_lie_on_data_it_has_not_seen(lie):
    fix = Recalibration.fit(*draw(1, lie=lie))
    mean, sd, truth = draw(2, lie=lie)
    assert calibration(mean, fix(sd), truth).coverage[0.9] == pytest.approx(0.9, abs=0.008)
    np.testing.assert_allclose(np.median(fix(sd) / sd), 1 / lie, rtol=0.06)


def test_recalibration_mends_each_size_of_uncertainty_by_itself():
    rng = np.random.default_rng(0)
    sd = np.repeat([0.01, 0.1], 20_000)
    truth = sd * np.repeat([3.0, 0.5], 20_000) * rng.standard_normal(40_000)
    fix = Recalibration.fit(np.zeros(40_000), sd, truth)
    np.testing.assert_allclose(fix(np.array([0.01, 0.1])), [0.03, 0.05], rtol=0.05)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_recalibration_rises_and_keeps_zero(seed, lie):
    fix = Recalibration.fit(*draw(seed, n=3000, lie=lie))
    out = fix(np.linspace(0, 3 * lie, 400))
    assert out[0] == 0
    assert (np.diff(out) >= -1e-12).all()


def test_a_damaged_recalibration_is_refused():
    for stated, right in (((), ()), ((1.0,), (1.0, 2.0)), ((2.0, 1.0), (1.0, 2.0)), ((1.0,), (float("nan"),))):
        with pytest.raises(ModelError, match="both must rise"):
            Recalibration(stated, right)
    with pytest.raises(InputError, match="nothing to recalibrate"):
        Recalibration.fit(np.zeros(9), np.zeros(9), np.ones(9))


def test_auroc_counts_pairs():
    score, wrong = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([0, 0, 1, 1, 1])
    pairs = [(a > b) + 0.5 * (a == b) for a in score[wrong == 1] for b in score[wrong == 0]]
    assert auroc(score, wrong) == pytest.approx(np.mean(pairs))
    assert np.isnan(auroc(score, np.zeros(5)))


def test_quantiles_are_the_gaussian_ones():
    assert quantile(0.9) == pytest.approx(1.6448536)
    assert quantile(0.5) == pytest.approx(0.6744898)
