"""A volume's patches in the feature space in which domains are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.shared.patches import candidates

FEW = 10
"""Smallest number of patches for a meaningful sample."""


@shown
@dataclass(frozen=True)
class FeatureSample:
    """Feature vectors (n, d) of tissue patches, and how many patches were skipped as empty."""

    vectors: np.ndarray
    skipped: int


def sample_features(
    volume: Volume, card: ModelCard, encoder: TorchEncoder, *, patches: int, size: int, seed: int = 0
) -> FeatureSample:
    """`sample_features_job`, run to its end."""
    return run(sample_features_job(volume, card, encoder, patches=patches, size=size, seed=seed))


def sample_features_job(
    volume: Volume, card: ModelCard, encoder: TorchEncoder, *, patches: int, size: int, seed: int = 0
) -> Job[FeatureSample]:
    """Features of a volume's patches at a model's voxel size, with a report per patch.

    Parameters
    ----------
    volume
        Image.
    card
        Gives the voxel size; the normalisation is the encoder's.
    encoder
        See `load_encoder`.
    patches, size
        Largest number of patches, and their extent along y and x in the card's voxels; each is one section.
    seed
        Random seed of their positions.

    Raises
    ------
    InputError
        If fewer than 10 patches contain tissue.
    VoxelSizeError
        If the volume is too coarse or too fine for the card.
    """
    level = fitting_level(volume, card)
    extent = (1, min(size, level.shape[1]), min(size, level.shape[2]))
    if min(extent[1:]) < size // 2:
        raise InputError(
            f"'{volume.name}' has {level.shape} voxels at the model's voxel size; at least {size // 2} along y and x "
            "are needed"
        )
    found = candidates(level, extent, patches, seed, ())
    if len(found.boxes) < FEW:
        raise InputError(
            f"'{volume.name}' has {len(found.boxes)} patches of tissue of {extent[1]} x {extent[2]} voxels "
            f"({found.skipped_empty} were empty); {FEW} are needed: choose a larger region or smaller patches"
        )
    scaling = encoder.card.normalisation.resolve(volume)
    vectors = []
    for n, box in enumerate(found.boxes):
        yield Progress(n, len(found.boxes), "comparing training data")
        vectors.append(encoder(scaling(level.read(box))[None, None]))
    return FeatureSample(np.concatenate(vectors), found.skipped_empty)
