"""Ensembles, flips and dropout as predictors: the formulas, and the contract of a predictor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.mixture import OUTPUTS, Mixture, ensemble, flips, mc_dropout, regression_outputs
from tests.contracts.predictor import PredictorContract
from tests.models.cards import UNET_3D

CARD = replace(
    UNET_3D,
    task="translate",
    outputs=regression_outputs(),
    network={**UNET_3D.network, "dropout": 0.3, "activation": "none"},
)


def member(seed: int, **changes):
    return new_model(replace(CARD, **changes), seed, device="cpu")


class TestEnsemble(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Mixture:
        return ensemble([member(0), member(1), member(2)])


class TestFlips(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Mixture:
        return flips(member(0))


class TestDropout(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Mixture:
        return mc_dropout(member(0), 3)


class Constant:
    """Answers with given numbers, wherever; ``slope`` times the place along x is added."""

    def __init__(self, mean: float, variance: float, slope: float = 0.0) -> None:
        self.card = CARD
        self.values = mean, np.log(variance)
        self.slope = slope

    def __call__(self, batch, seeds):
        mean, log_variance = (np.full(batch[:, 0].shape, v, np.float32) for v in self.values)
        return {"mean": mean + self.slope * np.arange(batch.shape[-1]), "log_variance": log_variance}


def batch():
    return np.random.default_rng(0).random((2, 1, 16, 32, 32), np.float32)


def test_an_ensemble_is_the_mixture_of_its_gaussians():
    means, variances = [0.2, 0.5, 0.3, 0.9], [0.01, 0.04, 0.02, 0.03]
    answer = ensemble([Constant(m, v) for m, v in zip(means, variances, strict=True)])(batch(), [0, 1])
    expected = np.mean(means), np.sqrt(np.mean(variances)), np.std(means)
    for name, value in zip(OUTPUTS, expected, strict=True):
        np.testing.assert_allclose(answer[name], value, rtol=1e-5)


def test_one_model_has_no_epistemic_uncertainty():
    answer = ensemble([Constant(0.4, 0.25)])(batch(), [0, 1])
    np.testing.assert_allclose(answer["aleatoric"], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(answer["epistemic"], 0.0)


def test_mirror_images_are_mirrored_back():
    """Of a model that answers with the place along x, half of the looks are from the other end."""
    answer = flips(Constant(0.0, 0.01, slope=1.0))(batch(), [0, 1])
    place = np.arange(32)
    np.testing.assert_allclose(answer["mean"], 15.5, rtol=1e-6)
    np.testing.assert_allclose(answer["epistemic"][0, 3, 5], np.abs(place - 15.5), rtol=1e-5)


def test_dropout_draws_another_mask_for_each_tile_and_pass_and_none_without_it():
    model, x = member(0), np.repeat(batch()[:1], 2, axis=0)
    answer = mc_dropout(model, 4)(x, [1, 2])
    assert answer["epistemic"].min(axis=(1, 2, 3)).max() < answer["epistemic"].max()
    assert np.abs(answer["mean"][0] - answer["mean"][1]).max() > 1e-3, "same image, other seed"
    plain = model(x, [1, 2])["mean"]
    np.testing.assert_array_equal(plain[0], plain[1])


def test_members_must_be_alike_and_have_what_is_asked_for():
    with pytest.raises(ModelError, match="got no model"):
        ensemble([])
    with pytest.raises(ModelError, match="differ in more than their weights"):
        ensemble([member(0), member(1, voxel_nm=(8.0, 8.0, 8.0))])
    without = member(0, network={**CARD.network, "dropout": 0.0})
    with pytest.raises(ModelError, match="has no dropout"):
        mc_dropout(without)


def test_the_digest_tells_which_models_and_how():
    a, b = member(0), member(1)
    digests = {
        m.card.digest for m in (ensemble([a, b]), ensemble([b, a]), flips(a), mc_dropout(a, 3), mc_dropout(a, 4))
    }
    assert len(digests) == 5
    assert ensemble([a, b]).card.digest == ensemble([member(0), member(1)]).card.digest


def test_a_model_without_variance_is_certain_of_its_noise():
    card: ModelCard = replace(CARD, outputs=(Output("mean"),))
    answer = ensemble([new_model(card, s, device="cpu") for s in (0, 1)])(batch(), [0, 1])
    np.testing.assert_array_equal(answer["aleatoric"], 0.0)
    assert answer["epistemic"].max() > 0


class Four(Constant):
    """A model taught by an ensemble, which also answers with a logit of membrane."""

    def __init__(self, mean: float, total: float, epistemic: float, probability: float) -> None:
        super().__init__(mean, total)
        self.card = replace(CARD, outputs=regression_outputs(epistemic=True, membrane=True))
        self.more = {"log_epistemic": np.log(epistemic), "membrane": np.log(probability / (1 - probability))}

    def __call__(self, batch, seeds):
        same = batch[:, 0].shape
        return {**super().__call__(batch, seeds), **{k: np.full(same, v, np.float32) for k, v in self.more.items()}}


def test_a_taught_model_splits_its_variance_and_gives_membranes():
    """What it says an ensemble would differ by is epistemic, and taken off the rest; probabilities are averaged."""
    answer = ensemble([Four(0.4, 0.25, 0.09, 0.8)])(batch(), [0, 1])
    expected = {"mean": 0.4, "aleatoric": 0.4, "epistemic": 0.3, "membrane": 0.8}
    assert list(answer) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(answer[name], value, rtol=1e-4)
    two = ensemble([Four(0.4, 0.25, 0.09, 0.8), Four(0.6, 0.25, 0.09, 0.4)])(batch(), [0, 1])
    np.testing.assert_allclose(two["epistemic"], np.hypot(0.3, 0.1), rtol=1e-4)
    np.testing.assert_allclose(two["membrane"], 0.6, rtol=1e-4)
