"""The loss of a translator of several outputs: brightness, its uncertainty, and membranes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE, cross_entropy
from napari_connecto.models.training.regression import RegressionLoss, weighted_mean

SECTIONS_SEEN = 2
"""Sections of each crop that a frozen boundary model is shown."""


class JointLoss(nn.Module):
    """Of the outputs of a translator, each against its own target.

    Parameters
    ----------
    outputs
        Names of the network's outputs: "mean" and "log_variance"; "log_epistemic", the logarithm of the variance
        between the members of the ensemble that it is taught by; "membrane", a logit.
    regression
        Of the first two.
    membrane, epistemic
        Weights of the cross entropy of "membrane", and of the squared error of "log_epistemic".
    through
        Of a frozen boundary model, or None.
    """

    def __init__(
        self,
        outputs: Sequence[str],
        regression: RegressionLoss,
        *,
        membrane: float = 1.0,
        epistemic: float = 0.1,
        through: Through | None = None,
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.regression = regression
        self.membrane = membrane
        self.epistemic = epistemic
        self.through = through

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """All (n, outputs, z, y, x); the target of "log_variance" is the variance of the target of "mean".

        That variance is 0 for a measured image. For an answer of a teacher it is the teacher's, and the loss is, up to
        a constant, the Kullback-Leibler divergence of the two Gaussians.
        """
        if not output.shape == target.shape == weight.shape or output.shape[1] != len(self.outputs):
            raise InputError(
                f"got an output of {tuple(output.shape)}, target {tuple(target.shape)}, weight {tuple(weight.shape)}; "
                f"they must be of one shape, with the outputs {', '.join(self.outputs)}"
            )
        at = {name: slice(i, i + 1) for i, name in enumerate(self.outputs)}
        mean, spread, known = target[:, at["mean"]], None, weight[:, at["mean"]]
        told = [output[:, at["mean"]]]
        if "log_variance" in at:
            told.append(output[:, at["log_variance"]])
            spread = target[:, at["log_variance"]]
        loss = self.regression(torch.cat(told, 1), mean, known, spread)
        if "log_epistemic" in at:
            here = at["log_epistemic"]
            error = output[:, here].clamp(*LOG_VARIANCE_RANGE) - target[:, here].clamp(*LOG_VARIANCE_RANGE)
            loss = loss + self.epistemic * weighted_mean(error**2, weight[:, here])
        if "membrane" in at and self.membrane > 0:
            here = at["membrane"]
            loss = loss + self.membrane * cross_entropy(output[:, here], target[:, here], weight[:, here])
        if self.through is not None:
            loss = loss + self.through(told[0], mean, known)
        return loss


class Through(nn.Module):
    """What a frozen boundary model makes of a translation, against what it makes of the EM: their cross entropy.

    Parameters
    ----------
    model
        A native boundary model for sections of EM.
    weight
        Of this term.
    """

    def __init__(self, model: TorchPredictor, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._frozen = [model.net.eval().requires_grad_(False)]  # in a list: no part of this module's state

    def forward(self, mean: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Of a few sections of each crop; all (n, 1, z, y, x)."""
        net = self._frozen[0].to(mean.device)
        depth = mean.shape[2]
        step = max(1, depth // SECTIONS_SEEN)
        here = slice(step // 2, None, step)
        with torch.no_grad():
            wanted = net(target[:, :, here])[:, :1].sigmoid()
        return self.weight * cross_entropy(net(mean[:, :, here])[:, :1], wanted, known[:, :, here])
