"""The plugin's preferences (napari: File > Preferences > Connecto), with defaults where napari knows none."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "napari-connecto"


def recall(key: str) -> str:
    """A preference as text; "" where napari knows none."""
    try:
        return str(getattr(get_plugin_settings(PLUGIN).cascade, key))
    except (KeyError, AttributeError):  # the plugin is not registered: a script, a test
        return ""


def remember(**values: Any) -> None:
    """Set preferences; napari keeps them for the next time."""
    try:
        settings = get_plugin_settings(PLUGIN).cascade
    except (KeyError, AttributeError):
        return
    for key, value in values.items():
        setattr(settings, key, value)


def output_folder() -> Path:
    """Where result folders are made; "napari-connecto" in the home folder unless set."""
    folder = recall("output_folder")
    return Path(folder).expanduser() if folder else Path.home() / "napari-connecto"


class AutomaticFolder:
    """One result folder for the same question, so that Run all and Resume go on from a preview."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._made: tuple[Any, Path] | None = None

    def of(self, question: Any, name: str, model: str, parent: Path) -> Path:
        """``parent/PREFIXname-model-time``; the same until ``question`` is another one."""
        if self._made is None or self._made[0] != question:
            words = re.sub(r"[^\w.-]+", "-", f"{name.split('.')[0]}-{model}").strip("-")
            self._made = (question, parent / f"{self._prefix}{words}-{time.strftime('%Y%m%d-%H%M%S')}")
        return self._made[1]
