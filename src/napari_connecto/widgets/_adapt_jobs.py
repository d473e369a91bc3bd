"""What the steps "Choose" and "Annotate" run off the GUI thread: workflow calls; no Qt, no napari.

The workflows (torch behind them) are imported inside the jobs, so that opening the dock loads none of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.geometry import Box, fvec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import shipped_folder
from napari_connecto.widgets._mesa import load_triton_apart
from napari_connecto.widgets._volumes import as_file_job
from napari_connecto.workflows.adapt_params import RankParams, SegmentParams, SuggestParams

if TYPE_CHECKING:
    from napari_connecto.models.predictor import TorchPredictor
    from napari_connecto.workflows.rank import Ranking
    from napari_connecto.workflows.session import Draft, PatchState, Session

SCRATCH_FOLDER = "scratch"
PREFILLS = ("membranes and insides", "neurites by number", "nothing")
ADABN_TILES, ADABN_BATCH = 32, 8
THUMBNAIL = 96


@dataclass(frozen=True)
class Source:
    """A model to start from; ``folder`` None for an untrained one. ``adabn``: made used to the image first."""

    name: str
    folder: Path | None
    adabn: bool = False


@dataclass(frozen=True)
class Picture:
    """Something to look at: the array (z, y, x) of a level, and what it is."""

    name: str
    level: Level
    kind: Literal["image", "map", "labels"] = "map"


@dataclass(frozen=True)
class Begin:
    """What a session needs: the image, how a recipe names it (None: it is no file), where to start, where to keep."""

    volume: Volume
    spec: Mapping[str, Any] | None
    source: Source
    folder: Path


@dataclass(frozen=True)
class Work:
    """An open session, and all it is about."""

    session: Session
    volume: Volume
    spec: Mapping[str, Any]
    base: Path
    thumbnails: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False)


@lru_cache(maxsize=8)
def _load(folder: Path, changed: float) -> TorchPredictor:
    from napari_connecto.models.files import load_model
    from napari_connecto.models.openvino import torch_model

    return torch_model(load_model(folder, backend="torch"))


def load(folder: Path) -> TorchPredictor:
    """A model that can be trained further, kept loaded until its card changes."""
    load_triton_apart()
    card = folder / "card.json"
    return _load(folder, card.stat().st_mtime if card.exists() else 0.0)


def peek_card(folder: Path) -> ModelCard:
    """A model's card, read without loading torch."""
    try:
        card = ModelCard.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"got {folder}; a model is a folder with card.json and weights.safetensors") from error
    if card.outputs[0].name != "boundary":
        raise ModelError(f"'{card.name}' gives {card.outputs[0].name}, not boundary; choose a boundary model")
    return card


