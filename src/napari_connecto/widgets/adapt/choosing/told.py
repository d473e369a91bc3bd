"""What a model says of itself, before it is ranked; no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.boundary_models import peek_card
from napari_connecto.workflows.shared.model_size import ModelSize


@dataclass(frozen=True)
class Told:
    """Voxel size relative to the image ("" if unknown), licence, size on disk, and more for a tooltip."""

    ratio: str
    licence: str
    tooltip: str = ""
    size: str = ""

    @classmethod
    def of(cls, folder: Path, image: Volume | None) -> Told:
        """What the card in a folder says of a model for an image."""
        try:
            card, about = peek_card(folder), about_model(folder)
        except ConnectoError as error:
            return cls("", "", str(error))
        known = image is not None and image.calibrated
        ratio = card.voxel_nm[2] / image.levels[0].voxel_nm[2] if image is not None and known else nan
        return cls(ratio_text(ratio), card.licence, about, bytes_text(ModelSize.of(folder).disk_bytes))

    def line(self) -> str:
        """In words."""
        told = [f"{self.ratio} the voxel size"] if self.ratio else []
        return " · ".join([*told, *([self.size] if self.size else []), self.licence or "licence unknown"])


def ratio_text(ratio: float) -> str:
    """Voxel size relative to the image, as text; "" if unknown."""
    if not isfinite(ratio):
        return ""
    return f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×"


def about_model(folder: Path | None) -> str:
    """Voxel size, size, training data and licence in words."""
    if folder is None:
        return "An untrained network. Suggest patches at random, and compare the result with a pretrained model."
    card = peek_card(folder)
    voxel = " × ".join(f"{v:g}" for v in card.voxel_nm)
    told = [f"{voxel} nm", ModelSize.of(folder).text(), card.training or "Training data not stated"]
    return f"{'. '.join(told)}. Licence: {card.licence or 'not stated'}."
