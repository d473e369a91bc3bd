"""Timings of earlier searches on this machine, so that the same search has the same plan again."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import StoreError
from napari_connecto.core.settings import settings
from napari_connecto.io.disk import read_json, write_json
from napari_connecto.workflows.cascade.thresholds.prices import Timings

MOST = 500
"""Files; the oldest are removed first."""
BUSY = 1.5
"""Processes that wait for a core, per core, from which seconds say little of a quiet machine."""
SHORT_S = 3600.0
"""How long timings of a busy machine are used: long enough that a search has the plan of its estimate."""


def timings_folder() -> Path:
    """Where they lie, in the user's cache; may be deleted, then stages are timed again."""
    return settings().cache / "timings"


def timed_before(what: Any, stages: int) -> Timings | None:
    """Timings of so many stages on this machine, or None. ``what``: JSON that names volume, cascade and options.

    Those of a busy machine are forgotten after `SHORT_S`.
    """
    with suppress(StoreError, OSError):
        kept = read_json(_file(what))
        short = isinstance(kept, dict) and kept.get("busy")
        if not short or time.time() - _file(what).stat().st_mtime < SHORT_S:
            return Timings.from_json(kept, stages)
    return None


def busy() -> bool:
    """Whether other programs take the processor now, where the system tells it."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load > BUSY * (os.cpu_count() or 1)


def keep_timings(what: Any, timings: Timings) -> None:
    """Keep timings for `timed_before`; nothing is kept where ``cache_gb`` is 0 or the cache cannot be written."""
    if settings().cache_gb == 0:
        return
    with suppress(StoreError, OSError):
        timings_folder().mkdir(parents=True, exist_ok=True)
        write_json(_file(what), timings.to_json() | {"busy": busy()})
        for old in sorted(timings_folder().iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)


def _file(what: Any) -> Path:
    machine = [platform.node(), os.cpu_count(), settings().threads, os.environ.get("OMP_NUM_THREADS", "")]
    key = hashlib.blake2b(json_text([what, machine]).encode(), digest_size=12).hexdigest()
    return timings_folder() / f"{key}.json"
