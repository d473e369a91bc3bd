"""A detector as chosen in the dock, and its jobs; no Qt, no napari, no torch until a job runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.params import check, param, word
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.workflows.cascade.params import TrainParams

EDITED = (bool, int, float, str)
"""Types of options that a form edits."""
BLOBS = "blobs"


@dataclass(frozen=True)
class Finder:
    """A detector with its options.

    Parameters
    ----------
    source
        Name of a registered detector, or a model's file, folder or URL.
    options
        Of a registered detector, those that are not at their defaults.
    output, shown
        Of a model, see `napari_connecto.detector`.
    """

    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    shown: str = "auto"

    @property
    def name(self) -> str:
        """Short, for folders and layers."""
        return re.sub(r"[^\w.-]+", "-", Path(self.source.rstrip("/")).name) or "detector"

    @property
    def words(self) -> dict[str, Any]:
        """Fields of a run, see `WithDetector`."""
        options = " ".join(f"{key}={_text(value)}" for key, value in self.options.items())
        return {
            "detector": self.source,
            "detector_options": options,
            "detector_output": self.output,
            "detector_shown": self.shown,
        }


@dataclass(frozen=True)
class ModelChoice:
    """A model to find objects with."""

    source: str = param("", "Model folder, bioimage.io package (zip, folder, rdf.yaml), or the package's URL.")
    output: str = param("", "Output to use, where the model has several; empty: the first.", advanced=True)
    shown: str = param(
        "auto",
        "How the output shows objects: as it is, inverse (inside of boundaries), sigmoid (it gives logits).",
        choices=("auto", "as it is", "inverse", "sigmoid"),
    )

    def __post_init__(self) -> None:
        check(self)


def used_options(folder: Path) -> dict[str, Any]:
    """The options with which a registered detector runs, in the cascade that was made of it; {} of a model."""
    card = json.loads((folder / "level_0" / "card.json").read_text(encoding="utf-8"))
    return dict(card["network"].get("options") or {})


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else word(value)


def names_job() -> Job[tuple[str, ...]]:
    """Names of the registered detectors."""
    yield Progress(0, 0, "listing detectors")
    from napari_connecto.models.detectors.registry import registered_names

    return registered_names()


def kind_job(name: str) -> Job[type]:
    """The params dataclass with a registered detector's options; importing a detector may take seconds."""
    yield from torch_job()
    from napari_connecto.models.detectors.registry import kind_of

    return form_kind(kind_of(name))


def form_kind(kind: Any) -> type:
    """A dataclass that a form can edit: the detector itself, or its fields with what a form needs to know."""
    fields = dataclasses.fields(kind) if isinstance(kind, type) and dataclasses.is_dataclass(kind) else ()
    if fields and all("help" in each.metadata for each in fields):
        return kind
    told = [(each.name, type(each.default), param(each.default, each.name)) for each in fields if _editable(each)]
    return dataclasses.make_dataclass("Options", told, frozen=True)


def _editable(each: dataclasses.Field[Any]) -> bool:
    return each.init and type(each.default) in EDITED


def changed_options(options: Any) -> dict[str, Any]:
    """The options that are not at their defaults."""
    values = {each.name: getattr(options, each.name) for each in dataclasses.fields(options) if each.init}
    defaults = {each.name: each.default for each in dataclasses.fields(options)}
    return {name: value for name, value in values.items() if value != defaults[name]}


def alone_job(volume: Volume, finder: Finder, where: Path) -> Job[Path]:
    """Folder, in ``where``, of the cascade whose only level is the detector; written once."""
    yield from torch_job()
    from napari_connecto.workflows.cascade.training.distil.alone import alone_job
    from napari_connecto.workflows.packages.detectors import detector

    yield Progress(0, 0, f"loading {finder.name}")
    found = detector(finder.source, volume, output=finder.output, shown=finder.shown, **finder.options)
    told = json.dumps([found.card.digest, found.card.voxel_nm, found.card.tile, volume.outline()], default=str)
    folder = where / f"{finder.name}-{hashlib.blake2b(told.encode(), digest_size=4).hexdigest()}"
    if not (folder / "cascade.json").is_file():
        cascade = yield from alone_job(volume, found, TrainParams(name=found.card.name))
        where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=where, prefix=".") as work:
            cascade.save(Path(work) / "cascade")
            os.replace(Path(work) / "cascade", folder)
    return folder


def diameter_job(volume: Volume, dark: bool) -> Job[float]:
    """Diameter of the blobs that stand out most in the middle of a volume, nm."""
    yield Progress(0, 0, "estimating the diameter")
    from napari_connecto.workflows.cascade.training.distil.scale import typical_diameter

    return typical_diameter(volume.in_pixels(), dark=dark)
