"""Optimal brain surgeon in one pass: which weights of a layer become zero, and how the others make up for them.

SparseGPT (Frantar and Alistarh, arXiv 2301.00774), here for convolutions: each place of the output is one row of inputs
(im2col). With H = 2 X'X / n the rows' second moments, a weight costs w_j^2 / [H^-1]_jj, and what its removal does to
the output is compensated by the weights after it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

DAMP = 0.01
"""Added to the diagonal of H, as a share of its mean, so that it can be inverted."""
BLOCK = 128
"""Columns of which the weights to remove are chosen together."""


def obs_prune(weight: Tensor, rows: Tensor, sparsity: float, *, damp: float = DAMP, block: int = BLOCK) -> Tensor:
    """Set a share of the weights to zero and correct the others, so that ``rows @ weight.T`` changes least.

    Parameters
    ----------
    weight
        (outputs, inputs).
    rows
        (n, inputs): inputs seen by the layer.
    sparsity
        Share of zeros; 0 returns the weights unchanged.
    damp
        See `DAMP`.
    block
        See `BLOCK`.

    Returns
    -------
    Tensor
        (outputs, inputs), a new tensor.
    """
    left = weight.detach().clone()
    if sparsity <= 0:
        return left
    inverse, dead = _inverse_factor(rows, damp)
    left[:, dead] = 0
    for start in range(0, left.shape[1], block):
        stop = min(start + block, left.shape[1])
        part, factor = left[:, start:stop].clone(), inverse[start:stop, start:stop]
        gone = smallest(part.square() / factor.diagonal().square(), sparsity)
        errors = torch.zeros_like(part)
        for i in range(stop - start):
            kept = torch.where(gone[:, i], 0.0, part[:, i])
            errors[:, i] = (part[:, i] - kept) / factor[i, i]
            part[:, i + 1 :] -= errors[:, i : i + 1] * factor[i, i + 1 :]
            part[:, i] = kept
        left[:, start:stop] = part
        left[:, stop:] -= errors @ inverse[start:stop, stop:]
    return left


def magnitude_prune(weight: Tensor, sparsity: float) -> Tensor:
    """The control: the smallest weights become zero, the others stay."""
    return torch.where(smallest(weight.abs(), sparsity), 0.0, weight.detach())


def smallest(scores: Tensor, share: float) -> Tensor:
    """Mask of a share of the entries, those of the lowest scores."""
    gone = torch.zeros(scores.numel(), dtype=torch.bool)
    gone[scores.flatten().argsort(stable=True)[: round(share * scores.numel())]] = True
    return gone.reshape(scores.shape)


def layer_error(weight: Tensor, pruned: Tensor, rows: Tensor) -> float:
    """|X (W - V)'|^2 / |X W'|^2: squared error of the layer's output, relative."""
    wanted = rows @ weight.T
    return float((rows @ pruned.T - wanted).square().sum() / wanted.square().sum().clamp_min(1e-30))


def _inverse_factor(rows: Tensor, damp: float) -> tuple[Tensor, Tensor]:
    """Upper Cholesky factor of H^-1, and inputs that are always 0."""
    moments = rows.T @ rows * (2 / max(1, len(rows)))
    dead = moments.diagonal() == 0
    moments.diagonal()[dead] = 1
    moments.diagonal().add_(damp * moments.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    return torch.linalg.cholesky(inverse, upper=True), dead


def rows_of(conv: nn.Module, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Inputs of a convolution at random places of its output, (count, channels * kernel): im2col of these alone."""
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    assert isinstance(conv.padding, tuple)
    sides = [p for p in conv.padding[::-1] for _ in (0, 1)]
    windows = pad(x, sides)
    for axis, (kernel, stride) in enumerate(zip(conv.kernel_size, conv.stride, strict=True), start=2):
        windows = windows.unfold(axis, kernel, stride)
    dims = len(conv.kernel_size)
    windows = windows.movedim(1, 1 + dims)  # n, places, channels, kernel
    shape = windows.shape[: 1 + dims]
    places = torch.randint(shape.numel(), (count,), generator=generator)
    return windows[torch.unravel_index(places, shape)].flatten(1)


def can_be_rows(module: nn.Module) -> bool:
    """Whether a layer is a convolution that `rows_of` takes apart."""
    plain = isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups == 1 and module.padding_mode == "zeros"
    return plain and set(module.dilation) == {1} and not isinstance(module.padding, str)  # type: ignore[arg-type]
