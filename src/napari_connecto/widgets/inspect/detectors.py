"""Detectors as models to inspect: the finest level of each; no Qt, no napari, no torch."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import PIXEL, UNIT
from napari_connecto.widgets.shared.boundary_models import list_job
from napari_connecto.workflows.cascade.document import read_document

FILE, FINEST = "cascade.json", "level_0"
"""Files of a detector: what it is, and the folder of the model that reads the finest level."""
MOST = 20
"""Detectors of the user that are listed, the newest first."""


def finest(folder: Path) -> Path:
    """The model in a folder: of a detector, that of its finest level."""
    return folder / FINEST if (folder / FILE).is_file() else folder


def detector_of(model: Path) -> tuple[str, bool] | None:
    """Of a model that is a level of a detector: the detector's name, and whether it works in pixels; else None."""
    if not (model.parent / FILE).is_file():
        return None
    try:
        metadata = read_document(model.parent).get("metadata") or {}
    except ModelError:
        return None
    return model.parent.name, metadata.get(UNIT) == PIXEL


def models_job(folder: Path) -> Job[dict[str, Path]]:
    """What can be inspected, by name: the shipped models, the shipped detectors, and those in the folder of results."""
    from napari_connecto.sample_data import list_cascades

    models = dict((yield from list_job(None)))
    yield Progress(0, 0, "listing detectors")
    own = sorted(folder.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)[:MOST]
    detectors = {f"{name} (detector)": path for name, path in list_cascades().items()}
    detectors |= {path.parent.name: path.parent for path in own}
    return models | {name: finest(path) for name, path in detectors.items() if (finest(path) / "card.json").is_file()}
