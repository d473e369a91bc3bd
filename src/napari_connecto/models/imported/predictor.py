"""Imported networks (bioimage.io) behind the `Predictor` protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError, out_of_memory
from napari_connecto.core.model import ModelCard
from napari_connecto.models.imported.architectures import architecture, read_state
from napari_connecto.models.imported.onnx import load_onnx
from napari_connecto.models.imported.steps import apply, dtype_after, pointwise
from napari_connecto.models.imported.torchscript import load_torchscript
from napari_connecto.models.inference.device import cores, pick_device
from napari_connecto.models.inference.origin import Origin
from napari_connecto.models.inference.predictor import one_thread
from napari_connecto.models.nets.weights import fill_weights

KIND = "imported"
FILES = {"torchscript": "weights.torchscript", "state_dict": "weights.safetensors", "onnx": "weights.onnx"}


class ImportedPredictor:
    """A TorchScript or ONNX network, or one of a known library, called one tile at a time.

    Parameters
    ----------
    card
        ``network`` is {"kind": "imported", "format": one of `FILES`, "axes": "bcyx", "answer": "bcyx",
        "before": [...], "after": [...], "architecture": "...", "kwargs": {...}}: order of the network's axes (of the
        letters b c z y x; b, c and z may lack), steps as `napari_connecto.models.imported.steps` has them, and
        for a state dict how to build the network. ``digest`` is set to that of the weights. Where the card names
        only one of several channels, "taken" is [its index, how many the network gives].
    weights
        A TorchScript file, see `load_torchscript` for how far it can be trusted, a safetensors or an ONNX file.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps"; ONNX runs on the processor.

    Attributes
    ----------
    net : torch.nn.Module
        On its device, in evaluation mode.
    calls : int
        How many calls at once serve best.

    Raises
    ------
    ModelError
        If card or weights are damaged, unsafe or do not fit.
    """

    def __init__(self, card: ModelCard, weights: bytes, device: str = "auto") -> None:
        network = dict(card.network)
        _check(network, card)
        self.weights = weights
        self.origin: Origin | None = None
        self.card = replace(card, digest=hashlib.sha256(weights).hexdigest())
        self.device, self._wanted = pick_device("cpu" if network["format"] == "onnx" else device), device
        self.calls = cores() if self.device.type == "cpu" else 1
        self._axes, self._answer = network["axes"], network["answer"]
        self._before = _tried(pointwise(network["before"], "preprocessing"), card.channels)
        taken: tuple[int | None, int] = network.get("taken") or (None, len(card.outputs))
        self._taken, self._given = taken
        self._after = _tried(pointwise(network["after"], "postprocessing"), self._given)
        self._dtype: torch.dtype = getattr(torch, dtype_after(self._before))
        self.net = _network(network, weights, card.name).to(self.device)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (json.dumps(self.card.to_json()), self.weights, self._wanted)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`.

        Raises
        ------
        ModelError
            If the network fails, or a tile does not fit in memory.
        """
        answers = np.concatenate([self.answer(batch[i : i + 1]) for i in range(len(batch))])
        if answers.shape[1] != self._given:
            raise ModelError(f"the network gives {answers.shape[1]} channels, its card names {self._given}")
        if self._taken is not None:
            answers = answers[:, self._taken : self._taken + 1]
        return {output.name: np.ascontiguousarray(answers[:, i]) for i, output in enumerate(self.card.outputs)}

    def answer(self, image: np.ndarray) -> np.ndarray:
        """(n, c, z, y, x), scaled as the card says, to (n, k, z, y, x) float32, steps before and after included."""
        x = apply(self._before, np.asarray(image, np.float32))
        x = np.ascontiguousarray(to_layout(x, self._axes))
        y = self._run(torch.from_numpy(x.copy() if np.shares_memory(x, image) else x))
        if y.ndim != len(self._answer):
            raise ModelError(f"the network gives {y.ndim} axes, its card says '{self._answer}'; it cannot be used")
        return apply(self._after, from_layout(y, self._answer))

    def _run(self, x: Tensor) -> np.ndarray:
        alone = one_thread() if self.device.type == "cpu" else self._lock
        try:
            # profiling and fusing would make the third call differ from the first in the last bit
            with alone, torch.inference_mode(), torch.jit.optimized_execution(False):
                y = self.net(x.to(self.device, self._dtype))
                if isinstance(y, tuple | list) and len(y) == 1:
                    y = y[0]
                if isinstance(y, Tensor):
                    return y.float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise ModelError(
                    f"one tile of {tuple(x.shape)} does not fit into the memory of {self.device}; use device='cpu'"
                ) from error
            lines = [line.strip() for line in str(error).split("\n") if line.strip()]
            raise ModelError(
                f"the network of '{self.card.name}' fails on {tuple(x.shape)}: {lines[-1]:.200}"
            ) from error
        raise ModelError(f"the network of '{self.card.name}' gives a {type(y).__name__}; supported is one tensor")


