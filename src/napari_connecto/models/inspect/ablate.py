"""Changes that take one direction, channel or latent out of activations by setting it to its mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from napari_connecto.models.inspect.sae import Sae


def without_direction(mean: np.ndarray, scale: np.ndarray, direction: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Sets the part along a unit direction (channels,) of standardised channels to its mean.

    Parameters
    ----------
    mean, scale
        (channels,) of the activations.
    direction
        (channels,), of length 1.
    """
    centre, width, along = (torch.from_numpy(np.asarray(a, np.float32)) for a in (mean, scale, direction))

    def change(a: Tensor) -> Tensor:
        rows = a.movedim(1, -1)
        part = ((rows - centre.to(a)) / width.to(a)) @ along.to(a)
        return (rows - part[..., None] * (along * width).to(a)).movedim(-1, 1)

    return change


def without_channel(index: int, mean: float) -> Callable[[Tensor], Tensor]:
    """Sets a channel to its mean."""

    def change(a: Tensor) -> Tensor:
        new = a.clone()
        new[:, index] = mean
        return new

    return change


def without_latent(sae: Sae, index: int, mean: float) -> Callable[[Tensor], Tensor]:
    """Sets a latent to its mean; what the autoencoder does not rebuild stays as it is."""
    along = torch.from_numpy(sae.dictionary[index] * sae.scale)

    def change(a: Tensor) -> Tensor:
        rows = a.movedim(1, -1)
        flat = rows.reshape(-1, rows.shape[-1])
        codes = sae.encode(flat.cpu().numpy())[:, index]
        moved = torch.from_numpy(codes - np.float32(mean)).to(a)[:, None] * along.to(a)
        return (flat - moved).reshape(rows.shape).movedim(-1, 1)

    return change
