"""Adaptation without labels: adapted models and previews of them, off the GUI thread; no Qt, no napari."""

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
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.viewer.volumes import as_file_job
from napari_connecto.workflows.adapt.params import PrepareParams
from napari_connecto.workflows.recipes.entries.adapt import Prepare
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ADABN = PrepareParams(patches=32)
"""Fewer tiles than on the command line, because the user waits for it."""

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
    """Rows of images: models as they are, after AdaBN, after playback; and what was done, in words."""

    rows: Rows
    told: tuple[str, ...] = ()


def prepared_job(source: Source, place: Place) -> Job[Path]:
    """Folder of a model after the adaptations of its source; each is made once and kept.

    Playback trains, so it runs in a separate process, which is killed when this is closed.
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
    """Boundary maps of several models on one patch, below each the map after AdaBN, and after playback of ``played``.

    Playback is shown for one model only, because it trains; if it is not possible there is no image of it.
    """
    yield Progress(0, len(sources), "loading models")
    rows: Rows = [[], []]
    for n, source in enumerate(sources):
        yield Progress(n, len(sources), f"running {source.name}")
        if source.folder is None:
            raise InputError("an untrained model has no preview; choose a trained model")
        model = load(source.folder)
        if n == 0:
            rows[0].append(Picture("image", cut(place.volume, model.card, box)[1], "image"))
            rows[1].append(None)
        rows[0].append(_picture(source.name, model, place, box))
        if adabn:
            yield Progress(n, len(sources), f"adapting batch norm of {source.name}")
            used = _used_to(model, place.volume)
            rows[1].append(_picture(f"{source.name} + AdaBN", used, place, box, "+ AdaBN"))
    told: list[str] = []
    if played is not None:
        below = 1 + next((n for n, source in enumerate(sources) if source.folder == played.folder), len(sources))
        pictures, told = yield from _played(played, place, box, adabn)
        rows += [[*[None] * below, picture] for picture in pictures]
    return Preview([row for row in rows if any(row)], tuple(told))


def _played(source: Source, place: Place, box: Box, adabn: bool) -> Job[tuple[list[Picture], list[str]]]:
    """Images after playback, and after AdaBN on top; and the message of playback."""
    pictures: list[Picture] = []
    told: list[str] = []
    for more in (False, True) if adabn else (False,):
        step = replace(source, playback=True, adabn=more)
        folder = yield from prepared_job(step, place)
        told = told or told_of(folder)
        model = load(folder)
        if source.folder is not None and model.card.digest == load(source.folder).card.digest:
            break  # not possible: the model is unchanged
        pictures.append(_picture(step.label, model, place, box, step.label.removeprefix(source.name).strip()))
    return pictures, told


def _picture(name: str, model: Any, place: Place, box: Box, title: str = "") -> Picture:
    _, patch = cut(place.volume, model.card, box)
    return Picture(name, asked(model, patch, model.card.normalisation.resolve(place.volume)), title=title)


def _used_to(model: Any, volume: Volume) -> Any:
    from napari_connecto.workflows.adapt.prepare import prepare_job

    return run(prepare_job(model, volume, "adabn", params=ADABN)).model
