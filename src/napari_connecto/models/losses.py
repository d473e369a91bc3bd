"""What training makes small."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def mixed_loss(logits: Tensor, target: Tensor, weight: Tensor, dice: float) -> Tensor:
    """Cross entropy and ``dice`` parts of soft Dice; all tensors (n, outputs, z, y, x), ``weight`` 0 where unknown."""
    return (1 - dice) * cross_entropy(logits, target, weight) + dice * soft_dice(logits, target, weight)


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over all voxels and outputs."""
    each = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


def soft_dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice, the mean over outputs; 1 voxel is added to both sides, so that nothing beside nothing is right."""
    axes = [0, *range(2, logits.dim())]
    p = logits.sigmoid()
    both = (weight * p * target).sum(axes)
    either = (weight * (p + target)).sum(axes)
    return 1 - ((2 * both + 1) / (either + 1)).mean()
