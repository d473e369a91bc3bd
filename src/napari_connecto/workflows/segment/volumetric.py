"""A second network of a domain, of volumes, whose answer is averaged with that of sections in three directions."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import Predictor
from napari_connecto.models.files import CARD, Backend, load_model
from napari_connecto.models.inference.origin import Origin

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


def own_volumetric(model: Predictor) -> Predictor | None:
    """The volumetric model in the folder that a model was loaded from, loaded in the same way; None if there is none.

    A model that was trained further or made by an adapter has no folder: its companion has not learnt what it has.
    """
    origin: Origin | None = getattr(model, "origin", None)
    return None if origin is None else load_volumetric(origin.folder, device=origin.device, backend=origin.backend)
