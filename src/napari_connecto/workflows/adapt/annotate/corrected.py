"""Places that were corrected by proofreading, as patches of a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.views.nearest import nearest
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.spacing import Spacing, apart_nm
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from napari_connecto.workflows.segment.proofread.decisions import MERGE, Decision
from napari_connecto.workflows.segment.proofread.proofreading import corrected_labels
from napari_connecto.workflows.segment.proofread.sources import Result
from napari_connecto.workflows.shared.em_labels import to_em


def corrected_patches_job(session: Session, volume: Volume, folder: str | Path) -> Job[tuple[PatchState, ...]]:
    """Add a patch around each decision of a proofreader to a session, with the corrected segments to start from.

    They wait to be checked and committed: around what was corrected, the patch may hold other errors. A place that is
    in a patch already, or too near a held-out one, is left out.

    Parameters
    ----------
    session
        With at least one patch; the new ones are as large as its first.
    volume
        Its image.
    folder
        Result folder of `segment` on that image.

    Raises
    ------
    InputError
        If there is no decision, no patch yet, or all places are left out.
    """
    labels, decisions = corrected_labels(folder)
    finest, there = volume.levels[0], session.patches
    if not decisions:
        raise InputError("nothing was corrected yet; merge or split a segment first")
    if not there:
        raise InputError("the session has no patch yet; suggest patches in step 2 first")
    shape = finest.box_in(there[0].box, session.level).clip(session.level.shape).shape
    boxes = [_around(one, labels.levels[0], session.level, shape) for one in decisions]
    kept = _apart(boxes, session.level, [s.box for s in there], [s.box for s in there if s.held_out], finest)
    if not kept:
        raise InputError(
            "every corrected place is in a patch of the session already, or too near a held-out one; "
            "there is nothing to add"
        )
    before, added = Result.open(folder).labels.levels[0], []
    for done, index in enumerate(kept):
        yield Progress(done, len(kept), "adding patches")
        box, one = boxes[index], decisions[index]
        what = "merged" if one.kind == MERGE else "split"
        inner = session.level.box_in(box, finest).clip(finest.shape)
        (state,) = session.add([Suggestion(inner, 0.0, f"{what} while proofreading '{Path(folder).name}'", False)])
        seen = finest.box_in(state.box, session.level).clip(session.level.shape)
        start, now = (to_em(nearest(level, session.level, seen), "instances") for level in (before, labels.levels[0]))
        session.open_patch(state.id, start).labels[:] = now
        added.append(state)
    return tuple(added)


def _around(one: Decision, labels: Level, level: Level, shape: Vec3) -> Box:
    """A box of this shape about the middle of a decision's two places, inside the level."""
    middle = level.to_voxels(labels.to_nm((np.add(one.first, one.second) + 1) / 2))
    start = [min(max(0, round(m - s / 2)), n - s) for m, s, n in zip(middle.tolist(), shape, level.shape, strict=True)]
    return Box(vec3(start), vec3([a + s for a, s in zip(start, shape, strict=True)]))


def _apart(boxes: Sequence[Box], level: Level, there: Sequence[Box], held: Sequence[Box], finest: Level) -> list[int]:
    """Boxes of ``level`` that are no near copies of each other or of patches, nor near held-out ones."""
    apart = apart_nm(level, boxes)
    places, known, measured = (
        Spacing.of(one, b, apart) for one, b in ((level, boxes), (finest, there), (finest, held))
    )
    free = ~places.copies(known) & ~places.beside(measured)
    kept: list[int] = []
    for index in np.flatnonzero(free).tolist():
        if not kept or not places.at(index).copies(Spacing.of(level, [boxes[k] for k in kept], apart)).any():
            kept.append(index)
    return kept
