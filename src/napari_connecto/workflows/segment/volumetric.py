"""A second network of a domain, of volumes, whose answer is averaged with that of sections in three directions."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import Predictor
from napari_connecto.models.files import CARD, Backend, load_model

VOLUMETRIC = "volumetric"
"""Its folder, in the folder of a model of sections."""


def load_volumetric(folder: str | Path, *, device: str = "auto", backend: Backend = "auto") -> Predictor | None:
    """The volumetric model in the folder of a model of sections; None if there is none.

    Raises
    ------
    ModelError
        If it is damaged, or it is no model of volumes.
    """
    inner = Path(folder) / VOLUMETRIC
    if not (inner / CARD).is_file():
        return None
    model = load_model(inner, device=device, backend=backend)
    if min(model.card.tile) < 2 or len(set(model.card.voxel_nm)) > 1:
        raise ModelError(
            f"the model in '{inner}' reads tiles of {model.card.tile} and voxels of {model.card.voxel_nm} nm; both "
            "must be cubes: remove that folder to do without"
        )
    return model
