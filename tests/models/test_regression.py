"""The losses of a translator against their formulas, and that they find what is there to be found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import run
from napari_connecto.models.files import new_model
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.training.regression import RegressionLoss, gradient_difference
from tests.models.test_mixture import CARD


def tensors(error: float, variance: float, shape=(2, 1, 4, 6, 6)):
    target = torch.rand(shape)
    output = torch.cat([target + error, torch.full(shape, float(np.log(variance)))], dim=1)
    return output, target, torch.ones(shape)


def test_gaussian_weighs_its_likelihood_by_the_standard_deviation():
    loss = RegressionLoss("gaussian", structure=0.0)(*tensors(0.3, 0.04))
    assert float(loss) == pytest.approx((0.3**2 / (2 * 0.04) + np.log(0.04) / 2) * 0.04**0.5, rel=1e-5)


def test_laplace_has_the_variance_of_its_scale():
    b = np.sqrt(0.04 / 2)
    loss = RegressionLoss("laplace", structure=0.0)(*tensors(-0.3, 0.04))
    assert float(loss) == pytest.approx(0.3 / b + np.log(2 * b), rel=1e-5)


def test_absolute_takes_one_output():
    output, target, weight = tensors(0.3, 0.04)
    assert float(RegressionLoss("absolute", structure=0.0)(output[:, :1], target, weight)) == pytest.approx(
        0.3, rel=1e-5
    )
    with pytest.raises(InputError, match="'absolute' needs 1 outputs"):
        RegressionLoss("absolute")(output, target, weight)
    with pytest.raises(InputError, match="got loss 'cubic'; allowed: gaussian, laplace, absolute"):
        RegressionLoss("cubic")


def test_what_has_no_weight_does_not_count():
    output, target, weight = tensors(0.3, 0.04)
    weight[..., :3] = 0
    spoilt = output.clone()
    spoilt[..., :3] = 99
    for kind, structure in (("gaussian", 0.0), ("laplace", 0.0), ("gaussian", 1.0)):
        loss = RegressionLoss(kind, structure)
        assert float(loss(spoilt, target, weight)) == pytest.approx(float(loss(output, target, weight)), abs=1e-5)


def test_the_gradient_difference_is_blind_to_brightness_and_sees_a_step():
    target = torch.zeros(1, 1, 1, 4, 4)
    assert float(gradient_difference(target + 0.5, target, torch.ones_like(target))) == 0
    step = target.clone()
    step[..., 2:] = 1.0
    assert float(gradient_difference(step, target, torch.ones_like(target))) == pytest.approx((1 / 3 + 0) / 2)


def noisy(seed: int = 0):
    """An image whose right half is seen through noise: mean the image, sd 0.02 on the left and 0.2 on the right."""
    rng = np.random.default_rng(seed)
    sd = np.where(np.arange(32) < 16, 0.02, 0.2)
    while True:
        x = np.round(rng.random((4, 1, 16, 4, 4))).repeat(8, 3).repeat(8, 4).astype(np.float32)
        y = 0.25 + 0.5 * x + sd * rng.standard_normal(x.shape)
        marked = x + 0.2 * (np.arange(32) >= 16)
        yield marked.astype(np.float32), y.astype(np.float32), np.ones(x.shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_the_network_learns_the_mean_and_how_noisy_each_side_is(kind):
    card = replace(CARD, network={**CARD.network, "dropout": 0.0, "width": 8})
    params = FitParams(steps=150, learning_rate=1e-2, validate_every=1000)
    model = run(fit(new_model(card, 0, device="cpu"), noisy(), params, objective=RegressionLoss(kind, 0.0)))
    x, _, _ = next(noisy(9))
    answer = model(x, [0] * len(x))
    truth = 0.25 + 0.5 * np.round(x[:, 0] - 0.2 * (np.arange(32) >= 16))
    sd = np.exp(0.5 * answer["log_variance"])
    assert np.abs(answer["mean"] - truth)[..., 2:14].mean() < 0.05
    left, right = np.median(sd[..., 2:14]), np.median(sd[..., 18:30])
    assert left < 0.6 * right
    assert 0.12 < right < 0.3


def test_an_adversary_is_the_same_again_learns_and_is_resumed(tmp_path):
    settings, digests = FitParams(steps=6, validate_every=2), []
    start = new_model(CARD, 0, device="cpu")

    def objective():
        return RegressionLoss("gaussian", 0.0, 0.5, seed=3)

    before = [p.clone() for p in objective().parameters()]
    learning = objective()
    digests.append(run(fit(start, noisy(), settings, objective=learning)).card.digest)
    assert any(not torch.equal(a, b) for a, b in zip(before, learning.parameters(), strict=True))
    job = fit(start, noisy(), settings, objective=objective(), checkpoint=tmp_path / "run")
    for progress in job:
        if progress.done == 5:
            job.close()
            break
    digests.append(run(fit(start, noisy(), settings, objective=objective(), checkpoint=tmp_path / "run")).card.digest)
    digests.append(run(fit(start, noisy(), settings, objective=RegressionLoss("gaussian", 0.0))).card.digest)
    assert digests[0] == digests[1] != digests[2]
