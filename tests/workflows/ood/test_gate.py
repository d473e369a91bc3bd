from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.models.files import new_model
from napari_connecto.workflows.ood.gate import Gate, fit_gate, inconsistency, judge_tiles
from napari_connecto.workflows.ood.gaussian import Gaussian
from napari_connecto.workflows.ood.judgement import Judgement
from tests.models.cards import ALL, UNET_3D


def _vectors(rng: np.random.Generator, n: int, d: int = 24) -> np.ndarray:
    """Of three strong directions and noise."""
    mix = np.random.default_rng(99).normal(size=(3, d))
    return rng.normal(size=(n, 3)) * (5, 3, 2) @ mix + rng.normal(size=(n, d)) + 7


def test_distance_is_mahalanobis_of_the_probabilistic_pca():
    rng = np.random.default_rng(0)
    fitted = Gaussian.fit(_vectors(rng, 200))
    w, s2, d = fitted.directions, fitted.residual, 24
    covariance = (w.T * (fitted.variances - s2)) @ w + s2 * np.eye(d)
    new = _vectors(rng, 5)
    z = (new - fitted.mean) / fitted.scale
    want = np.sqrt(np.einsum("nd,de,ne->n", z, np.linalg.inv(covariance), z) / d)
    np.testing.assert_allclose(fitted.distance(new), want, rtol=1e-8)
    assert len(fitted.variances) == 3  # 9 tenths of the variance lie in what was put in
    assert 0.9 < np.median(fitted.distance(_vectors(rng, 400))) < 1.1


def test_features_that_never_varied_count_when_they_do():
    rng = np.random.default_rng(0)
    vectors = _vectors(rng, 100)
    vectors[:, 0] = 0
    fitted = Gaussian.fit(vectors)
    new = _vectors(rng, 1)
    new[:, 0] = 0
    lit = new.copy()
    lit[:, 0] = 10
    assert fitted.distance(lit)[0] > 3 * fitted.distance(new)[0]


@pytest.mark.parametrize("seed", range(3))
def test_keeps_the_stated_false_alarm_rate_on_both_statistics_together(seed: int):
    rng = np.random.default_rng(seed)
    gate = Gate.fit(_vectors(rng, 400), rng.exponential(size=400), false_alarm=0.05, seed=seed)
    fresh = gate.judge(_vectors(rng, 4000), rng.exponential(size=4000))
    assert 0.02 < fresh.share < 0.08
    assert 0.02 < gate.measured < 0.08
    assert (gate.tiles, gate.blocks, gate.false_alarm) == (400, 400, 0.05)
    assert fresh.expected == gate.interval[1]
    assert 0.005 < (fresh.distance > gate.distance_limit).mean() < 0.05  # each has its part
    assert 0.005 < (fresh.inconsistency > gate.inconsistency_limit).mean() < 0.05


def test_limits_are_the_conformal_quantile():
    """Of 99 tiles whose distances say nothing, the 95th smallest inconsistency of 100 * 0.95 is the limit."""
    unsure = np.random.default_rng(0).permutation(99).astype(float)
    gate = Gate.fit(np.ones((99, 4)), unsure, false_alarm=0.05)
    assert gate.inconsistency_limit == 94
    flat = gate.judge(np.ones((3, 4)), np.array([94.0, 94.5, 0.0]))
    assert flat.outside.tolist() == [False, True, False]
    assert gate.judge(np.full((1, 4), 9.0), np.zeros(1)).outside.all()


def test_near_copies_hide_false_alarms_unless_blocks_are_kept_apart():
    rng = np.random.default_rng(3)
    blocks = np.repeat(np.arange(12), 20)
    vectors = np.repeat(rng.normal(size=(12, 24)), 20, axis=0) + 0.05 * rng.normal(size=(240, 24))
    unsure = rng.exponential(size=240)
    random, apart = (Gate.fit(vectors, unsure, groups=groups) for groups in (None, blocks))
    fresh, quiet = rng.normal(size=(40, 24)), np.zeros(40)
    assert random.judge(fresh, quiet).share > 0.9
    assert apart.judge(fresh, quiet).share < 0.2
    assert apart.blocks == 12
    assert apart.measured >= random.measured


def test_interval_is_clopper_pearson():
    gate = replace(Gate.fit(np.ones((99, 4)), np.arange(99.0)), alarms=3, tiles=100)
    want = beta.ppf([0.025, 0.975], [3, 4], [98, 97])
    np.testing.assert_allclose(gate.interval, want, rtol=1e-6)


