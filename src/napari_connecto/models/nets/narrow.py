"""Networks with fewer channels than their kind has: a card states the width of every layer that is narrower.

Pruning needs no code in a card: `build` makes the network of its kind and exchanges these layers for narrower ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from napari_connecto.models.nets.fold import CONVS, NORMS

KEY = "narrow"
"""Of a card's network: ``{layer: [channels in, channels out]}`` of convolutions, ``{layer: [channels]}`` of norms."""


def narrowed(net: nn.Module, widths: Mapping[str, Sequence[int]]) -> nn.Module:
    """``net`` with freshly initialised layers of these widths in the place of its own; it is changed.

    Parameters
    ----------
    net
        As its kind is built.
    widths
        By the layer's name in ``net``: (in, out) of a convolution, (channels,) of a batch norm.

    Raises
    ------
    ValueError
        If a layer is not there, is of another kind, has groups, or would get wider.
    """
    if not isinstance(widths, Mapping):
        raise ValueError(f"got narrow {widths!r:.60}; it must be a mapping of layers to widths")
    for name, wanted in widths.items():
        net.set_submodule(name, _narrow(net.get_submodule(name), name, wanted))
    return net


def _narrow(layer: nn.Module, name: str, wanted: Sequence[int]) -> nn.Module:
    own = widths_of(layer)
    sound = isinstance(wanted, list | tuple) and len(wanted) == len(own) and all(type(n) is int for n in wanted)
    if not own or not sound or not all(1 <= n <= most for n, most in zip(wanted, own, strict=True)):
        raise ValueError(f"layer '{name}' has {list(own) or 'no'} channels; it cannot be narrowed to {wanted!r:.60}")
    return like(layer, wanted)


def widths_of(layer: nn.Module) -> tuple[int, ...]:
    """(in, out) of a convolution without groups, (channels,) of a batch norm; () of anything else."""
    if isinstance(layer, CONVS):
        return (layer.in_channels, layer.out_channels) if layer.groups == 1 else ()
    return (layer.num_features,) if isinstance(layer, NORMS) else ()


def like(layer: nn.Module, widths: Sequence[int]) -> nn.Module:
    """A fresh layer as ``layer`` is but for its channels."""
    if isinstance(layer, NORMS):
        return type(layer)(widths[0], layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    assert isinstance(layer, CONVS)
    told: dict[str, Any] = {
        key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        told["output_padding"] = layer.output_padding
    kind: Any = type(layer)
    return kind(*widths, bias=layer.bias is not None, **told)
