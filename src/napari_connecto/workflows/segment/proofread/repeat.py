"""Decisions from a file, made again in a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.io.disk import storing
from napari_connecto.workflows.segment.proofread.decisions import MERGE, SPLIT
from napari_connecto.workflows.segment.proofread.proofreading import Proofreading

FORM = '[{"event": "merge", "first": [z, y, x], "second": [z, y, x]}, ...]'


def read_decisions(path: Path) -> list[tuple[str, Vec3, Vec3]]:
    """Kind and two voxels of each decision in a file of JSON.

    Raises
    ------
    InputError
        If it is something else.
    """
    with storing(path):
        text = path.read_bytes()
    told = parse_json(text, f"'{path}'", InputError, f"write {FORM}")
    try:
        found = [(str(one["event"]), vec3(one["first"]), vec3(one["second"])) for one in told]
        if any(kind not in (MERGE, SPLIT) for kind, *_ in found):
            raise ValueError("an event is neither merge nor split")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"'{path}' holds no decisions ({error!r:.80}); write {FORM}") from error
    return found


def repeat_job(folder: str | Path, decisions: Sequence[tuple[str, Vec3, Vec3]]) -> Job[int]:
    """Make decisions in a result, in their order; returns how many.

    Raises
    ------
    InputError
        At the first that is not possible; those before it are kept.
    StoreError
        As `Proofreading.open` does.
    """
    with Proofreading.open(folder) as work:
        for done, (kind, first, second) in enumerate(decisions):
            yield Progress(done, len(decisions), "proofreading")
            try:
                if kind == MERGE:
                    work.merge(first, second)
                else:
                    yield from work.split_job(first, second)
            except (InputError, StoreError) as error:
                raise type(error)(f"decision {done + 1} of {len(decisions)}: {error}") from error
    return len(decisions)
