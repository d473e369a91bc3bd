"""Places that a check names as suggested patches: the annotation queue starts where the model is probably wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.model import ModelCard
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.workflows.adapt.annotate.patch_states import patch_states
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion, box_in_finest
from napari_connecto.workflows.adapt.params import SuggestParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


class Place(Protocol):
    """A place in nm, (z, y, x), what is probably wrong there, and how probably."""

    @property
    def centre_nm(self) -> FVec3: ...

    @property
    def error(self) -> float: ...

    @property
    def reason(self) -> str: ...


def patches_at(
    places: Sequence[Place], volume: Volume, card: ModelCard, size: int | None = None, taken: Sequence[Box] = ()
) -> list[Suggestion]:
    """Patches around places, in their order; a place inside of an earlier patch, or of one that is taken, has none.

    Parameters
    ----------
    places
        In nm; those outside of the volume are left out.
    volume, card
        Image to annotate, and card of the model that is to learn from it: patches are as deep as its tile.
    size
        Extent along y and x, voxels of the model. Default: as `suggest`.
    taken
        Boxes of the volume's finest level.

    Raises
    ------
    VoxelSizeError
        If volume and model do not fit.
    """
    level, finest = fitting_level(volume, card), volume.levels[0]
    side = SuggestParams().size if size is None else size
    shape = [min(n, m) for n, m in zip((card.tile[0], side, side), level.shape, strict=True)]
    found: list[Suggestion] = []
    for place in places:
        at = level.to_voxels(np.asarray(place.centre_nm))
        if not all(0 <= c <= n for c, n in zip(at, level.shape, strict=True)):
            continue
        start = [int(np.clip(round(c - s / 2), 0, n - s)) for c, s, n in zip(at, shape, level.shape, strict=True)]
        own = Box(vec3(start), vec3([a + s for a, s in zip(start, shape, strict=True)]))
        box = box_in_finest(level, own, finest)
        if not any(box.overlaps(other) for other in (*taken, *(s.box for s in found))):
            found.append(Suggestion(box, place.error, place.reason))
    return found


def queue_places(
    folder: str | Path,
    places: Sequence[Place],
    volume: Volume,
    card: ModelCard,
    *,
    spec: VolumeSpec,
    model: str,
    size: int | None = None,
) -> Path:
    """Put places into the queue of a session, which is made if there is none; those it has already are left out.

    Parameters
    ----------
    folder
        Of the session.
    places, volume, card, size
        See `patches_at`.
    spec, model
        What names volume and model in a recipe.

    Returns
    -------
    Path
        The folder; `Session.open`, or "Resume session" in the dock, goes on with it.

    Raises
    ------
    InputError
        If no place lies in the volume.
    StoreError
        If the folder holds something else, or new places are to join a session that is in use.
    """
    folder = Path(folder)
    there = list(_boxes(folder))
    new = patches_at(places, volume, card, size, there)
    if not new and not there:
        raise InputError(f"got {len(places)} places, and none lies in '{volume.name}'; check this image first")
    if new:
        with Session.open(folder, volume, card, spec=spec, model=model) as session:
            session.add(new)
    return folder


def _boxes(folder: Path) -> Iterator[Box]:
    """Boxes of a session's patches, read without locking it."""
    if (folder / "events.jsonl").is_file():
        yield from (state.box for state in patch_states(EventLog(folder / "events.jsonl").events()))
