"""The plugin's preferences (napari: Preferences > Plugins), with defaults where napari knows none."""

from __future__ import annotations

from pathlib import Path

from napari.settings import get_plugin_settings

PLUGIN = "napari-connecto"


def _setting(key: str) -> str:
    try:
        return str(getattr(get_plugin_settings(PLUGIN).cascade, key))
    except (KeyError, AttributeError):  # the plugin is not registered: a script, a test
        return ""


def output_folder() -> Path:
    """Where result folders are made; "napari-connecto" in the home folder unless set."""
    folder = _setting("output_folder")
    return Path(folder).expanduser() if folder else Path.home() / "napari-connecto"


def scheduler() -> str:
    """Address of the usual Dask scheduler, or ""."""
    return _setting("scheduler")
