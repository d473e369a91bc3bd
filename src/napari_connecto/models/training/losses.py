"""Loss functions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_connecto.core.errors import InputError

LOG_VARIANCE_RANGE = (-10.0, 2.0)
"""Of a regression on the scale 0 to 1: standard deviations of 0.007 to 2.7."""


class MaskLoss(nn.Module):
    """`mixed_loss` of maps of probabilities."""

    def __init__(self, dice: float) -> None:
        super().__init__()
        self.dice = dice

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """All (n, outputs, z, y, x), of one shape."""
        if logits.shape != target.shape or target.shape != weight.shape:
            raise InputError(
                f"got target {tuple(target.shape)} and weight {tuple(weight.shape)}; the model gives "
                f"{tuple(logits.shape)}"
            )
        return mixed_loss(logits, target, weight, self.dice)


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
