"""The plugin's preferences (napari: File > Preferences > Connecto), with defaults where napari knows none."""

from __future__ import annotations

import glob
import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar

from napari.settings import get_plugin_settings

from napari_connecto.core.settings import PREFIX, settings

PLUGIN = "napari-connecto"


def recall(key: str, section: str = "cascade") -> str:
    """A preference as text; "" where napari knows none."""
    try:
        return str(getattr(getattr(get_plugin_settings(PLUGIN), section), key))
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
    """Where result folders are made: as preferred, else as the settings say, see `napari_connecto.core.settings`."""
    folder = recall("output_folder")
    return Path(folder).expanduser() if folder else settings().results


def apply_preferences() -> None:
    """Let device, threads and cache be as preferred, in this process and those that it starts.

    A preference that is set goes before the environment and the file of settings; one that is not leaves them alone.
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
"""Preferences by the setting they are, and how they read where nobody set them."""
_before: dict[str, str | None] = {}


class AutomaticFolder:
    """One result folder for the same question, so that Run all and Resume go on from a preview, also another day.

    ``again`` is whether the folder holds earlier work. What was asked is remembered for as long as napari runs, so that
    a dock that was closed and opened again comes back to it, and so does an image that is chosen again.
    """

    _asked: ClassVar[list[tuple[Any, Path]]] = []

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._last: tuple[Any, Path] | None = None
        self.again = False

    def of(self, question: Any, name: str, model: str, parent: Path, lasting: str = "") -> Path:
        """``parent/PREFIXname-model-time-lasting``; the same until ``question`` is another one.

        ``lasting`` tells the question from others in every session; "" where no other session can ask it again.
        """
        asked = (self._prefix, question, parent)
        if self._last is None or self._last[0] != asked:
            words = self._prefix + re.sub(r"[^\w.-]+", "-", f"{name.split('.')[0]}-{model}").strip("-")
            earlier = [path for known, path in self._asked if known == asked and path.is_dir()]
            if lasting:
                earlier = sorted(parent.glob(f"{glob.escape(words)}-*-*-{lasting}"))
            self.again = bool(earlier)
            new = "-".join(filter(None, (words, time.strftime("%Y%m%d-%H%M%S"), lasting)))
            self._last = (asked, earlier[-1] if earlier else parent / new)
            self._asked[:] = [*(pair for pair in self._asked if pair[0] != asked), self._last][-REMEMBERED:]
        return self._last[1]


REMEMBERED = 50
"""Questions whose folders are remembered."""
