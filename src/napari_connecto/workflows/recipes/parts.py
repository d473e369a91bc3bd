"""What runs of all workflows share: the folders that names stand for, and what was tuned with a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import read_json
from napari_connecto.models.files import CARD
from napari_connecto.sample_data import TRANSLATOR, list_translators
from napari_connecto.workflows.adapt.domains import ABOUT
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.library import library_models

TUNED = "segment.json"
"""Thresholds tuned with a model, beside it."""

TRAINED = "translator"
"""What train-translator makes, in its folder."""


def clipped_lines(region: Box | None, volume: Volume) -> list[str]:
    """Whether a region reaches outside the volume, in words; [] where it does not."""
    if region is None or region == (inner := region.clip(volume.levels[0].shape)):
        return []
    return [f"region clipped to z y x {inner.start} to {inner.stop}, the voxels that there are"]


def model_folder(name_or_path: str | Path) -> Path:
    """The folder of a model, given as a path (also of what fine-tune wrote) or by a name: shipped, or the user's own.

    Raises
    ------
    InputError
        If there is none.
    """
    return _named_folder("model", name_or_path, "model", CARD, library_models())


def translator_folder(name_or_path: str | Path) -> Path:
    """The folder of a translator, given as a path (also of what train-translator wrote) or by a shipped one's name.

    Raises
    ------
    InputError
        If there is none.
    """
    return _named_folder("translator", name_or_path, TRAINED, TRANSLATOR, list_translators())


def detector_path(name_or_path: str | Path) -> Path:
    """The folder or file of a detector; raises `InputError` where it is none, so that it is a name."""
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(f"'{path}' is not a file or folder")
    return path


def _named_folder(what: str, name_or_path: str | Path, inner: str, marker: str, shipped: Mapping[str, Path]) -> Path:
    """A folder, or ``inner`` in it, that holds the file ``marker``; or the shipped one of this name.

    Raises
    ------
    InputError
        If there is none; of a folder without the file, whoever loads it says what is wrong.
    """
    path = Path(name_or_path)
    for folder in (path, path / inner):
        if (folder / marker).is_file():
            return folder
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if path.exists():
        return path
    raise InputError(f"got {what} '{name_or_path}'; give a {what}'s folder, or one of: {', '.join(shipped)}")


def tuned_params(model: str | Path) -> SegmentParams:
    """The segmentation parameters that were tuned with a model; the defaults where there are none."""
    folder = model_folder(model)
    for path in (folder / TUNED, folder.parent / TUNED):
        if path.is_file():
            return from_mapping(SegmentParams, read_json(path))
    if (folder / ABOUT).is_file():
        return from_mapping(SegmentParams, read_json(folder / ABOUT).get("segment") or {})
    return SegmentParams()
