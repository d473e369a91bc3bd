"""Activations of a network at single pixels, and the network before it learnt anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import ModelCard
from napari_connecto.models.inspect.taps import Network, capture
from napari_connecto.models.nets.fold import NORMS


def answered(card: ModelCard) -> Vec3:
    """Shape (z, y, x) of what the network answers to one tile: what it reads, less what it trims itself."""
    trimmed = card.outputs[0].trimmed
    return vec3([t + 2 * h - 2 * r for t, h, r in zip(card.tile, card.halo, trimmed, strict=True)])


def features_at(
    opened: Network, names: Sequence[str], patch: np.ndarray, points: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Activations and logits at pixels of one tile.

    Parameters
    ----------
    opened
        From `taps.network`.
    names
        Places, see `taps.taps`.
    patch
        (c, z, y, x) float32, scaled, as a tile reads it.
    points
        (n, 3) voxels of what the network answers, (z, y, x) from the corner of that.

    Returns
    -------
    activations, logits
        (n, channels) float32 by place, coarse places interpolated linearly between their voxels' centres; and
        (n, outputs) float32.
    """
    with torch.no_grad(), capture(opened, names) as seen:
        logits = opened.logits(patch[None])
        found = {name: sampled(unfolded(seen[name], 1), points, answered(opened.card)) for name in names}
    return found, sampled(logits, points, answered(opened.card))


def unfolded(activations: Tensor, tiles: int) -> Tensor:
    """(n, c, z, y, x) of activations whose sections a 2-D network has put on the axis of the tiles."""
    if activations.dim() == 5:
        return activations
    return activations.reshape(tiles, -1, *activations.shape[1:]).transpose(1, 2)


def sampled(maps: Tensor, points: np.ndarray, shape: Vec3) -> np.ndarray:
    """Values (n, channels) of maps (1, channels, z, y, x) at voxels (n, 3) of a grid of ``shape`` over the same room.

    As `torch.nn.functional.interpolate` (trilinear) gives them there.
    """
    size = torch.tensor(shape, dtype=torch.float32)
    at = (2 * (torch.from_numpy(np.asarray(points, np.float32)) + 0.5) / size - 1).flip(1)  # as (x, y, z)
    grid = at.reshape(1, 1, 1, -1, 3).to(maps.device)
    values = nn.functional.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    return values[0, :, 0, 0].T.cpu().numpy()


def untrained(opened: Network, seed: int, patches: Iterable[np.ndarray]) -> Network:
    """The same network with fresh weights, and batch-norm statistics of these patches: what architecture alone knows.

    Parameters
    ----------
    opened
        From `taps.network`; unchanged.
    seed
        Of the weights.
    patches
        Each (n, c, z, y, x) float32, scaled; without batch norm they are not read.
    """
    fresh = replace(opened, net=deepcopy(opened.net))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.net.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    norms = [module for module in fresh.net.modules() if isinstance(module, NORMS) and module.track_running_stats]
    for module in norms:
        module.momentum = None  # the plain average over patches
        module.train()
    with torch.no_grad():
        for patch in patches if norms else ():
            fresh.logits(patch)
    fresh.net.eval()
    return fresh
