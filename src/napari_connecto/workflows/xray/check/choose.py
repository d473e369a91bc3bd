"""Which boundary model checks the translations of a translator, where none is named; loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_connecto.core.fitting import FINER
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.model import ModelCard

CARD = "card.json"


def default_model(name: str, about: Mapping[str, Any], voxel_nm: FVec3, models: Mapping[str, Path]) -> str:
    """A boundary model for the translations of a translator.

    Parameters
    ----------
    name, about, voxel_nm
        Of the translator.
    models
        Folders of boundary models by name.

    Returns
    -------
    str
        Name of the model that the translator was trained with; else of one that is named alike; else of the one with
        the nearest pixel size. "" if there is none of a fitting pixel size.
    """
    pixels = {key: _pixel(folder) for key, folder in models.items()}
    away = {key: max(p / voxel_nm[1], voxel_nm[1] / p) for key, p in pixels.items() if p > 0}
    fitting = [key for key in away if away[key] <= FINER]
    alike = [key for key in fitting if name and key.startswith(name)]
    for choice in ([str(about.get("segmenter") or "")], alike, sorted(fitting, key=lambda key: away[key])):
        if choice and choice[0] in fitting:
            return choice[0]
    return ""


def _pixel(folder: Path) -> float:
    """Pixel size of a boundary model, nm; 0 for what is none."""
    try:
        card = ModelCard.from_json(json.loads((folder / CARD).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return card.voxel_nm[1] if card.outputs[0].name == "boundary" else 0.0
