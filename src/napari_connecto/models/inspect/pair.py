"""The judge of pairs: a small convolutional network on an image and an answer to it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import ModelCard, Normalisation, Output

ERROR, QUALITY = "error", "quality"
"""Outputs of a judge: probability that the answer is wrong at a voxel; quality of its surroundings, in 0..1."""
TASK = "guard"


def judge_card(model: ModelCard, inner: int, halo: int, width: int = 12) -> ModelCard:
    """The card of a judge for a model's answers.

    Parameters
    ----------
    model
        Whose images it reads: scaled as that model wants them, with the answer as one more channel.
    inner, halo
        Side of a tile and width of the context around it, voxels; both divisible by 8.
    width
        Channels of the first layer.
    """
    network = {"kind": "unet", "dims": 2, "width": width, "depth": 4, "residual": 1, "half": True}
    return ModelCard(
        name=f"guard of {model.name}",
        task=TASK,
        voxel_nm=model.voxel_nm,
        tile=(1, inner, inner),
        halo=(0, halo, halo),
        outputs=(Output(ERROR), Output(QUALITY)),
        channels=model.channels + 1,
        normalisation=Normalisation("none"),
        network=network,
        training=model.training,
        licence=model.licence,
        parent=model.digest,
    )


class PairLoss(nn.Module):
    """Cross entropy of the error map, and of the mean quality of a tile against the tile's own.

    Parameters
    ----------
    quality
        Weight of the second.
    """

    def __init__(self, quality: float = 1.0) -> None:
        super().__init__()
        self.quality = quality

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """All (n, 2, z, y, x); the target's second channel is one number per tile, weighted within the tile."""
        if logits.shape != target.shape or target.shape != weight.shape or logits.shape[1] != 2:
            raise InputError(
                f"got an answer of {tuple(logits.shape)}, target {tuple(target.shape)}, weight {tuple(weight.shape)}; "
                "all are (n, 2, z, y, x)"
            )
        each = binary_cross_entropy_with_logits(logits[:, 0], target[:, 0], reduction="none")
        error = (each * weight[:, 0]).sum() / weight[:, 0].sum().clamp_min(1e-6)
        inside = weight[:, 1].flatten(1)
        total = inside.sum(1)
        mean = (logits[:, 1].sigmoid().flatten(1) * inside).sum(1) / total.clamp_min(1e-6)
        wanted = (target[:, 1].flatten(1) * inside).sum(1) / total.clamp_min(1e-6)
        mean = mean.clamp(1e-4, 1 - 1e-4)
        cross = -(wanted * torch.log(mean) + (1 - wanted) * torch.log1p(-mean))
        told = (total > 0).float()
        return error + self.quality * (cross * told).sum() / told.sum().clamp_min(1.0)
