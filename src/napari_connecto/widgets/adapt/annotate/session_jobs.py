"""Jobs of the step "Annotate": start, fill and resume sessions; no Qt, no napari."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Scaling
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.adapt.jobs import Source, asked, cut
from napari_connecto.widgets.adapt.prepare_jobs import Place, prepared_job
from napari_connecto.widgets.shared.boundary_models import load
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.viewer.volumes import as_file_job
from napari_connecto.workflows.adapt.params import PREFILLS, SuggestParams
from napari_connecto.workflows.recipes.entries.adapt import Suggest
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.session import Draft, PatchState, Session

SCRATCH_FOLDER = "scratch"
THUMBNAIL = 96


@dataclass(frozen=True)
class Begin:
    """What a session needs: the image, its file (None: it is none), where to start, where to keep."""

    volume: Volume
    spec: VolumeSpec | None
    source: Source
    folder: Path


@dataclass(frozen=True)
class Work:
    """An open session with its image and model."""

    session: Session
    volume: Volume
    spec: VolumeSpec
    base: Path
    thumbnails: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False)
    note: str = field(default="", compare=False)


def base_job(begin: Begin, library: Path | None) -> Job[Path]:
    """Folder of the model to start from; a model adapted to this image is kept beside the session."""
    from napari_connecto.models.files import new_model, save_model
    from napari_connecto.workflows.adapt.fine_tune import boundary_card

    if begin.source.folder is not None:
        return (yield from prepared_job(begin.source, Place(begin.volume, begin.spec, begin.folder, library)))
    made = begin.folder / SCRATCH_FOLDER
    if not (made / "card.json").exists():
        save_model(new_model(boundary_card("scratch", begin.volume.levels[0].voxel_nm), 0), made)
    return made


def suggest_job(begin: Begin, work: Work | None, n: int, params: SuggestParams, library: Path | None) -> Job[Work]:
    """Add ``n`` more patches to the queue of a session, which is created if there is none."""
    yield from torch_job()
    yield Progress(0, 0, "loading the model")
    from napari_connecto.workflows.adapt.annotate.session import Session
    from napari_connecto.workflows.adapt.annotate.strategies import needs_features
    from napari_connecto.workflows.adapt.annotate.suggest import suggest_job as suggestions
    from napari_connecto.workflows.adapt.domains import load_encoder
    from napari_connecto.workflows.shared.spec import open_spec

    phases = Phases({"writing the image": 1, "making the model": 1, "suggesting": 10})
    if work is None:
        writing = as_file_job(begin.volume, begin.spec, begin.folder / "image.ome.zarr")
        spec = yield from phases.run("writing the image", writing)
        volume = begin.volume if begin.spec is not None else open_spec(spec)
    else:
        volume, spec = work.volume, work.spec
    making = base_job(Begin(volume, spec, begin.source, begin.folder), library)
    base = yield from phases.run("making the model", making)
    model = load(base)
    session = work.session if work else None
    encoder = load_encoder(library) if needs_features(params.strategy, params.diversity) else None
    there = session.patches if session else ()
    taken, held = ([state.box for state in there if state.held_out == out] for out in (False, True))
    asking = suggestions(volume, model, n, exclude=taken, held_out=held, encoder=encoder, params=params)
    found = yield from phases.run("suggesting", asking)
    if session is None:
        session = Session.open(begin.folder / "session", volume, model.card, spec=spec, model=str(base))
    elif not np.allclose(session.level.voxel_nm, cut(volume, model.card, found[0].box)[0].voxel_nm):
        raise InputError(
            f"'{model.card.name}' does not read the session's voxels of {session.level.voxel_nm} nm; choose a model of "
            "that voxel size, or start a new session"
        )
    session.add(found)
    return with_thumbnails(Work(session, volume, spec, base, note=found.note))


def resume_job(folder: Path) -> Job[Work]:
    """Reopen a session from its folder (or the folder that contains it)."""
    yield from torch_job()
    yield Progress(0, 0, "opening the session")
    from napari_connecto.workflows.adapt.annotate.session import Session
    from napari_connecto.workflows.shared.spec import open_spec

    folder = folder / "session" if (folder / "session" / "session.json").exists() else folder
    try:
        about = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        named, base = dict(about["volume"]), Path(about["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"'{folder}' holds no session; choose a folder with session.json") from error
    spec = VolumeSpec.of(named)
    volume = open_spec(spec)
    session = Session.open(folder, volume, load(base).card, spec=spec, model=str(base))
    return with_thumbnails(Work(session, volume, spec, base))


def with_thumbnails(work: Work) -> Work:
    """The work with a thumbnail (uint8, y, x) of every patch's middle section."""
    found = dict(work.thumbnails)
    for state in work.session.patches:
        if state.id not in found:
            box = _box(work, state)
            image = np.asarray(work.session.level.read(box))[box.shape[0] // 2].astype(np.float64)
            step = -(-max(image.shape) // THUMBNAIL)
            low, high = np.percentile(image, [1, 99])
            scaled = np.clip((image[::step, ::step] - low) / max(high - low, 1e-12), 0, 1)
            found[state.id] = np.rint(scaled * 255).astype(np.uint8)
    return replace(work, thumbnails=found)


def suggest_run(work: Work, n: int, params: SuggestParams) -> Suggest:
    """Suggesting ``n`` more patches into a session, as a run."""
    return Suggest(volume=work.spec, model=str(work.base), out=str(work.session.path), n=n, params=params)


def commit_job(work: Work, id: int, labels: np.ndarray | None, accept: bool) -> Job[PatchState | None]:
    """Commit a patch's labels; None, and nothing is written, if they are an unchanged pre-fill that is not accepted.

    It happens before the first report, so that closing the dock does not stop it.
    """
    prefilled, edited = work.session.edited(id, labels)
    state = None if prefilled and edited == 0 and not accept else work.session.commit(id, labels)
    yield Progress(1, 1, "committing")
    return state


def open_patch_job(work: Work, id: int, prefill: str) -> Job[tuple[PatchState, Draft]]:
    """A patch to paint on, pre-filled with the model's prediction unless it is held out.

    Early versions pre-filled those too, without recording it: such a draft is cleared if it is unchanged.
    """
    yield Progress(0, 0, "predicting")
    state = next(s for s in work.session.patches if s.id == id)
    labels = None
    if state.held_out and state.status == "waiting" and (old := work.session.old_draft(id)) is not None:
        from napari_connecto.workflows.adapt.annotate.prefill import is_own_output

        if is_own_output(load(work.base), old):
            work.session.forget_draft(id)
    if prefill != PREFILLS[2] and state.status == "waiting" and not state.held_out:
        from napari_connecto.workflows.adapt.annotate.prefill import prefilled

        box, scaling = _box(work, state), Scaling(**work.session.about["scaling"])
        patch = Level(work.session.level.read(box), work.session.level.voxel_nm)
        labels = prefilled(np.asarray(asked(load(work.base), patch, scaling).array), prefill)
    return state, work.session.open_patch(id, labels)


def _box(work: Work, state: PatchState) -> Box:
    """In the session's level."""
    return work.volume.levels[0].box_in(state.box, work.session.level).clip(work.session.level.shape)
