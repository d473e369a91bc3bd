"""What takes long to make is made once per run of the tests, by the process that asks first; the others copy it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

MADE = "CONNECTO_TESTS_MADE"
"""The variable that names the folder of this run (set in conftest); without it, all is made where it is wanted."""


def once(name: str, make: Callable[[Path], object], folder: Path) -> Path:
    """Fill ``folder`` with what ``make`` writes into the folder that it is given; returns ``folder``."""
    if MADE not in os.environ:
        make(folder)
        return folder
    place = Path(os.environ[MADE]) / name
    with FileLock(place.with_suffix(".lock")):
        if not place.exists():
            unfinished = place.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(place)
    shutil.copytree(place, folder)
    return folder