@lru_cache(maxsize=4)
def revive(card: str, weights: bytes, device: str) -> ImportedPredictor:
    """A predictor from its pickled parts; a process makes each only once."""
    return ImportedPredictor(ModelCard.from_json(json.loads(card)), weights, device)


def converted(state: bytes, name: str, kwargs: Mapping[str, Any], where: str) -> bytes:
    """A state dict from elsewhere as the safetensors file of its architecture.

    Raises
    ------
    ModelError
        If the architecture is not allowed, or the tensors are not its own.
    """
    net, tensors = architecture(name, kwargs), read_state(state, where)
    own = net.state_dict()
    odd = sorted(set(own) ^ set(tensors)) or [n for n, t in tensors.items() if t.shape != own[n].shape]
    if odd:
        raise ModelError(f"the tensors of {where} are not those of {name}: {odd[:3]} differ; it cannot be used")
    return bytes(safetensors.torch.save({n: t.to(own[n].dtype).contiguous().clone() for n, t in tensors.items()}))


def to_layout(image: np.ndarray, axes: str) -> np.ndarray:
    """(n, c, z, y, x) in another order; axes that are not wanted must have one entry."""
    dropped = [i for i, letter in enumerate("bczyx") if letter not in axes]
    if any(image.shape[i] != 1 for i in dropped):
        raise ModelError(f"got an image of shape {image.shape} for the axes '{axes}'; what these lack must be 1")
    left = [letter for letter in "bczyx" if letter in axes]
    return image.squeeze(tuple(dropped)).transpose([left.index(letter) for letter in axes])


def from_layout(image: np.ndarray, axes: str) -> np.ndarray:
    """Inverse of `to_layout`."""
    order = [axes.index(letter) for letter in "bczyx" if letter in axes]
    return np.expand_dims(image.transpose(order), [i for i, letter in enumerate("bczyx") if letter not in axes])


def _network(network: Mapping[str, Any], weights: bytes, name: str) -> nn.Module:
    if network["format"] == "torchscript":
        return load_torchscript(weights, f"'{name}'")
    if network["format"] == "onnx":
        return load_onnx(weights, f"'{name}'")
    net = architecture(network["architecture"], network["kwargs"])
    fill_weights(net, weights)
    return net


def _check(network: Mapping[str, Any], card: ModelCard) -> None:
    tests: dict[str, Callable[[Any], bool]] = {
        "format": lambda v: isinstance(v, str) and v in FILES,
        "axes": _sound_axes,
        "answer": _sound_axes,
        "before": _sound_steps,
        "after": _sound_steps,
        "architecture": lambda v: isinstance(v, str),
        "kwargs": lambda v: isinstance(v, dict),
        "taken": lambda v: v is None or (_two_counts(v) and v[0] < v[1] and len(card.outputs) == 1),
    }
    for key, sound in tests.items():
        if not sound(network.get(key)):
            raise ModelError(f"the card's network has {key} {network.get(key)!r:.80}; import the package again")
    if "z" not in network["axes"] and card.tile[0] + 2 * card.halo[0] != 1:
        raise ModelError(f"got tile {card.tile} and halo {card.halo} for a network of sections; z must be 1 and 0")


def _two_counts(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int and n >= 0 for n in value)


def _tried(steps: list[dict[str, Any]], channels: int) -> list[dict[str, Any]]:
    """The steps, if they can be done on so many channels."""
    try:
        if apply(steps, np.zeros((1, channels, 1, 1, 1), np.float32)).shape[1] == channels:
            return steps
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"got processing steps that cannot be done on {channels} channels: {error!s:.200}") from error
    raise ModelError(f"got processing steps that do not fit {channels} channels; import the package again")


def _sound_axes(axes: Any) -> bool:
    return isinstance(axes, str) and set("yx") <= set(axes) <= set("bczyx") and len(set(axes)) == len(axes)


def _sound_steps(steps: Any) -> bool:
    return isinstance(steps, list | tuple) and all(isinstance(step, dict) for step in steps)
