"""How far two images are apart for one model: MMD^2 in its own features, position by position.

Sawmya et al. (arXiv 2503.06196) take "the U-Net's last down-projection layer": here the deepest activations of the
encoder, and besides those the decoder hands to the last layer, neither averaged over space.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist
from torch import Tensor, nn

from napari_connecto.core.model import ModelCard
from napari_connecto.models.inference.predictor import TorchPredictor, one_thread
from napari_connecto.models.nets.nets import Sections
from napari_connecto.models.nets.subpixel import SubPixel

PLACES = ("encoder", "decoder")
POSITIONS = 8
"""Positions of a patch that are kept, drawn at random."""
BOOTSTRAPS = 1000
KINDS = ("smp",)
"""Of networks whose encoder and decoder are known."""


def has_own_features(card: ModelCard) -> bool:
    """Whether `own_features` can be taken of a model with this card."""
    return card.network.get("kind") in KINDS


def own_features(model: TorchPredictor, patches: np.ndarray, seed: int = 0) -> Mapping[str, np.ndarray]:
    """Activations of a model at positions of patches.

    Parameters
    ----------
    model
        Of a kind in `KINDS`.
    patches
        (n, c, z, y, x) float32, scaled as the model's card says; y and x are multiples of the network's divisor.
    seed
        Of the positions, the same for all patches.

    Returns
    -------
    mapping
        For each of `PLACES`: (n, positions, channels) float32.
    """
    inner: nn.Module = model.net
    while isinstance(inner, SubPixel | Sections):
        inner = inner.net
    taken: dict[str, list[np.ndarray]] = {place: [] for place in PLACES}
    rng = np.random.default_rng(seed)
    drawn: dict[str, np.ndarray] = {}

    def keep(place: str, output: Any) -> None:
        deep: Tensor = output[-1] if isinstance(output, list | tuple) else output
        flat = deep.detach().float().flatten(2).cpu().numpy()
        if place not in drawn:
            drawn[place] = rng.choice(flat.shape[2], min(POSITIONS, flat.shape[2]), replace=False)
        taken[place].append(flat[:, :, drawn[place]].transpose(0, 2, 1))

    hooks = [
        inner.get_submodule(place).register_forward_hook(lambda _m, _i, output, place=place: keep(place, output))
        for place in PLACES
    ]
    try:
        with one_thread() if model.device.type == "cpu" else nullcontext(), torch.inference_mode():
            for patch in patches:
                model.net(torch.from_numpy(np.ascontiguousarray(patch[None], np.float32)).to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return {place: np.concatenate(found) for place, found in taken.items()}


def patch_mmd2(x: np.ndarray, y: np.ndarray, seed: int = 0) -> np.ndarray:
    """Unbiased MMD^2 between two samples of patches, and its bootstrap over patches.

    The kernel is Gaussian, its width the median distance within ``y``. Pairs of positions of one patch are left out:
    they are alike because they are neighbours.

    Parameters
    ----------
    x, y
        (patches, positions, channels), at least 2 patches each.
    seed
        Random seed of the bootstrap.

    Returns
    -------
    np.ndarray
        (1 + `BOOTSTRAPS`,): the first is that of the samples themselves.
    """
    x, y = (np.asarray(a, np.float64) for a in (x, y))
    width = float(np.median(pdist(y.reshape(-1, y.shape[2])))) or 1.0
    xx, yy, xy = (_between_patches(a, b, width) for a, b in ((x, x), (y, y), (x, y)))
    rng = np.random.default_rng(seed)
    a, b = (
        np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), BOOTSTRAPS)]) for n in (len(x), len(y))
    )
    inside = [_pairs(c, k) for c, k in ((a, xx), (b, yy))]
    across = np.einsum("rp,pq,rq->r", a, xy, b) / (len(x) * len(y))
    return inside[0] + inside[1] - 2 * across


def _between_patches(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Mean kernel between the positions of every two patches, (patches of a, patches of b)."""
    kernel = np.exp(-cdist(a.reshape(-1, a.shape[2]), b.reshape(-1, b.shape[2]), "sqeuclidean") / (2 * width**2))
    return kernel.reshape(len(a), a.shape[1], len(b), b.shape[1]).mean(axis=(1, 3))


def _pairs(copies: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Mean over pairs of different patches, each as often as it was drawn; (resamples,)."""
    whole = np.einsum("rp,pq,rq->r", copies, kernel, copies) - (copies**2 * np.diag(kernel)).sum(1)
    return whole / np.maximum(copies.sum(1) ** 2 - (copies**2).sum(1), 1)
