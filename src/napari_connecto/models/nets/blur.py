"""The blur that takes the grid of a network's enlarging layers away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Blur(nn.Module):
    """A mean with weights 1, 2, 1 over neighbours along the axes that a transposed convolution has enlarged.

    Its voxels see two patterns of the kernel in turn; this filter lets nothing of that period of 2 through (compare
    Odena et al., Distill 2016, on such checkerboards). Edges repeat.
    """

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.axes = [axis + 2 for axis, stride in enumerate(strides) if stride > 1]

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        for axis in self.axes:
            x = (
                self._lean(x, axis)
                if torch.is_inference_mode_enabled() and not torch.jit.is_tracing()
                else self._plain(x, axis)
            )
        return x

    @staticmethod
    def _plain(x: Tensor, axis: int) -> Tensor:
        n = x.shape[axis]
        before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
        after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
        return 0.5 * x + 0.25 * (before + after)

    @staticmethod
    def _lean(x: Tensor, axis: int) -> Tensor:
        """The same with one array instead of five: the largest of a network are those that are blurred."""
        n = x.shape[axis]
        y = 0.5 * x
        y.narrow(axis, 1, n - 1).add_(x.narrow(axis, 0, n - 1), alpha=0.25)
        y.narrow(axis, 0, n - 1).add_(x.narrow(axis, 1, n - 1), alpha=0.25)
        for end in (0, n - 1):
            y.narrow(axis, end, 1).add_(x.narrow(axis, end, 1), alpha=0.25)
        return y


def blurred(net: nn.Module) -> nn.Module:
    """``net`` with a `Blur` after every transposed convolution, in place."""
    kinds = (nn.ConvTranspose2d, nn.ConvTranspose3d)
    for name, module in [(n, m) for n, m in net.named_modules() if isinstance(m, kinds)]:
        net.set_submodule(name, nn.Sequential(module, Blur(module.stride)))
    return net
