"""Before any label, off the GUI thread: models made used to the image, and previews of them; no Qt, no napari."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.adapt.jobs import Picture, Source, asked, cut
from napari_connecto.widgets.shared.boundary_models import load, told_of
from napari_connecto.widgets.shared.mesa import torch_job
from napari_connecto.widgets.viewer.volumes import as_file_job
from napari_connecto.workflows.adapt.params import PrepareParams
from napari_connecto.workflows.recipes.entries.adapt import Prepare
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ADABN = PrepareParams(patches=32)
"""Fewer tiles than the command line takes: it is to be seen while one waits."""

Rows = list[list[Picture | None]]


@dataclass(frozen=True)
class Place:
    """The image, its file (None: it is none), where what is made is kept, and whose encoder counts."""

    volume: Volume
    spec: VolumeSpec | None
    folder: Path
    library: Path | None = None


@dataclass(frozen=True)
class Preview:
    """Pictures in rows: models as they are, after AdaBN, after playback; and what was done, in words."""

    rows: Rows
    told: tuple[str, ...] = ()


def prepared_job(source: Source, place: Place) -> Job[Path]:
    """The folder of a model after what its source says is to be done; each step is made once, then kept.

    Playback trains, so it runs in a process of its own, which is killed when this is closed.
    """
    yield from torch_job()
    from napari_connecto.workflows.recipes.own_process import run_in_subprocess
    from napari_connecto.workflows.recipes.recipe import run_job

    if source.folder is None:
        raise InputError("an untrained model has no batch norm to adapt; choose a trained model, or clear the box")
    spec = yield from as_file_job(place.volume, place.spec, place.folder / "image.ome.zarr")
    base, name = source.folder, re.sub(r"[^\w.-]+", "-", source.name) + ("-inverted" if spec.invert else "")
    for how in source.steps:
        name = f"{name}-{how}"
        out = place.folder / name
        if not (out / "model" / "card.json").exists():
            run = Prepare(
                volume=spec,
                model=str(base),
                how=how,
                library=None if place.library is None else str(place.library),
                params=ADABN if how == "adabn" else PrepareParams(),
                out=str(out),
            )
            yield Progress(0, 0, f"{how} of {source.name}")
            apart = how == "playback"
            yield from run_in_subprocess(run, place.folder / "recipes" / name) if apart else run_job(run)
        base = out / "model"
    return base


def preview_job(place: Place, box: Box, sources: Sequence[Source], adabn: bool, played: Source | None) -> Job[Preview]:
    """Boundary maps of several models on one patch, below each what AdaBN makes of it, and playback of ``played``.

    Playback is for one model, for it trains; where it is not allowed there is no picture of it.
    """
    yield Progress(0, len(sources), "loading models")
    rows: Rows = [[], []]
    for n, source in enumerate(sources):
        yield Progress(n, len(sources), f"asking {source.name}")
        if source.folder is None:
            raise InputError("there is nothing to preview from scratch: an untrained model knows nothing")
        model = load(source.folder)
        if n == 0:
            rows[0].append(Picture("image", cut(place.volume, model.card, box)[1], "image"))
            rows[1].append(None)
        rows[0].append(_picture(source.name, model, place, box))
        if adabn:
            yield Progress(n, len(sources), f"making {source.name} used to the image")
            used = _used_to(model, place.volume)
            rows[1].append(_picture(f"{source.name} + AdaBN", used, place, box, "+ AdaBN"))
    told: list[str] = []
    if played is not None:
        below = 1 + next((n for n, source in enumerate(sources) if source.folder == played.folder), len(sources))
        pictures, told = yield from _played(played, place, box, adabn)
        rows += [[*[None] * below, picture] for picture in pictures]
    return Preview([row for row in rows if any(row)], tuple(told))


def _played(source: Source, place: Place, box: Box, adabn: bool) -> Job[tuple[list[Picture], list[str]]]:
    """Pictures after playback, and after AdaBN on top; and what playback said."""
    pictures: list[Picture] = []
    told: list[str] = []
    for more in (False, True) if adabn else (False,):
        step = replace(source, playback=True, adabn=more)
        folder = yield from prepared_job(step, place)
        told = told or told_of(folder)
        model = load(folder)
        if source.folder is not None and model.card.digest == load(source.folder).card.digest:
            break  # not allowed: it is the model as it was
        pictures.append(_picture(step.label, model, place, box, step.label.removeprefix(source.name).strip()))
    return pictures, told


def _picture(name: str, model: Any, place: Place, box: Box, title: str = "") -> Picture:
    _, patch = cut(place.volume, model.card, box)
    return Picture(name, asked(model, patch, model.card.normalisation.resolve(place.volume)), title=title)


def _used_to(model: Any, volume: Volume) -> Any:
    from napari_connecto.workflows.adapt.prepare import prepare_job

    return run(prepare_job(model, volume, "adabn", params=ADABN)).model
