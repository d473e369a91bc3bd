"""A network that computes on cells of voxels: cells become channels before it, and channels become voxels after it.

X-ray that was interpolated to the voxels of EM holds nothing finer than its own voxels, so the layers of a translator
need not compute at those of the EM. Shi et al., arXiv 1609.05158 (the sub-pixel convolution); the blur after it is that
of `napari_connecto.models.nets.blur.Blur`, for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from napari_connecto.core.geometry import Vec3, vec3

KEY = "fold"
"""Of a card's network: voxels per cell, (z, y, x)."""


def fold_of(network: Mapping[str, Any]) -> Vec3:
    """Voxels per cell, (z, y, x); (1, 1, 1) where a network has no cells."""
    return vec3(network.get(KEY) or (1, 1, 1))


class Fold(nn.Module):
    """(n, c, z, y, x) to (n, c * voxels per cell, cells ...)."""

    def __init__(self, cell: Vec3) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Each extent must be a multiple of the cell's."""
        (a, b, c), (n, channels, z, y, w) = self.cell, x.shape
        x = x.reshape(n, channels, z // a, a, y // b, b, w // c, c).permute(0, 1, 3, 5, 7, 2, 4, 6)
        x = x.reshape(n, channels * a * b * c, z // a, y // b, w // c)
        return x.contiguous(memory_format=torch.channels_last_3d)


class Unfold(nn.Module):
    """The inverse of `Fold`."""

    def __init__(self, cell: Vec3) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """(n, c * voxels per cell, cells ...) to (n, c, z, y, x)."""
        (a, b, c), (n, channels, z, y, w) = self.cell, x.shape
        channels //= prod(self.cell)
        x = x.reshape(n, channels, a, b, c, z, y, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(n, channels, z * a, y * b, w * c)


class Exact(nn.Module):
    """A last layer that computes in full precision, whatever those before it do."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """See ``head``."""
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.float())


def exact_end(net: nn.Module) -> bool:
    """Wrap the last convolution in `Exact`, in place; False if the network is not known to end in one."""
    if isinstance(net, SubPixel):
        return exact_end(net.net)
    if not isinstance(net, nn.Sequential):
        return False
    if isinstance(net[-1], nn.Conv2d | nn.Conv3d):
        net[-1] = Exact(net[-1])
    return isinstance(net[-1], Exact)


class SubPixel(nn.Module):
    """A network on cells, with `Fold` before and `Unfold` and a blur after it."""

    def __init__(self, net: nn.Module, cell: Vec3, blur: nn.Module) -> None:
        super().__init__()
        self.fold, self.net, self.unfold, self.blur = Fold(cell), net, Unfold(cell), blur

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, z, y, x) to (n, outputs, z, y, x)."""
        return self.blur(self.unfold(self.net(self.fold(x))))
