"""Convolutions with several sets of weights, of which each place uses one: the experts of a pruned network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

KEY = "experts"
"""Of a card's network: ``{layer: number of experts}``."""
MOST = 64


class Routed(nn.Module):
    """``experts`` convolutions of which, at each place, the one with the highest score of ``router`` answers.

    With centroids c_k of the inputs x, the score c_k . x - |c_k|^2 / 2 is highest for the nearest centroid, so that the
    router is a convolution too. All experts are computed everywhere: this saves no time (Sawmya et al., arXiv
    2405.15756, say as much of their own).
    """

    def __init__(self, conv: nn.Module, experts: int) -> None:
        super().__init__()
        if not isinstance(conv, nn.Conv2d | nn.Conv3d) or conv.groups != 1:
            raise ValueError(f"got a {type(conv).__name__}; experts are for convolutions without groups")
        told: dict[str, Any] = {
            key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        kind = type(conv)
        self.count, self.out_channels = experts, conv.out_channels
        self.experts = kind(conv.in_channels, experts * conv.out_channels, bias=conv.bias is not None, **told)
        self.router = kind(conv.in_channels, experts, bias=True, **told)

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution."""
        y = self.experts(x)
        y = y.reshape(len(x), self.count, self.out_channels, *y.shape[2:])
        chosen = self.choice(x)[:, None, None].expand(-1, 1, self.out_channels, *y.shape[3:])
        return y.gather(1, chosen).squeeze(1)

    def choice(self, x: Tensor) -> Tensor:
        """The expert of each place, (n, [z,] y, x) int64."""
        return torch.argmax(self.router(x), dim=1)


class RandomlyRouted(Routed):
    """A control: the expert of each place is drawn, whatever is there."""

    def choice(self, x: Tensor) -> Tensor:
        """As of `Routed`; the same for the same shape."""
        shape = super().choice(x).shape
        return torch.randint(self.count, shape, generator=torch.Generator().manual_seed(0)).to(x.device)


def routed(net: nn.Module, experts: Mapping[str, int]) -> nn.Module:
    """``net`` with freshly initialised experts in the place of these layers; it is changed.

    Raises
    ------
    ValueError
        If a layer is no convolution, or the number is out of range.
    """
    if not isinstance(experts, Mapping) or not all(type(n) is int and 1 <= n <= MOST for n in experts.values()):
        raise ValueError(f"got experts {experts!r:.60}; it must map layers to numbers from 1 to {MOST}")
    for name, count in experts.items():
        net.set_submodule(name, Routed(net.get_submodule(name), count))
    return net
