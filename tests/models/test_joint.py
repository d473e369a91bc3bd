"""The loss of several outputs: each learns its own target, and a teacher's variance counts as variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_connecto.core.errors import InputError
from napari_connecto.models.training.joint import JointLoss, Through
from napari_connecto.models.training.regression import RegressionLoss

OUTPUTS = ("mean", "log_variance", "log_epistemic", "membrane")


def loss(**options) -> JointLoss:
    return JointLoss(OUTPUTS, RegressionLoss("gaussian", 0.0), **options)


def settled(target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The outputs that plain descent of the loss ends at."""
    answer = torch.zeros_like(target, requires_grad=True)
    descent = torch.optim.Adam([answer], lr=0.05)
    for _ in range(600):
        descent.zero_grad()
        loss()(answer, target, weight).backward()
        descent.step()
    return answer.detach()


def test_each_output_learns_its_own_target():
    """The mean a mean, the variance that of the teacher (Kullback-Leibler), the logit the log odds."""
    target = torch.tensor([0.4, 0.09, np.log(0.02), 0.8]).reshape(1, 4, 1, 1, 1).expand(1, 4, 4, 4, 4).float()
    answer = settled(target, torch.ones_like(target)).mean((0, 2, 3, 4))
    np.testing.assert_allclose(answer, [0.4, np.log(0.09), np.log(0.02), np.log(0.8 / 0.2)], atol=0.05)


def test_what_has_no_weight_is_not_learnt():
    target = torch.rand(1, 4, 4, 4, 4)
    weight = torch.ones_like(target)
    weight[:, 2:] = 0
    answer = settled(target, weight)
    assert answer[:, 2:].abs().max() == 0
    assert answer[:, 0].std() > 0.1


def test_a_measured_image_gives_the_likelihood():
    output, image = torch.randn(1, 4, 4, 4, 4), torch.rand(1, 1, 4, 4, 4)
    target = torch.cat([image, torch.zeros(1, 3, 4, 4, 4)], 1)
    weight = torch.ones_like(target)
    weight[:, 2:] = 0
    plain = RegressionLoss("gaussian", 0.0)(output[:, :2], image, weight[:, :1])
    torch.testing.assert_close(loss(membrane=0.0)(output, target, weight), plain)


def test_a_frozen_boundary_model_moves_the_mean_and_not_itself():
    class Model:
        net = nn.Conv3d(1, 1, 1)

    before = Model.net.weight.clone()
    through = Through(Model(), 1.0)
    assert not list(through.parameters()), "it is no part of what is saved and trained"
    mean, target = torch.zeros(1, 1, 4, 4, 4, requires_grad=True), torch.ones(1, 1, 4, 4, 4)
    through(mean, target, torch.ones_like(target)).backward()
    slope = mean.grad.sum((0, 1, 3, 4))
    assert (slope != 0).sum() == 2, "of two sections"
    assert (-slope.sum() * (target - mean.detach()).sum()) > 0, "towards the EM"
    torch.testing.assert_close(Model.net.weight, before)


def test_shapes_must_agree():
    with pytest.raises(InputError, match="of one shape, with the outputs mean, log_variance"):
        loss()(torch.rand(1, 2, 4, 4, 4), torch.rand(1, 4, 4, 4, 4), torch.rand(1, 4, 4, 4, 4))