def test_warns_where_chance_does_not_explain_it():
    outside = np.arange(32) < 7
    judged = Judgement(np.ones(32), np.zeros(32), outside, 0.05)
    assert judged.p == pytest.approx(binom.sf(6, 32, 0.05))
    assert judged.warns
    assert judged.lines("fly") == [
        "7 of 32 tiles are out of distribution for 'fly' (up to 5.0 % expected by chance, p = 0.00087): "
        "check a preview before relying on the result."
    ]
    usual = replace(judged, outside=np.arange(32) < 2)
    assert not usual.warns
    assert usual.lines("fly")[0].endswith("p = 0.48); no warning, which takes p < 0.001.")
    assert usual.to_json() == {
        "tiles": 32,
        "outside": 2,
        "expected": 0.05,
        "p": usual.p,
        "warns": False,
        "distance": 1.0,
        "inconsistency": 0.0,
    }
    none = Judgement(np.empty(0), np.empty(0), np.empty(0, bool), 0.05)
    assert (none.share, none.p, none.warns) == (0.0, 1.0, False)
    assert none.lines("fly") == ["No tissue found to compare with the training data of 'fly'."]


class Ramp:
    """Two outputs: one that ignores where it is, one that adds the column, 0 to 3."""

    card = replace(UNET_3D, outputs=(Output("mean"), Output("column")))

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        return {"mean": batch[:, 0], "column": batch[:, 0] + np.arange(4, dtype=np.float32)}


def test_inconsistency_is_the_mean_difference_between_flips():
    tiles = np.random.default_rng(0).random((2, 1, 3, 5, 4), np.float32)
    # columns 0 1 2 3 against 3 2 1 0: 2 on average, in 4 of 6 pairs of flips, in one output of two
    np.testing.assert_allclose(inconsistency(Ramp(), tiles), [2 * 4 / 6 / 2] * 2, rtol=1e-5)


def _tiles(card: ModelCard, n: int, seed: int) -> np.ndarray:
    shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    rng = np.random.default_rng(seed)
    return (rng.random((n, card.channels, *shape)) * rng.uniform(0.5, 1, (n, 1, 1, 1, 1))).astype(np.float32)


@pytest.mark.parametrize("name", ALL)
def test_networks_of_every_kind_can_be_guarded(name: str):
    card = ALL[name]
    model = new_model(card, 1, device="cpu")
    tiles = _tiles(card, 24, 0)
    gate = fit_gate(model, tiles, np.repeat(np.arange(6), 4), 0.1)
    assert gate.space == model.card.digest
    assert gate.shape == tiles.shape[2:]
    assert judge_tiles(gate, model, tiles).share <= 0.1
    assert judge_tiles(gate, model, 1 - _tiles(card, 8, 1) * 6).outside.all()


def test_another_model_and_other_tiles_are_refused():
    model, other = (new_model(UNET_3D, seed, device="cpu") for seed in (1, 2))
    tiles = _tiles(UNET_3D, 20, 0)
    gate = fit_gate(model, tiles)
    with pytest.raises(ModelError, match=r"this Gate was fitted for model \w+, not for \w+; fit one for this model"):
        judge_tiles(gate, other, tiles)
    with pytest.raises(InputError, match=r"got tiles of \(8, 32, 32\) voxels; this Gate takes tiles of \(16"):
        judge_tiles(gate, model, tiles[:, :, :8])


@pytest.mark.parametrize(
    ("vectors", "unsure", "options", "line"),
    [
        (np.ones((19, 3)), np.ones(19), {}, "got 19 tiles; a false-alarm rate of 5 % needs 20 or more"),
        (np.ones((20, 3)), np.ones(9), {}, r"got vectors \(20, 3\) and inconsistencies \(9,\)"),
        (np.ones((20, 3)), np.ones(20), {"groups": np.zeros(20)}, "got 1 block of tiles; 2 or more are needed"),
        (np.ones((20, 3)), np.ones(20), {"false_alarm": 0}, "got a false-alarm rate of 0; allowed: between 0 and 1"),
        (np.full((20, 3), np.nan), np.ones(20), {}, "not finite; check the tiles for NaN"),
    ],
)
def test_bad_input_is_named(vectors, unsure, options, line):
    with pytest.raises(InputError, match=line):
        Gate.fit(vectors, unsure, **options)
