"""Train a network on samples from any source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from napari_connecto.core.errors import InputError, ModelError, out_of_memory
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.params import check, param
from napari_connecto.models.inference.device import cpu_has_bfloat16
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.checkpoint import Run, load_run, save_run
from napari_connecto.models.training.learners import Learner, learner
from napari_connecto.models.training.losses import MaskLoss

Sample: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
Samples: TypeAlias = Iterator[Sample] | Callable[[int], Iterator[Sample]]


@dataclass(frozen=True)
class FitParams:
    """How long, how fast and which part to train."""

    steps: int = param(300, "Number of training batches.", low=1)
    learning_rate: float = param(3e-3, "Peak learning rate, reached after a tenth of the run.", low=1e-7)
    weight_decay: float = param(1e-4, "Weight decay.", low=0.0, advanced=True)
    dice: float = param(
        0.5, "Weight of the soft Dice loss; the rest is cross entropy.", low=0.0, high=1.0, advanced=True
    )
    validate_every: int = param(50, "Steps between validations; the best model is kept.", low=1, advanced=True)
    patience: int = param(0, "Stop after this many validations without gain; 0: never.", low=0, advanced=True)
    train: Literal["all", "decoder", "adapter"] = param(
        "all",
        "What is trained: all weights, the decoder (encoder and its batch norm are frozen), or a small adapter.",
        choices=("all", "decoder", "adapter"),
    )
    rank: int = param(4, "Rank of the adapter for each convolution.", low=1, advanced=True)
    mixed_precision: bool = param(True, "Use half precision on GPUs and CPUs that are faster with it.", advanced=True)
    seed: int = param(0, "Random seed of adapters and dropout.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


def fit(
    model: TorchPredictor,
    samples: Samples,
    params: FitParams,
    *,
    objective: nn.Module | None = None,
    validate: Callable[[Predictor], float] | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoint: Path | None = None,
    seconds: float = 0.0,
    clock: Callable[[], float] | None = None,
) -> Job[TorchPredictor]:
    """Train a copy of a model; the same model and samples give the same weights on the same machine.

    Parameters
    ----------
    model
        Where to start: `new_model` or one loaded with ``backend="torch"``.
    samples
        Yields (batch, target, weight): ``batch`` (n, c, z, y, x) float32, already scaled; ``target`` (n, outputs,
        z, y, x) in [0, 1] at the output's stride; ``weight`` of the same shape, 0 where nothing is known.
        Or a function of the steps done that gives such an iterator from there on; of an iterator alone, a resumed
        run draws and drops what it has seen.
    params
        See `FitParams`.
    objective
        What is made small, of (the network's answer, target, weight); by default `MaskLoss` of ``params.dice``. What it
        learns itself must be in its parameters and buffers.
    validate
        Scores a model, higher is better; the best one is returned. Without it, the last.
    stop
        Asked before every step; once true, the best model so far is returned.
    checkpoint
        File that keeps the run at every ``validate_every``-th step; where it exists already, training goes on from
        it and ends, on a CPU, with the very weights of an undisturbed run. Delete it once the model is saved; give
        another one for other samples, for it knows the model and the parameters only.
    seconds
        Time limit; 0: none. The schedule runs by the clock where that is ahead of the steps, so that the learning rate
        falls to its end in time: fewer steps are made, as if so many had been planned.
    clock
        Tells the time in seconds; by default `time.perf_counter`.

    Yields
    ------
    Progress
        Of the schedule; ``payload`` is ``{"step", "loss", "score"}``: the steps made, and the score of the last
        validation or None.

    Returns
    -------
    TorchPredictor
        With the card of ``model`` and its own digest; ``train="adapter"``: merged, see `merge`, with ``adapter``.

    Raises
    ------
    InputError
        If the samples end too soon or do not fit the model.
    ModelError
        If the loss is no longer finite, memory is short, or there is no encoder to hold still.
    StoreError
        If the checkpoint cannot be written or is of another run.
    """
    pupil = learner(model, params.train, rank=params.rank, seed=params.seed)
    run = _start(pupil, params, objective or MaskLoss(params.dice), model.device)
    fingerprint = {"model": model.card.digest, "params": asdict(params)}
    if checkpoint is not None and checkpoint.exists():
        load_run(checkpoint, run, fingerprint)
    best = pupil.unpack(run.best) if run.best else None
    source = samples(run.step) if callable(samples) else islice(samples, run.step, None)
    clock = clock or time.perf_counter
    started, ahead = clock(), run.place / params.steps
    while run.place < params.steps and not 0 < params.patience <= run.stale and not (stop is not None and stop()):
        sample, before = _draw(source, run.step), run.place
        try:
            loss = _step(run, sample, params, model)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise ModelError(
                f"training on batches of {sample[0].shape} does not fit into the memory of {model.device}; "
                "use fewer or smaller patches at a time, or device='cpu'"
            ) from error
        if seconds > 0:
            run.advance(min(params.steps, int(params.steps * (ahead + (clock() - started) / seconds))))
        if run.place // params.validate_every > before // params.validate_every or run.place == params.steps:
            if validate is not None:
                best = _validated(run, pupil, best, validate)
            if checkpoint is not None:
                save_run(checkpoint, run, fingerprint)
        yield Progress(run.place, params.steps, "training", {"step": run.step, "loss": loss, "score": run.score})
    return best or pupil.model()


def _start(pupil: Learner, params: FitParams, objective: nn.Module, device: torch.device) -> Run:
    learning = [p for p in pupil.net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        params.learning_rate,
        total_steps=max(2, params.steps),
        pct_start=0.1 if params.steps > 10 else 0.3,  # of 10 steps a tenth has no slope: division by zero
    )
    scaled = params.mixed_precision and _reduced(device) is torch.float16
    scaler = torch.amp.GradScaler(device.type, init_scale=2.0**10, enabled=scaled)
    return Run(pupil.net, optimiser, schedule, scaler, objective.to(device).train())


def _halves(device: torch.device) -> bool:
    """Whether this device is faster in half precision."""
    return device.type == "cuda" or (device.type == "cpu" and cpu_has_bfloat16())


def _reduced(device: torch.device) -> torch.dtype:
    """Half precision of this device: bfloat16, which needs no scaling of gradients, where it is fast."""
    old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    return torch.float16 if old else torch.bfloat16


def _draw(samples: Iterator[Sample], done: int) -> Sample:
    sample = next(samples, None)
    if sample is None:
        raise InputError(f"got {done} training samples; one is needed per step: let them repeat or lower the steps")
    return sample


def _step(run: Run, sample: Sample, params: FitParams, model: TorchPredictor) -> float:
    """Learn from one sample."""
    device = model.device
    batch, target, weight = (torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(device) for a in sample)
    run.optimiser.zero_grad(set_to_none=True)
    half = params.mixed_precision and _halves(device)
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards), torch.autocast(device.type, _reduced(device), enabled=half):
        torch.manual_seed(params.seed * 1_000_003 + run.step)  # dropout is a function of the step
        answer = run.net(batch)
    loss = run.objective(answer.float(), target, weight)
    value = float(loss.detach())
    if not isfinite(value):
        raise ModelError(f"training diverged (loss {value}); lower the learning rate or check the input for NaN")
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimiser)
    nn.utils.clip_grad_norm_(run.net.parameters(), 1.0)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    run.schedule.step()
    run.step += 1
    return value


def _validated(
    run: Run, pupil: Learner, best: TorchPredictor | None, validate: Callable[[Predictor], float]
) -> TorchPredictor:
    """The better of the best model so far and the present one."""
    candidate = pupil.model()
    run.score = float(validate(candidate))
    if best is not None and not run.score > run.best_score:
        run.stale += 1
        return best
    run.best, run.best_score, run.stale = pupil.pack(candidate), run.score, 0
    return candidate
