"""Losses for training a translator: likelihood, gradient difference, and optionally a discriminator."""

from __future__ import annotations

import warnings
from math import log

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE

KINDS = ("gaussian", "laplace", "absolute")
BETA = 0.5
ADVERSARY_RATE = 0.02


class RegressionLoss(nn.Module):
    """Of outputs "mean" and "log_variance" against one target.

    Parameters
    ----------
    kind
        "gaussian": ``(y - mu)^2 / (2 s^2) + log(s^2) / 2``, weighted by ``s^(2 beta)`` held still, beta one half, else
        the mean of badly predicted places is hardly learnt (Seitzer et al., arXiv 2203.09168); "laplace":
        ``|y - mu| / b + log 2b`` with variance ``2 b^2``; "absolute": ``|y - mu|``, for a model without variance.
    structure
        Weight of the gradient difference, the mean of ``|d mu - d y|`` over neighbours along each axis (after Mathieu
        et al., arXiv 1511.05440): edges count beyond their few voxels.
    adversary
        Weight of a discriminator's opinion (least squares, MONAI's patch discriminator, which learns on every call in
        training); 0 leaves it out. It sharpens the looks of a translation, not its truth.
    seed
        Of the discriminator's first weights.
    """

    def __init__(
        self, kind: str = "gaussian", structure: float = 0.5, adversary: float = 0.0, *, seed: int = 0
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"got loss {kind!r}; allowed: {', '.join(KINDS)}")
        self.kind = kind
        self.structure = structure
        self.adversary = Adversary(adversary, seed) if adversary > 0 else None

    def forward(self, output: Tensor, target: Tensor, weight: Tensor, spread: Tensor | None = None) -> Tensor:
        """Weighted mean over voxels; ``output`` (n, 1 or 2, z, y, x), ``target`` and ``weight`` (n, 1, z, y, x).

        ``spread`` is the variance of the target where that is an estimate itself; "gaussian" counts it.
        """
        outputs = 1 if self.kind == "absolute" else 2
        if output.shape[1] != outputs or target.shape != weight.shape or target.shape != output[:, :1].shape:
            raise InputError(
                f"got an output of {tuple(output.shape)}, target {tuple(target.shape)}, weight {tuple(weight.shape)}; "
                f"'{self.kind}' needs {outputs} outputs, one target and weight of one shape"
            )
        mean = output[:, :1]
        loss = weighted_mean(self._likelihood(mean, output[:, 1:], target, spread), weight)
        if self.structure > 0:
            loss = loss + self.structure * gradient_difference(mean, target, weight)
        if self.adversary is not None:
            loss = loss + self.adversary(mean, target)
        return loss

    def _likelihood(self, mean: Tensor, log_variance: Tensor, target: Tensor, spread: Tensor | None) -> Tensor:
        if self.kind == "absolute":
            return (target - mean).abs()
        log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
        if self.kind == "laplace":
            return (target - mean).abs() * (0.5 * (log(2) - log_variance)).exp() + 0.5 * (log_variance + log(2))
        square = (target - mean) ** 2 if spread is None else (target - mean) ** 2 + spread
        each = 0.5 * (square * (-log_variance).exp() + log_variance)
        return each * (BETA * log_variance.detach()).exp()


def gradient_difference(mean: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over axes (those of one voxel left out) of the weighted mean ``|d mean - d target|``."""
    error, terms = mean - target, []
    for axis in [a for a in (2, 3, 4) if mean.shape[a] > 1]:
        both = weight.narrow(axis, 1, weight.shape[axis] - 1) * weight.narrow(axis, 0, weight.shape[axis] - 1)
        terms.append(weighted_mean(error.diff(dim=axis).abs(), both))
    return torch.stack(terms).mean()


def weighted_mean(each: Tensor, weight: Tensor) -> Tensor:
    """Of two tensors of one shape; 0 where nothing has a weight."""
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


class Adversary(nn.Module):
    """A discriminator trained to tell translations from real EM, and its loss for the generator.

    It learns by plain gradient descent: all of its state are weights, so a resumed training goes on as it was.
    """

    def __init__(self, weight: float, seed: int) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI warns of its own imports
            from monai.losses import PatchAdversarialLoss
            from monai.networks.nets import PatchDiscriminator

        self.weight = weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PatchDiscriminator(spatial_dims=3, channels=8, in_channels=1, num_layers_d=2, norm="INSTANCE")
        self.opinion = PatchAdversarialLoss(criterion="least_squares")

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Weighted loss of the generator; in training the discriminator takes one step first."""
        if self.training:
            self._learn(fake.detach(), real)
        self.net.requires_grad_(False)
        told = self.opinion(self.net(fake)[-1], target_is_real=True, for_discriminator=False)
        self.net.requires_grad_(True)
        return self.weight * told

    def _learn(self, fake: Tensor, real: Tensor) -> None:
        with torch.enable_grad():
            loss = 0.5 * (
                self.opinion(self.net(fake)[-1], target_is_real=False, for_discriminator=True)
                + self.opinion(self.net(real)[-1], target_is_real=True, for_discriminator=True)
            )
            weights = list(self.net.parameters())
            slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for parameter, slope in zip(weights, slopes, strict=True):
                parameter.sub_(ADVERSARY_RATE * slope)
