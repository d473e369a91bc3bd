"""Training a network on samples that somebody else draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.params import check, param
from napari_connecto.models.nets import dimensions
from napari_connecto.models.predictor import TorchPredictor

Sample: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FitParams:
    """How long and how boldly to train."""

    steps: int = param(300, "batches to learn from", low=1)
    learning_rate: float = param(3e-3, "largest step size; reached after a tenth of the run, then falls", low=1e-7)
    weight_decay: float = param(1e-4, "pull of the weights towards zero", low=0.0, advanced=True)
    dice: float = param(0.5, "share of the soft Dice loss beside cross entropy", low=0.0, high=1.0, advanced=True)
    validate_every: int = param(50, "steps between two validations; the best model is kept", low=1, advanced=True)

    def __post_init__(self) -> None:
        check(self)


def fit(
    model: TorchPredictor,
    samples: Iterator[Sample],
    params: FitParams,
    *,
    validate: Callable[[Predictor], float] | None = None,
) -> Job[TorchPredictor]:
    """Train a copy of a model; the same model and samples give the same weights on the same machine.

    Parameters
    ----------
    model
        Where to start: `new_model` or one loaded with ``backend="torch"``.
    samples
        Yields (batch, target, weight): ``batch`` (n, c, z, y, x) float32, already scaled; ``target`` (n, outputs,
        z, y, x) in [0, 1] at the output's stride; ``weight`` of the same shape, 0 where nothing is known.
    params
        See `FitParams`.
    validate
        Scores a model, higher is better; the best one is returned. Without it, the last.

    Yields
    ------
    Progress
        ``payload`` is ``{"step", "loss", "score"}``, ``score`` the last validation's or None.

    Raises
    ------
    InputError
        If the samples end too soon or do not fit the model.
    ModelError
        If the loss is no longer finite.
    """
    net = _trainable(model)
    optimiser = torch.optim.AdamW(net.parameters(), params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=max(2, params.steps), pct_start=0.1
    )
    best: TorchPredictor | None = None
    best_score, score = -float("inf"), None
    for step in range(1, params.steps + 1):
        loss = _step(net, _draw(samples, step), params.dice, model)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if validate is not None and (step % params.validate_every == 0 or step == params.steps):
            candidate = TorchPredictor(model.card, net, str(model.device))
            score = float(validate(candidate))
            if best is None or score > best_score:
                best, best_score = candidate, score
        yield Progress(step, params.steps, "training", {"step": step, "loss": loss, "score": score})
    return best or TorchPredictor(model.card, net, str(model.device))


def _trainable(model: TorchPredictor) -> nn.Module:
    layout = torch.channels_last if dimensions(model.card.network) == 2 else torch.channels_last_3d
    return deepcopy(model.net).to(model.device).to(memory_format=layout).train()


def _draw(samples: Iterator[Sample], step: int) -> Sample:
    sample = next(samples, None)
    if sample is None:
        raise InputError(f"got {step - 1} training samples; one is needed per step: let them repeat or lower the steps")
    return sample


def _step(net: nn.Module, sample: Sample, dice: float, model: TorchPredictor) -> float:
    """Gradients of one sample; the optimiser's step is the caller's."""
    batch, target, weight = (torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(model.device) for a in sample)
    net.zero_grad(set_to_none=True)
    logits = net(batch)
    if logits.shape != target.shape or target.shape != weight.shape:
        raise InputError(
            f"got target {tuple(target.shape)} and weight {tuple(weight.shape)}; "
            f"model '{model.card.name}' gives {tuple(logits.shape)} for a batch of {tuple(batch.shape)}"
        )
    loss = (1 - dice) * _cross_entropy(logits, target, weight) + dice * _soft_dice(logits, target, weight)
    loss.backward()
    value = float(loss.detach())
    if not isfinite(value):
        raise ModelError(f"training diverged (loss {value}); lower the learning rate or check the input for NaN")
    return value


def _cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    each = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


def _soft_dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice, the mean over outputs; 1 voxel is added to both sides, so that nothing beside nothing is right."""
    axes = [0, *range(2, logits.dim())]
    p = logits.sigmoid()
    both = (weight * p * target).sum(axes)
    either = (weight * (p + target)).sum(axes)
    return 1 - ((2 * both + 1) / (either + 1)).mean()
