"""Dropout with masks that depend only on the tile, so that recomputing a tile gives the same result.

Monte-Carlo dropout as an approximate posterior: Gal and Ghahramani, arXiv 1506.02142.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_here = threading.local()


class TileDropout(nn.Module):
    """Whole channels are dropped: in training at random, in evaluation only within `dropping`.

    Parameters
    ----------
    p
        Share of channels.
    place
        Number of this layer in its network: two layers of one tile draw different masks.
    """

    def __init__(self, p: float, place: int) -> None:
        super().__init__()
        self.p = p
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, ...), the same shape; where n is a multiple of the seeds', so many in a row are of one tile."""
        if self.training:
            return torch.feature_dropout(x, self.p, True)
        seeds = getattr(_here, "seeds", None)
        if seeds is None:
            return x
        masks = torch.stack([self._mask(seed, x.shape[1]) for seed in seeds]).to(x)
        masks = masks.repeat_interleave(len(x) // len(seeds), dim=0)
        return x * masks.reshape(*masks.shape, *[1] * (x.dim() - 2))

    def _mask(self, seed: int, channels: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1009 + self.place)
        return (torch.rand(channels, generator=generator) >= self.p).float() / (1 - self.p)


@contextmanager
def dropping(seeds: Sequence[int] | None) -> Iterator[None]:
    """Within it `TileDropout` drops channels of each tile by its seed, in this thread; with None nothing changes."""
    before = getattr(_here, "seeds", None)
    _here.seeds = before if seeds is None else list(seeds)
    try:
        yield
    finally:
        _here.seeds = before


def seeded_dropout(net: nn.Module) -> nn.Module:
    """``net`` with each of torch's dropouts replaced, in place."""
    found = [(name, module.p) for name, module in net.named_modules() if isinstance(module, nn.Dropout)]
    for place, (name, p) in enumerate(found):
        net.set_submodule(name, TileDropout(p, place))
    return net
