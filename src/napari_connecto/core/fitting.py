"""The level of a volume that a model can read, resampled if its voxels differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume

if TYPE_CHECKING:
    from napari_connecto.core.model import ModelCard

FINER, COARSER = 4.0, 16.0
"""Largest ratio of a model's voxel size to the volume's finest, in both directions."""


def is_flat(card: ModelCard) -> bool:
    """Whether the model reads sections singly or with neighbours, so that z is not resampled."""
    return card.tile[0] == 1


def fitting_level(volume: Volume, card: ModelCard) -> Level:
    """The coarsest level that is as fine as the model needs, resampled to the card's voxel size.

    Parameters
    ----------
    volume
        With a stated voxel size.
    card
        For flat models (tiles of one section) y and x count, and sections stay as they are.

    Returns
    -------
    Level
        Voxels of the card's size (within 2 %), lazily computed; a stored level if one fits.

    Raises
    ------
    VoxelSizeError
        If the volume states no voxel size, or is more than 4 times too coarse or 16 times too fine for the model.
    """
    return resampled(stored_level(volume, card), _wanted(volume.levels[0], card))


def stored_level(volume: Volume, card: ModelCard) -> Level:
    """The stored level that `fitting_level` reads; raises the same errors."""
    if not isinstance(volume, Volume):
        raise InputError(
            f"got an image of type {type(volume).__name__}; make it a volume: Volume.from_array(array, voxel_nm)"
        )
    if not volume.calibrated:
        raise VoxelSizeError(f"'{volume.name}' states no voxel size; give it in nm (voxel_nm=, --voxel-nm Z Y X)")
    axes = (1, 2) if is_flat(card) else (0, 1, 2)
    wanted = _wanted(volume.levels[0], card)
    finest = volume.levels[0].voxel_nm
    ratio = [wanted[a] / finest[a] for a in axes]
    if min(ratio) < 1 / FINER or max(ratio) > COARSER:
        raise VoxelSizeError(
            f"'{volume.name}' has voxels of {_nm(finest)} nm, model '{card.name}' needs {_nm(card.voxel_nm)} nm; "
            f"allowed are {FINER:g} times too coarse to {COARSER:g} times too fine: choose another model, or correct "
            "the voxel size"
        )
    fine = [
        level
        for level in volume.levels
        if all(level.voxel_nm[a] <= wanted[a] * 1.02 for a in axes)
        and (0 in axes or level.shape[0] == volume.levels[0].shape[0])
    ]
    return fine[-1] if fine else volume.levels[0]


def voxel_ratio(volume: Volume, card: ModelCard) -> float:
    """Model voxel size relative to the volume's finest, along the in-plane axis that differs most; 1 is equal."""
    ratios = [c / v for c, v in zip(card.voxel_nm[1:], volume.levels[0].voxel_nm[1:], strict=True)]
    return max(ratios, key=lambda r: max(r, 1 / r))


def _wanted(level: Level, card: ModelCard) -> FVec3:
    z, y, x = card.voxel_nm
    return (level.voxel_nm[0], y, x) if is_flat(card) else (z, y, x)


def _nm(voxel_nm: FVec3) -> str:
    return " x ".join(f"{v:g}" for v in voxel_nm)
