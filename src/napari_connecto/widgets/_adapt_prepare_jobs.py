"""Before any label, off the GUI thread: models made used to the image, and previews of them; no Qt, no napari."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.volume import Volume
from napari_connecto.widgets._adapt_jobs import Picture, Source, asked, cut, load, told_of
from napari_connecto.widgets._volumes import as_file_job
from napari_connecto.workflows.adapt_params import PrepareParams

ADABN = PrepareParams(patches=32)
"""Fewer tiles than the command line takes: it is to be seen while one waits."""

Rows = list[list[Picture | None]]


@dataclass(frozen=True)
class Place:
    """The image, how a recipe names it (None: it is no file), where what is made is kept, and whose encoder counts."""

    volume: Volume
    spec: Mapping[str, Any] | None
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
    from napari_connecto.workflows.recipe import recipe_job
    from napari_connecto.workflows.subprocess import run_in_subprocess

    if source.folder is None:
        raise InputError("an untrained model cannot be made used to an image; choose a model, or untick it")
    spec = yield from as_file_job(place.volume, place.spec, place.folder / "image.ome.zarr")
    base, name = source.folder, re.sub(r"[^\w.-]+", "-", source.name) + ("-inverted" if spec.get("invert") else "")
    for how in source.steps:
        name = f"{name}-{how}"
        out = place.folder / name
        if not (out / "model" / "card.json").exists():
            recipe = {"workflow": "prepare", "volume": spec, "model": str(base), "how": how, "out": str(out)}
            recipe |= {"params": {"patches": ADABN.patches}} if how == "adabn" else {}
            recipe |= {"library": str(place.library)} if place.library is not None else {}
            yield Progress(0, 0, f"{how} of {source.name}")
            apart = how == "playback"
            yield from run_in_subprocess(recipe, place.folder / "recipes" / name) if apart else recipe_job(recipe)
        base = out / "model"
    return base


def preview_job(place: Place, box: Box, sources: Sequence[Source], adabn: bool, played: Source | None) -> Job[Preview]:
    """Boundary maps of several models on one patch, with ``adabn`` in a second row of what it makes of them.

    ``played`` is the one source that playback is tried on, for it trains; its row is left out where it is not allowed.
    """
    yield Progress(0, len(sources), "loading models")
    rows: Rows = [[], [], []]
    for n, source in enumerate(sources):
        yield Progress(n, len(sources), f"asking {source.name}")
        if source.folder is None:
            raise InputError("there is nothing to preview from scratch: an untrained model knows nothing")
        model = load(source.folder)
        _, patch = cut(place.volume, model.card, box)
        scaling = model.card.normalisation.resolve(place.volume)
        if n == 0:
            rows[0].append(Picture("image", patch, "image"))
            rows[1].append(None)
        rows[0].append(Picture(source.name, asked(model, patch, scaling)))
        if adabn:
            yield Progress(n, len(sources), f"making {source.name} used to the image")
            rows[1].append(Picture(f"{source.name} + AdaBN", asked(_used_to(model, place.volume), patch, scaling)))
    told = (yield from _played(played, place, box, rows[2], adabn)) if played is not None else []
    return Preview([row for row in rows if any(row)], tuple(told))


def _played(source: Source, place: Place, box: Box, row: list[Picture | None], adabn: bool) -> Job[list[str]]:
    steps = [replace(source, playback=True, adabn=False), replace(source, playback=True, adabn=True)]
    told: list[str] = []
    for step in steps if adabn else steps[:1]:
        folder = yield from prepared_job(step, place)
        model = load(folder)
        _, patch = cut(place.volume, model.card, box)
        scaling = model.card.normalisation.resolve(place.volume)
        told = told or told_of(folder)
        if source.folder is not None and model.card.digest == load(source.folder).card.digest:
            break  # not allowed: it is the model as it was
        row[:] = row or [None]
        row.append(Picture(step.label, asked(model, patch, scaling)))
    return told


def _used_to(model: Any, volume: Volume) -> Any:
    from napari_connecto.workflows.prepare import prepare_job

    return run(prepare_job(model, volume, "adabn", params=ADABN)).model
