"""Checkpoints of a training run, so that a crash costs only the steps since the last validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import StoreError
from napari_connecto.core.whole import whole_file


@dataclass
class Run:
    """State of a training run.

    Parameters
    ----------
    net, optimiser, schedule, scaler, objective
        As torch trains them; restored in place.
    step
        Steps done.
    best, best_score
        The best model so far as bytes (empty: none yet) and its score.
    score
        The last validation's, or None.
    stale
        Validations since the best one.
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    objective: nn.Module
    step: int = 0
    best: bytes = b""
    best_score: float = -float("inf")
    score: float | None = None
    stale: int = 0

    @property
    def place(self) -> int:
        """In the schedule, in steps: as many as were made, or more where time is short."""
        return int(self.schedule.last_epoch)

    def advance(self, place: int) -> None:
        """Go on in the schedule to a later place."""
        while self.place < place:
            self.schedule.step()


def save_run(path: Path, run: Run, fingerprint: Mapping[str, Any]) -> None:
    """Write a run to one safetensors file, whole or not at all.

    Parameters
    ----------
    path
        Of the file; its folder is made.
    run
        See `Run`.
    fingerprint
        What decides the run (the model's digest, the parameters), JSON; `load_run` compares it.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    state = run.optimiser.state_dict()
    tensors = {f"net/{name}": tensor for name, tensor in run.net.state_dict().items()}
    tensors |= {f"objective/{name}": tensor for name, tensor in run.objective.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimiser/{index}/{key}": value for key, value in values.items()}
    tensors["best"] = torch.frombuffer(bytearray(run.best or b"\0"), dtype=torch.uint8)
    plain = {
        "fingerprint": fingerprint,
        "groups": state["param_groups"],
        "schedule": run.schedule.state_dict(),
        "scaler": run.scaler.state_dict(),
        "step": run.step,
        "best_score": run.best_score,
        "score": run.score,
        "stale": run.stale,
    }
    data = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            safetensors.torch.save_file(data, partial, metadata={"run": json.dumps(plain)})
    except (OSError, SafetensorError) as error:  # a full disk comes as the latter
        raise StoreError(f"cannot write the training run to '{path}': {error}; choose another place") from error


def load_run(path: Path, run: Run, fingerprint: Mapping[str, Any]) -> None:
    """Put the run of `save_run` into ``run``.

    Raises
    ------
    StoreError
        If the file is damaged or of a run with another fingerprint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            plain = parse_json(file.metadata()["run"], "its state", StoreError)
        tensors = safetensors.torch.load_file(path)
        stored = plain["fingerprint"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, StoreError) as error:
        raise StoreError(f"the training run '{path}' is damaged ({error}); delete it to start again") from error
    wanted = json.loads(json.dumps(fingerprint))
    if stored != wanted:
        keys = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
        raise StoreError(
            f"'{path}' is a training run with another {', '.join(keys)}; delete it to start again, or choose another"
        )
    _fill(run, plain, tensors)


def _fill(run: Run, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    for module, part in ((run.net, "net/"), (run.objective, "objective/")):
        module.load_state_dict({n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)})
    groups = [{**group, "betas": tuple(group["betas"])} for group in plain["groups"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
    run.optimiser.load_state_dict({"state": state, "param_groups": groups})
    for parameter, values in run.optimiser.state.items():
        for key, value in values.items():
            if value.shape == parameter.shape:  # in the parameter's memory layout, as torch made it the first time
                values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)
    run.schedule.load_state_dict(dict(plain["schedule"]))
    run.scaler.load_state_dict(plain["scaler"])
    run.step, run.stale, run.score = plain["step"], plain["stale"], plain["score"]
    run.best_score = plain["best_score"]
    best = bytes(tensors["best"].numpy())
    run.best = best if best != b"\0" else b""