def tuned_params(folder: Path) -> SegmentParams | None:
    """The thresholds that were tuned with a model, read without loading torch; None where there are none."""
    for path, key in ((folder.parent / "segment.json", None), (folder / "domain.json", "segment")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return from_mapping(SegmentParams, document[key] if key else document)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def list_job(library: Path | None) -> Job[dict[str, Path]]:
    """The domains of a library, the shipped one without a folder: folder by name."""
    yield Progress(0, 0, "listing domains")
    where = library or shipped_folder() / "domains"
    return {path.parent.name: path.parent for path in sorted(where.glob("*/domain.json"))}


def rank_job(volume: Volume, library: Path | None, params: RankParams) -> Job[Ranking]:
    """Rank the library's domains by how near their data are to the volume."""
    yield Progress(0, 0, "loading the library")
    load_triton_apart()
    from napari_connecto.workflows.rank import rank_domains_job

    return (yield from rank_domains_job(volume, library, params))


def preview_job(volume: Volume, box: Box, sources: Sequence[Source], adabn: bool) -> Job[list[list[Picture | None]]]:
    """Boundary maps of several models on one patch; with ``adabn`` a second row of what it makes of them."""
    yield Progress(0, len(sources), "loading models")
    rows: list[list[Picture | None]] = [[], []]
    for n, source in enumerate(sources):
        yield Progress(n, len(sources), f"asking {source.name}")
        if source.folder is None:
            raise InputError("there is nothing to preview from scratch: an untrained model knows nothing")
        model = load(source.folder)
        level, patch = _patch(volume, model.card, box)
        if n == 0:
            rows[0].append(Picture("image", patch, "image"))
            rows[1].append(None)
        rows[0].append(Picture(source.name, _asked(model, patch, model.card.normalisation.resolve(volume))))
        if adabn:
            yield Progress(n, len(sources), f"making {source.name} used to the image")
            used = _used_to(model, volume, level)
            picture = _asked(used, patch, model.card.normalisation.resolve(volume))
            rows[1].append(Picture(f"{source.name} + AdaBN", picture))
    return rows if adabn else rows[:1]


def _patch(volume: Volume, card: ModelCard, box: Box) -> tuple[Level, Level]:
    """The level a model reads, and the part of it that ``box`` (finest voxels) covers."""
    from napari_connecto.workflows.fitting import fitting_level

    level = fitting_level(volume, card)
    own = volume.levels[0].box_in(box, level).clip(level.shape)
    return level, Level(level.read(own), level.voxel_nm, fvec3(level.to_nm(own.start).tolist()))


def _asked(model: TorchPredictor, patch: Level, scaling: Scaling) -> Level:
    from napari_connecto.workflows.fine_tune import boundary_of

    return Level(boundary_of(model, scaling(np.asarray(patch.array))), patch.voxel_nm, patch.origin_nm)


def _used_to(model: TorchPredictor, volume: Volume, level: Level) -> TorchPredictor:
    """The model after AdaBN on tiles with tissue."""
    from napari_connecto.models.adapt import adabn
    from napari_connecto.workflows.patches import candidates

    card, scaling = model.card, model.card.normalisation.resolve(volume)
    found = candidates(level, card.tile, ADABN_TILES, 0, ()).boxes
    whole = [Box(b.start, vec3([a + n for a, n in zip(b.start, card.tile, strict=True)])) for b in found]
    tiles = [scaling(level.read_padded(box))[None] for box in whole]
    return adabn(model, [np.stack(tiles[i : i + ADABN_BATCH]) for i in range(0, len(tiles), ADABN_BATCH)])


def base_job(begin: Begin) -> Job[Path]:
    """The folder of the model to start from; one that is made for this image is kept beside the session."""
    from napari_connecto.models.files import new_model, save_model
    from napari_connecto.workflows.fine_tune import boundary_card
    from napari_connecto.workflows.fitting import fitting_level

    source = begin.source
    if source.folder is not None and not source.adabn:
        return source.folder
    made = begin.folder / (re.sub(r"[^\w.-]+", "-", source.name) + "-adabn" if source.adabn else SCRATCH_FOLDER)
    if not (made / "card.json").exists():
        if source.folder is None:
            save_model(new_model(boundary_card("scratch", begin.volume.levels[0].voxel_nm), 0), made)
        else:
            yield Progress(0, 0, f"making {source.name} used to the image")
            model = load(source.folder)
            save_model(_used_to(model, begin.volume, fitting_level(begin.volume, model.card)), made)
    return made


def suggest_job(begin: Begin, work: Work | None, n: int, params: SuggestParams, library: Path | None) -> Job[Work]:
    """Put ``n`` more patches into the queue of a session, which is made if there is none."""
    yield Progress(0, 0, "loading the model")
    load_triton_apart()
    from napari_connecto.workflows.convert import open_spec
    from napari_connecto.workflows.domains import load_encoder
    from napari_connecto.workflows.session import Session
    from napari_connecto.workflows.strategies import needs_features
    from napari_connecto.workflows.suggest import suggest_job as suggestions

    if work is None:
        spec = yield from as_file_job(begin.volume, begin.spec, begin.folder / "image.ome.zarr")
        volume = begin.volume if begin.spec is not None else open_spec(spec)
    else:
        volume, spec = work.volume, dict(work.spec)
    base = yield from base_job(Begin(volume, spec, begin.source, begin.folder))
    model = load(base)
    session = work.session if work else None
    encoder = load_encoder(library) if needs_features(params.strategy, params.diversity) else None
    taken = [state.box for state in session.patches] if session else []
    found = yield from suggestions(volume, model, n, exclude=taken, encoder=encoder, params=params)
    if session is None:
        session = Session.open(begin.folder / "session", volume, model.card, spec=spec, model=str(base))
    elif not np.allclose(session.level.voxel_nm, _patch(volume, model.card, found[0].box)[0].voxel_nm):
        raise InputError(
            f"the session's patches have voxels of {session.level.voxel_nm} nm, '{model.card.name}' reads others; "
            "choose a model of that size, or begin a new session"
        )
    session.add(found)
    return with_thumbnails(Work(session, volume, spec, base))


def resume_job(folder: Path) -> Job[Work]:
    """Open a session's folder (or the one around it) again."""
    yield Progress(0, 0, "opening the session")
    load_triton_apart()
    from napari_connecto.workflows.convert import open_spec
    from napari_connecto.workflows.session import Session

    folder = folder / "session" if (folder / "session" / "session.json").exists() else folder
    try:
        about = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        spec, base = dict(about["volume"]), Path(about["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"'{folder}' holds no session; choose a folder with session.json") from error
    volume = open_spec(spec)
    session = Session.open(folder, volume, load(base).card, spec=spec, model=str(base))
    return with_thumbnails(Work(session, volume, spec, base))


def with_thumbnails(work: Work) -> Work:
    """The work with a picture (uint8, y, x) of every patch's middle section."""
    found = dict(work.thumbnails)
    for state in work.session.patches:
        if state.id not in found:
            box = _box(work, state)
            image = np.asarray(work.session.level.read(box))[box.shape[0] // 2].astype(np.float64)
            step = -(-max(image.shape) // THUMBNAIL)
            low, high = np.percentile(image, [1, 99])
            scaled = np.clip((image[::step, ::step] - low) / max(high - low, 1e-12), 0, 1)
            found[state.id] = np.rint(scaled * 255).astype(np.uint8)
    return Work(work.session, work.volume, work.spec, work.base, found)


def open_patch_job(work: Work, id: int, prefill: str) -> Job[tuple[PatchState, Draft]]:
    """A patch to paint on, pre-filled with what the model thinks."""
    yield Progress(0, 0, "asking the model")
    state = next(s for s in work.session.patches if s.id == id)
    labels = None
    if prefill != PREFILLS[2] and state.status == "waiting":
        box, scaling = _box(work, state), Scaling(**work.session.about["scaling"])
        patch = Level(work.session.level.read(box), work.session.level.voxel_nm)
        labels = _prefilled(np.asarray(_asked(load(work.base), patch, scaling).array), prefill)
    return state, work.session.open_patch(id, labels)


def _prefilled(boundary: np.ndarray, prefill: str) -> np.ndarray:
    membrane = boundary >= 0.5
    if prefill == PREFILLS[0]:
        return np.where(membrane, 1, 2).astype(np.uint32)
    from napari_connecto.workflows.segment_block import segment_array

    found = segment_array(boundary, SegmentParams(mode="2d"))
    return np.where(membrane, 1, found.astype(np.int64) + 2).astype(np.uint32)


def _box(work: Work, state: PatchState) -> Box:
    """Of a patch in the session's level."""
    return work.volume.levels[0].box_in(state.box, work.session.level).clip(work.session.level.shape)
