"""Earlier sessions of an image, found by themselves; no Qt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Job, Progress


@dataclass(frozen=True)
class Found:
    """An earlier session: its folder, and how many of its patches are committed."""

    folder: Path
    committed: int
    total: int


def words_of(name: str) -> str:
    """The part of a folder's name that an image gives it."""
    return re.sub(r"[^\w-]+", "-", name.split(".")[0]).strip("-") or "image"


def sessions_job(results: Path, name: str, path: str) -> Job[list[Found]]:
    """Sessions in the results folder on the image of this name and file ("" if it is in none), the latest first."""
    yield Progress(0, 0, "looking for sessions")
    from napari_connecto.io.stores.event_log import EventLog
    from napari_connecto.workflows.adapt.annotate.patch_states import patch_states

    found = []
    for about in sorted(results.glob("adapt-*/session/session.json"), key=_age):
        try:
            image = Path(json.loads(about.read_text(encoding="utf-8"))["volume"]["path"])
            states = patch_states(EventLog(about.parent / "events.jsonl").events())
        except (ConnectoError, OSError, ValueError, KeyError, TypeError):
            continue  # damaged, or of another program
        own = image.parent == about.parent.parent and about.parent.parent.name.startswith(f"adapt-{words_of(name)}-")
        if states and (own if not path else image == Path(path)):
            committed = sum(s.status == "committed" for s in states)
            found.append(Found(about.parent, committed, sum(s.status != "skipped" for s in states)))
    return found


def _age(path: Path) -> float:
    """Latest first; what vanished meanwhile comes last."""
    try:
        return -max(path.stat().st_mtime, (path.parent / "events.jsonl").stat().st_mtime)
    except OSError:
        return 0.0
