"""Take and replace the activations of a network at named places.

Replacing an encoder stage has its *total* effect: everything computed from it changes. Replacing a skip input has its
*direct* effect on the decoder: deeper stages do not see it (Wang et al., arXiv 2312.08793, count direct effects).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.imported.predictor import ImportedPredictor, to_layout
from napari_connecto.models.imported.steps import apply
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import example
from napari_connecto.models.inspect.places import Tap, find_taps
from napari_connecto.models.nets.nets import Sections

Change: TypeAlias = Callable[[Tensor], Tensor] | Tensor
"""A function of the activations (n, channels, [z,] y, x), or what replaces them."""


@dataclass(frozen=True)
class Network:
    """A copy of a model's network whose activations can be taken and replaced.

    Parameters
    ----------
    net
        In evaluation mode, weights frozen; hooks on it do not disturb the model.
    card
        Of the model.
    taps
        Its places by name, see `Tap`.
    device
        Where it computes.
    before
        Preprocessing steps and order of axes of an imported network; None for native ones.
    """

    net: nn.Module
    card: ModelCard
    taps: Mapping[str, Tap]
    device: torch.device
    before: tuple[Any, str, str] | None = None

    def logits(self, batch: np.ndarray) -> Tensor:
        """Answer before the last activation, (n, outputs, z, y, x), to scaled patches (n, c, z, y, x) float32.

        An imported network answers whatever it does before its postprocessing steps. Gradients are recorded unless
        the caller forbids it.
        """
        batch = np.ascontiguousarray(batch, np.float32)
        if self.before is None:
            return self.net(torch.from_numpy(batch).to(self.device)).float()
        steps, axes, answer = self.before
        x = torch.from_numpy(np.ascontiguousarray(to_layout(apply(steps, batch), axes), np.float32))
        y = self.net(x.to(self.device)).float()
        y = y.permute([answer.index(letter) for letter in "bczyx" if letter in answer])
        for i, letter in enumerate("bczyx"):
            y = y if letter in answer else y.unsqueeze(i)
        return y


def network(model: Predictor | Network) -> Network:
    """The network of a model, copied and opened.

    Raises
    ------
    ModelError
        If its layers cannot be reached (TorchScript, ONNX, registered detectors) or its stages are unknown.
    """
    if isinstance(model, Network):
        return model
    if isinstance(model, ImportedPredictor):
        return _imported(model)
    native = torch_model(model)
    net = deepcopy(native.net).eval().requires_grad_(False).to(native.device)
    return Network(net, native.card, find_taps(net, example(native.card).to(native.device)), native.device)


def _imported(model: ImportedPredictor) -> Network:
    card = model.card
    kind = card.network["format"]
    if kind != "state_dict":
        raise ModelError(
            f"'{card.name}' is a network of {kind} weights, whose layers cannot be reached; import it as a state dict "
            "of a U-Net of MONAI or segmentation_models_pytorch to inspect it"
        )
    net = deepcopy(model.net).eval().requires_grad_(False)
    before = (card.network["before"], str(card.network["axes"]), str(card.network["answer"]))
    blank = np.zeros((1, card.channels, *(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))), np.float32)
    x = torch.from_numpy(np.ascontiguousarray(to_layout(blank, before[1])))
    return Network(net, card, find_taps(net, x.to(model.device)), model.device, before)


def taps(model: Predictor | Network) -> Mapping[str, Tap]:
    """The places of a model's network by name, in the order of computation; see `Tap`.

    Raises
    ------
    ModelError
        If its layers cannot be reached or its stages are unknown.
    """
    return network(model).taps


@contextmanager
def capture(opened: Network, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the activations at these places while the network runs; each run replaces those before.

    Yields
    ------
    dict
        (n, channels, [z,] y, x) by name, copies without a gradient. A 2-D network's n counts sections.

    Raises
    ------
    InputError
        If the network has no place of this name.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Change:
        def look(a: Tensor) -> Tensor:
            seen[name] = a.detach().clone()
            return a

        return look

    with patched(opened, {name: keep(name) for name in names}):
        yield seen


@contextmanager
def encoded(opened: Network, features: Sequence[Tensor]) -> Iterator[None]:
    """An smp U-Net's encoder is not run again: it answers with these features, all of one list (see `features_of`)."""
    encoder = opened.net.get_submodule(f"{_inner(opened)}encoder")
    encoder.forward = lambda _x: list(features)
    try:
        yield
    finally:
        del encoder.forward


@contextmanager
def features_of(opened: Network) -> Iterator[list[Tensor]]:
    """Collect what the encoder of an smp U-Net gives its decoder; [] for other networks."""
    found: list[Tensor] = []
    if not any((tap.entry or 0) > 0 for tap in opened.taps.values()):
        yield found
        return
    encoder = opened.net.get_submodule(f"{_inner(opened)}encoder")
    handle = encoder.register_forward_hook(lambda _m, _i, y: found.__setitem__(slice(None), y))
    try:
        yield found
    finally:
        handle.remove()


def _inner(opened: Network) -> str:
    return "net." if isinstance(opened.net, Sections) else ""


@contextmanager
def patched(opened: Network, changes: Mapping[str, Change]) -> Iterator[None]:
    """Replace activations while the network runs.

    Parameters
    ----------
    opened
        From `network`.
    changes
        By name of the place: a function of the activations, or a tensor in their place.

    Raises
    ------
    InputError
        If the network has no place of this name, or a change gives another shape.
    """
    odd = [name for name in changes if name not in opened.taps]
    if odd:
        raise InputError(f"got the place {odd[0]!r:.40}; '{opened.card.name}' has {', '.join(opened.taps)}")
    hooks = [_hook(opened.net, opened.taps[name], change) for name, change in changes.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _hook(net: nn.Module, tap: Tap, change: Change) -> Any:
    module = net.get_submodule(tap.module)

    def output(_module: nn.Module, _inputs: Any, a: Tensor) -> Tensor:
        return _changed(tap, change, a)

    def joined(_module: nn.Module, _inputs: Any, a: Tensor) -> Tensor:
        skip, below = a[:, : tap.channels], a[:, tap.channels :]  # MONAI concatenates (skip, from below)
        return torch.cat([_changed(tap, change, skip), below], dim=1)

    def listed(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        features = list(inputs[0])
        assert tap.entry is not None
        features[tap.entry] = _changed(tap, change, features[tap.entry])
        return (features, *inputs[1:])

    if tap.entry is None:
        return module.register_forward_hook(output)
    return module.register_forward_hook(joined) if tap.entry == -1 else module.register_forward_pre_hook(listed)


def _changed(tap: Tap, change: Change, a: Tensor) -> Tensor:
    new = change if isinstance(change, Tensor) else change(a)
    if new.shape != a.shape:
        raise InputError(f"got {tuple(new.shape)} in the place of {tuple(a.shape)} at '{tap.name}'; shapes must match")
    return new
