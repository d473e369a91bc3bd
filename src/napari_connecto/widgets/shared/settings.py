"""The plugin's preferences (napari: File > Preferences > Connecto); defaults if napari has none."""

from __future__ import annotations

import getpass
import glob
import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar

from napari.settings import get_plugin_settings

from napari_connecto.core.settings import PREFIX, settings
from napari_connecto.io.disk import is_folder

PLUGIN = "napari-connecto"


def recall(key: str, section: str = "cascade") -> str:
    """A preference as text; "" if napari has none."""
    try:
        return str(getattr(getattr(get_plugin_settings(PLUGIN), section), key))
    except (KeyError, AttributeError):  # the plugin is not registered: a script, a test
        return ""


def remember(**values: Any) -> None:
    """Set preferences; napari saves them."""
    try:
        settings = get_plugin_settings(PLUGIN).cascade
    except (KeyError, AttributeError):
        return
    for key, value in values.items():
        setattr(settings, key, value)


def output_folder() -> Path:
    """Folder of results: the preference, else the setting, see `napari_connecto.core.settings`."""
    folder = recall("output_folder")
    return Path(folder).expanduser() if folder else settings().results


def reviewer() -> str:
    """Who reviews: the preference, else the login name, "" if that is unknown."""
    try:
        return recall("reviewer").strip() or getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user: a container
        return ""


def apply_preferences() -> None:
    """Apply the preferred device, threads and cache to this process and those it starts.

    A preference that is set overrides the environment and the settings file; one that is not set changes nothing.
    """
    for name, unset in _UNSET.items():
        variable = PREFIX + name.upper()
        before = _before.setdefault(variable, os.environ.get(variable))
        preferred = recall(name, "general")
        if preferred not in ("", unset):
            os.environ[variable] = preferred
        elif before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


_UNSET = {"device": "auto", "threads": "0", "cache": "", "cache_gb": "5.0"}
"""Preferences by setting, and their text when unset."""
_before: dict[str, str | None] = {}


class AutomaticFolder:
    """One result folder per question, so that Run all and Resume continue from a preview, also on another day.

    ``again`` tells whether the folder holds earlier work. Questions are remembered while napari runs, so that a dock
    that is closed and reopened, or an image that is chosen again, comes back to its folder.
    """

    _asked: ClassVar[list[tuple[Any, Path]]] = []

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._last: tuple[Any, Path] | None = None
        self.again = False

    def of(self, question: Any, name: str, model: str, parent: Path, lasting: str = "") -> Path:
        """``parent/PREFIXname-model-time-lasting``; the same for the same ``question``.

        ``lasting`` identifies the question across sessions; "" if no other session can ask it.
        """
        asked = (self._prefix, question, parent)
        if self._last is None or self._last[0] != asked:
            words = self._prefix + re.sub(r"[^\w.-]+", "-", f"{name.split('.')[0]}-{model}").strip("-")
            earlier = [path for known, path in self._asked if known == asked and is_folder(path)]
            if lasting:
                earlier = sorted(parent.glob(f"{glob.escape(words)}-*-*-{lasting}"))
            self.again = bool(earlier)
            self._last = (asked, earlier[-1] if earlier else _free(parent, words, lasting))
            self._asked[:] = [*(pair for pair in self._asked if pair[0] != asked), self._last][-REMEMBERED:]
        return self._last[1]


def _free(parent: Path, words: str, lasting: str) -> Path:
    """A folder that is not there yet: two questions may be asked within a second."""
    moment, n = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        path = parent / "-".join(filter(None, (words, moment if n == 1 else f"{moment}.{n}", lasting)))
        if not is_folder(path):
            return path
        n += 1


REMEMBERED = 50
"""Number of questions whose folders are remembered."""
