"""A small sparse autoencoder of activations (TopK), and the frozen random dictionary that it must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_connecto.core.errors import InputError
from napari_connecto.core.params import check, param

BATCH = 1024
CHUNK = 2**15
STREAM = 7
"""Keeps the random directions apart from whatever the caller draws with the same seed."""


@dataclass(frozen=True)
class SaeParams:
    """Size and training of the autoencoder."""

    expansion: int = param(4, "Latents for each channel.", low=1, high=64)
    active: int = param(4, "Latents that are active for one pixel.", low=1)
    steps: int = param(300, "Training batches of 1024 pixels.", low=1)
    learning_rate: float = param(1e-2, "Peak learning rate.", low=1e-6, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Sae:
    """``z = TopK(ReLU((a - mean) / scale @ encoder + bias))`` and ``a' = (z @ dictionary) * scale + mean``.

    Parameters
    ----------
    mean, scale
        (channels,) of the activations it was fitted to.
    encoder, bias, dictionary
        (channels, latents), (latents,), (latents, channels); the dictionary's rows have unit length.
    active
        Largest number of latents other than 0 in a row of `encode`.
    """

    mean: np.ndarray
    scale: np.ndarray
    encoder: np.ndarray
    bias: np.ndarray
    dictionary: np.ndarray
    active: int

    @property
    def latents(self) -> int:
        """Number of latents."""
        return len(self.dictionary)

    def encode(self, activations: np.ndarray) -> np.ndarray:
        """Latents (n, latents) float32 of activations (n, channels)."""
        parts = [self._codes(activations[i : i + CHUNK]) for i in range(0, len(activations), CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, self.latents), np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Activations (n, channels) of latents."""
        return (codes @ self.dictionary) * self.scale + self.mean

    def quality(self, activations: np.ndarray) -> Quality:
        """How well activations (n, channels) are rebuilt, and by how many latents."""
        codes = self.encode(activations)
        rest = ((activations - self.decode(codes)) / self.scale) ** 2
        spread = ((activations - activations.mean(axis=0)) / self.scale) ** 2
        return Quality(
            fvu=float(rest.sum() / max(float(spread.sum()), 1e-12)),
            l0=float((codes > 0).sum(axis=1).mean()),
            dead=float((codes.max(axis=0) <= 0).mean()),
        )

    def _codes(self, activations: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray((activations - self.mean) / self.scale, np.float32))
        codes = _top(x @ torch.from_numpy(self.encoder) + torch.from_numpy(self.bias), self.active)
        return codes.numpy()


@dataclass(frozen=True)
class Quality:
    """Of an autoencoder on activations.

    Parameters
    ----------
    fvu
        Fraction of variance unexplained, on channels scaled to unit variance.
    l0
        Mean number of active latents.
    dead
        Share of latents that are active nowhere.
    """

    fvu: float
    l0: float
    dead: float


def fit_sae(activations: np.ndarray, params: SaeParams | None = None, seed: int = 0) -> Sae:
    """Train a TopK autoencoder by Adam on the squared error; same input and seed, same result on a machine.

    Parameters
    ----------
    activations
        (n, channels) of pixels of one place in one network. A dictionary of one checkpoint says nothing of another:
        fit one for each.
    params, seed
        See `SaeParams`; of the start and the batches.

    Raises
    ------
    InputError
        If there are fewer than two pixels, or values that are not finite.

    References
    ----------
    Gao et al., arXiv 2406.04093 (TopK, the decoder's transpose as the encoder's start); Sawmya, Adler, Shavit, arXiv
    2505.19440 (autoencoders of many checkpoints and layers).
    """
    params = params or SaeParams()
    start = random_sae(activations, params, seed)
    x = torch.from_numpy(((activations - start.mean) / start.scale).astype(np.float32))
    encoder, dictionary = (torch.from_numpy(a.copy()).requires_grad_() for a in (start.encoder, start.dictionary))
    bias = torch.zeros(start.latents, requires_grad=True)
    optimiser = torch.optim.Adam([encoder, bias, dictionary], params.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, params.learning_rate, total_steps=max(2, params.steps))
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(params.steps):
            batch = x[torch.randint(len(x), (min(BATCH, len(x)),), generator=random)]
            loss = ((_top(batch @ encoder + bias, start.active) @ dictionary - batch) ** 2).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                dictionary /= dictionary.norm(dim=1, keepdim=True).clamp_min(1e-8)
    rows = dictionary.detach().numpy()
    return Sae(start.mean, start.scale, encoder.detach().numpy(), bias.detach().numpy(), rows, start.active)


def random_sae(activations: np.ndarray, params: SaeParams | None = None, seed: int = 0) -> Sae:
    """The control: a dictionary of random directions, its transpose as the encoder; only mean and scale are fitted.

    References
    ----------
    Sanity checks for sparse autoencoders, arXiv 2602.14111; Heap et al., arXiv 2501.17727.
    """
    params = params or SaeParams()
    if activations.ndim != 2 or len(activations) < 2 or not np.isfinite(activations).all():
        raise InputError(f"got activations of shape {activations.shape}; need (n, channels), n at least 2, all finite")
    mean, spread = activations.mean(axis=0), activations.std(axis=0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    channels = activations.shape[1]
    latents = params.expansion * channels
    rows = np.random.default_rng([seed, STREAM]).standard_normal((latents, channels)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    active = min(params.active, latents)
    bias = np.zeros(latents, np.float32)
    return Sae(mean.astype(np.float32), scale.astype(np.float32), rows.T.copy(), bias, rows, active)


def recovered(directions: np.ndarray, dictionary: np.ndarray, cosine: float = 0.9) -> float:
    """Share of known unit directions (n, channels) that a row of a dictionary matches by at least ``cosine``."""
    return float(((directions @ dictionary.T).max(axis=1) >= cosine).mean())


def _top(before: Tensor, active: int) -> Tensor:
    """The ``active`` largest of each row where they are positive, else 0."""
    values, at = before.topk(active, dim=1)
    return torch.zeros_like(before).scatter(1, at, values.relu())
