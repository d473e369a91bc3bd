"""An annotation session as a folder; a crash loses at most the current stroke.

::

    session.json            what it belongs to: volume, model, voxel size, scaling
    events.jsonl            append-only: suggested, committed, skipped, undone
    patches/0001/           image.zarr, start.zarr (what the draft began with), draft.zarr (every stroke),
                            labels-1.zarr, labels-2.zarr (commits)

The state follows from the events; a commit counts once its labels are whole on disk and its event is written. Sessions
of older versions have no start.zarr: whether their patches were pre-filled is unknown.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, FVec3, fvec3
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json, storing, write_json
from napari_connecto.io.stores.drafts import open_draft, read_draft
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState as PatchState
from napari_connecto.workflows.adapt.annotate.patch_states import checked_about, history
from napari_connecto.workflows.adapt.annotate.patch_states import patch_states as patch_states
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.shared.em_labels import check_labels, check_numbers
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ABOUT = "session.json"


@shown
@dataclass(frozen=True)
class Draft:
    """A patch being painted: image (z, y, x), and labels of the same shape that write through to disk."""

    image: np.ndarray
    labels: Any
    voxel_nm: FVec3
    origin_nm: FVec3


class Session:
    """An open, locked session; made by `create` or `open`, and a context manager.

    Parameters
    ----------
    job
        Its folder.
    level
        Level that patches are cut from: the volume at the model's voxel size.
    about
        JSON: ``volume`` (as a recipe says it), ``model``, ``scaling``.
    """

    def __init__(self, job: JobFolder, volume: Volume, level: Level, about: Mapping[str, Any]) -> None:
        self.path = job.path
        self.level = level
        self.about = about
        self._job = job
        self._finest = volume.levels[0]
        self._log = EventLog(job.path / "events.jsonl")

    @classmethod
    def open(
        cls,
        folder: str | Path,
        volume: Volume,
        card: ModelCard,
        *,
        spec: str | Mapping[str, Any] | VolumeSpec | None = None,
        model: str = "",
    ) -> Session:
        """Create a session, or reopen it.

        Parameters
        ----------
        folder
            A new one, or that of a session on this volume at this voxel size.
        volume
            The volume to annotate; it is only read.
        card
            Of the model that suggests: its voxel size and normalisation.
        spec, model
            What names both in a recipe.

        Raises
        ------
        StoreError
            If the folder holds something else, the session of another volume, or is in use.
        VoxelSizeError
            If volume and model do not fit.
        """
        level = fitting_level(volume, card)
        told = {"workflow": "session", "volume": volume.fingerprint(), "voxel_nm": list(level.voxel_nm)}
        job = JobFolder.open(folder, told)
        try:
            if (job.path / ABOUT).exists():
                about = checked_about(read_json(job.path / ABOUT), job.path / ABOUT)
            else:
                scaling = asdict(card.normalisation.resolve(volume))
                told = VolumeSpec.of(spec).to_json() if spec else {}
                about = {"volume": told, "model": model, "scaling": scaling}
                write_json(job.path / ABOUT, about)
        except BaseException:
            job.close()
            raise
        return cls(job, volume, level, about)

    def close(self) -> None:
        """Unlock the folder."""
        self._job.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def patches(self) -> tuple[PatchState, ...]:
        """All suggested patches with their states, in the order of suggestion."""
        return patch_states(self._log.events())

    def counts(self) -> tuple[int, int]:
        """Number of committed patches, and of all that were not skipped."""
        states = self.patches
        return sum(s.status == "committed" for s in states), sum(s.status != "skipped" for s in states)

    def add(self, suggestions: Sequence[Suggestion]) -> tuple[PatchState, ...]:
        """Add suggestions to the queue; those drawn at random are held out."""
        first = len(self.patches) + 1
        for n, s in enumerate(suggestions, start=first):
            box = [*s.box.start, *s.box.stop]
            self._log.append(
                {"event": "suggest", "id": n, "box": box, "score": s.score, "reason": s.reason, "held_out": s.random}
            )
        return self.patches[first - 1 :]

    def open_patch(self, id: int, prefill: np.ndarray | None = None) -> Draft:
        """A patch to paint on; its labels are its draft if there is one, else ``prefill``, else empty.

        Parameters
        ----------
        id
            Of the patch.
        prefill
            (z, y, x) EM labels of the patch's shape in `level`. Not used for a held-out patch, which starts empty,
            because a
            model must not be measured by its own output.
        """
        state, folder = self._state(id), self._folder(id)
        box = self._finest.box_in(state.box, self.level).clip(self.level.shape)
        image = self._image(folder, box)
        empty = prefill is None or state.held_out
        start = np.zeros(image.shape, np.uint32) if empty else np.asarray(prefill).astype(np.uint32)
        if start.shape != image.shape:
            raise InputError(f"got labels of shape {start.shape} for a patch of {image.shape}; both are (z, y, x)")
        origin = fvec3(self.level.to_nm(box.start).tolist())
        if not (folder / "draft.zarr").exists():
            open_draft(folder / "start.zarr", start, anew=True)
        return Draft(image, open_draft(folder / "draft.zarr", start), self.level.voxel_nm, origin)

    def edited(self, id: int, labels: np.ndarray | None = None) -> tuple[bool | None, float]:
        """Whether a patch was pre-filled (None: unknown), and the share of voxels changed since (NaN: unknown).

        ``labels`` (z, y, x) are those to compare. Default: the draft's.
        """
        folder = self._folder(id)
        try:
            start = read_draft(folder / "start.zarr")
        except StoreError:  # the labels are whole, and nothing more is known about them
            start = None
        if start is None:
            return None, nan
        if not start.any():
            return False, nan
        now = read_draft(folder / "draft.zarr") if labels is None else np.asarray(labels)
        if now is None or now.shape != start.shape:
            return True, nan
        return True, float((now != start).mean())

    def old_draft(self, id: int) -> Example | None:
        """A draft of an older version, whose start is unknown; None if there is none."""
        folder = self._folder(id)
        draft = None if (folder / "start.zarr").exists() else read_draft(folder / "draft.zarr")
        return None if draft is None else self._with_image(self.open_patch(id).image, draft)

    def forget_draft(self, id: int) -> None:
        """Let a patch start afresh when it is opened next; its commits stay."""
        with storing(self._folder(id)):
            shutil.rmtree(self._folder(id) / "draft.zarr", ignore_errors=True)

    def commit(self, id: int, labels: np.ndarray | None = None) -> PatchState:
        """Commit a patch's labels: those given, else the draft's.

        Raises
        ------
        InputError
            If nothing or only one class is labelled, the shape is not the patch's, or a value does not fit.
        """
        state, folder = self._state(id), self._folder(id)
        draft = self.open_patch(id)
        found = np.asarray(draft.labels[:] if labels is None else labels)
        if found.shape != draft.image.shape:
            raise InputError(
                f"got labels of shape {found.shape} for a patch of {draft.image.shape}; both are (z, y, x)"
            )
        check_numbers(found)
        check_labels(found)
        prefilled, edited = self.edited(id, found)
        version = state.labels + 1
        while (folder / f"labels-{version}.zarr").exists():
            version += 1
        volume = Volume(
            (Level(found.astype(np.uint32), draft.voxel_nm, draft.origin_nm),), name="labels", kind="labels"
        )
        save_volume(volume, folder / f"labels-{version}.zarr", levels=1)
        told = {"event": "commit", "id": id, "labels": version, "prefilled": prefilled}
        self._log.append(told | ({"edited": edited} if isfinite(edited) else {}))
        return self._state(id)

    def skip(self, id: int) -> PatchState:
        """Skip a patch; this is recorded too."""
        self._state(id)
        self._log.append({"event": "skip", "id": id})
        return self._state(id)

    def undo(self) -> PatchState | None:
        """Undo the last commit or skip; None if there is none. The draft stays as it is."""
        before = [s for s in history(self._log.events()) if s["event"] in ("commit", "skip")]
        if not before:
            return None
        self._log.append({"event": "undo", "id": before[-1]["id"]})
        return self._state(before[-1]["id"])

    def examples(self, *, held_out: bool = False) -> list[Example]:
        """Committed training patches, or those held out."""
        return [self._example(s) for s in self.patches if s.status == "committed" and s.held_out == held_out]

    def _example(self, state: PatchState) -> Example:
        folder = self._folder(state.id)
        image, labels = (open_volume(folder / name).levels[0] for name in ("image.zarr", f"labels-{state.labels}.zarr"))
        return self._with_image(*(np.asarray(level.read(level.box)) for level in (image, labels)))

    def _with_image(self, image: np.ndarray, labels: np.ndarray) -> Example:
        return Example(image, labels, self.level.voxel_nm, Scaling(**self.about["scaling"]))

    def _image(self, folder: Path, box: Box) -> np.ndarray:
        path = folder / "image.zarr"
        if not path.exists():
            block = np.asarray(self.level.read(box))
            origin = fvec3(self.level.to_nm(box.start).tolist())
            save_volume(Volume((Level(block, self.level.voxel_nm, origin),), name="patch"), path, levels=1)
        stored = open_volume(path).levels[0]
        return np.asarray(stored.read(stored.box))

    def _folder(self, id: int) -> Path:
        folder = self.path / "patches" / f"{id:04d}"
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _state(self, id: int) -> PatchState:
        states = self.patches
        if not 1 <= id <= len(states):
            raise InputError(f"got patch {id}; the session has 1 to {len(states)}")
        return states[id - 1]
