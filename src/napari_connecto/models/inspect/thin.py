"""Structured pruning: whole channels are removed, so that the network is smaller and faster on any machine.

Which channels: those whose removal changes the output least to second order. With a gate g = 1 on a channel, the change
of the logits y for g = 0 is about |dy/dg|^2, the diagonal of the Gauss-Newton matrix of the squared error to the
original's logits (Hassibi and Stork, NeurIPS 1992; gates as in Molchanov et al., arXiv 1906.10771), estimated with
random signs (Hutchinson). As long as all widths shrink alike, which channels go hardly matters after retraining (Lean
U-Net, arXiv 2512.03834); `order` "magnitude" and "random" are there to see that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.models.inference.predictor import TorchPredictor, example, one_thread, skeleton
from napari_connecto.models.inspect.channels import Channel, removable
from napari_connecto.models.nets.narrow import KEY, widths_of
from napari_connecto.models.nets.nets import Sections

Order = Literal["effect", "magnitude", "random"]
MULTIPLE = 8
"""Widths from twice this on stay multiples of it: vector units compute as many channels at once."""


def thinned(
    model: TorchPredictor, share: float, batches: Sequence[np.ndarray], *, order: Order = "effect", seed: int = 0
) -> TorchPredictor:
    """A copy of a model without a share of the channels of every layer; its weights are not retrained.

    Parameters
    ----------
    model
        Native, of any kind. Channels of its input and output stay, and at least one of each layer.
    share
        Of the channels of each layer, 0 to below 1; 0 gives the model itself. Widths from 16 on are rounded to
        multiples of 8.
    batches
        Scaled tiles (n, c, z, y, x) on which the effect of a channel is measured.
    order
        "effect" on the logits, "magnitude" of the weights that make it, or "random".
    seed
        Of random signs or order.

    Raises
    ------
    ModelError
        If no channel of the network can be removed.
    """
    if not 0 <= share < 1:
        raise InputError(f"got a share of {share}; allowed: 0 to below 1")
    inner = inner_net(model)
    bundles = removable(inner, inner_input(model))
    if not bundles:
        raise ModelError(f"'{model.card.name}' has no channel that can be removed; use how='weights'")
    if share == 0:
        return model
    scores = scores_of(model, bundles, batches, order, seed)
    gone: dict[tuple[str, str], set[int]] = defaultdict(set)
    for bundle, score in zip(bundles, scores, strict=True):
        for at in np.argsort(-score, kind="stable")[width_left(len(bundle), share) :]:
            for name, side, i in bundle[at].places:
                gone[name, side].add(i)
    return _without(model, inner, gone)


def width_left(width: int, share: float) -> int:
    """Channels that remain of ``width``."""
    left = width * (1 - share)
    return max(MULTIPLE, round(left / MULTIPLE) * MULTIPLE) if width >= 2 * MULTIPLE else max(1, round(left))


def _without(model: TorchPredictor, inner: nn.Module, gone: Mapping[tuple[str, str], set[int]]) -> TorchPredictor:
    """The model less these channels, its card stating the new widths."""
    state, widths = inner.state_dict(), dict(model.card.network.get(KEY, {}))
    for name in sorted({name for name, _ in gone}):
        layer = inner.get_submodule(name)
        kept = {side: _rest(n, gone[name, side]) for side, n in zip(_sides(layer), widths_of(layer), strict=True)}
        widths[name] = [len(k) for k in kept.values()]
        for key, tensor in layer.state_dict().items():
            state[f"{name}.{key}"] = _cut(layer, tensor, kept)
    card = replace(model.card, network={**model.card.network, KEY: widths}, parent=model.card.digest, metrics={})
    net = skeleton(card)
    (net.net if isinstance(net, Sections) else net).load_state_dict(state)
    return TorchPredictor(card, net, str(model.device))


def _sides(layer: nn.Module) -> tuple[str, ...]:
    return ("in", "out") if len(widths_of(layer)) == 2 else ("norm",)


def _rest(count: int, gone: set[int]) -> Tensor:
    return torch.tensor([i for i in range(count) if i not in gone])


def _cut(layer: nn.Module, tensor: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    if "norm" in kept:
        return tensor[kept["norm"]]
    if tensor.dim() == 1:
        return tensor[kept["out"]]
    first, second = ("in", "out") if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d) else ("out", "in")
    return tensor[kept[first]][:, kept[second]]


def inner_net(model: TorchPredictor) -> nn.Module:
    """The network below `Sections`."""
    return model.net.net if isinstance(model.net, Sections) else model.net


def inner_input(model: TorchPredictor) -> Tensor:
    """A small input of `inner_net`."""
    x = example(model.card)
    return x.flatten(1, 2) if isinstance(model.net, Sections) else x


def scores_of(
    model: TorchPredictor, bundles: Sequence[Sequence[Channel]], batches: Sequence[np.ndarray], order: Order, seed: int
) -> list[np.ndarray]:
    """What each channel of each bundle is worth, see `thinned`."""
    if order == "random":
        rng = np.random.default_rng(seed)
        return [rng.random(len(bundle)) for bundle in bundles]
    if order == "magnitude":
        inner = inner_net(model)
        return [np.array([_norm(inner, channel) for channel in bundle]) for bundle in bundles]
    return _effects(model, bundles, batches, seed)


def _norm(net: nn.Module, channel: Channel) -> float:
    total = 0.0
    for name, _, i in channel.makers:
        layer = net.get_submodule(name)
        axis = 1 if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d) else 0
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += float(weight.detach().select(axis, i).square().mean())
    return total


def _effects(
    model: TorchPredictor, bundles: Sequence[Sequence[Channel]], batches: Sequence[np.ndarray], seed: int
) -> list[np.ndarray]:
    """Mean over tiles of (d signs . logits / d gate)^2, the gate on all that reads the channel."""
    inner = inner_net(model)
    readers = {name for bundle in bundles for channel in bundle for name, side, _ in channel.places if side == "in"}
    generator, sums = torch.Generator().manual_seed(seed), [np.zeros(len(bundle)) for bundle in bundles]
    for batch in batches:
        found = _derivatives(model, inner, readers, torch.from_numpy(batch), generator)
        for total, bundle in zip(sums, bundles, strict=True):
            for i, channel in enumerate(bundle):
                parts = [found[name][:, j] for name, side, j in channel.places if side == "in"]
                total[i] += float(torch.stack(parts).sum(0).square().mean()) if parts else 0.0
    return sums


def _derivatives(
    model: TorchPredictor, inner: nn.Module, readers: set[str], x: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Of a random signed sum of the logits by gates on the inputs of these layers: (tiles, channels) each."""
    taken: dict[str, Tensor] = {}

    def take(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            taken[name] = inputs[0].view_as(inputs[0])  # its own tensor, as others may read the same
            return (taken[name],)

        return hook

    hooks = [inner.get_submodule(name).register_forward_pre_hook(take(name)) for name in readers]
    try:
        with one_thread(), torch.enable_grad():
            logits = model.net.cpu().eval()(x)
            signs = torch.randint(0, 2, logits.shape, generator=generator).to(logits) * 2 - 1
            names = list(taken)
            by = torch.autograd.grad((logits * signs).sum(), [taken[name] for name in names])
    finally:
        for hook in hooks:
            hook.remove()
    return {n: (taken[n].detach() * g).flatten(2).sum(2) for n, g in zip(names, by, strict=True)}
