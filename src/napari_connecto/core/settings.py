"""User settings: device, threads, cache, folder of results.

Each setting is taken from the environment, else from a TOML file, else it has its default. napari's preferences are
put into the environment of napari's process, so that processes it starts use them too.
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError

PREFIX = "NAPARI_CONNECTO_"
NAMES = ("device", "threads", "cache", "cache_gb", "results")
"""Settings; ``device`` is NAPARI_CONNECTO_DEVICE in the environment and ``device = "cpu"`` in the file."""
_OTHERS = ("CONFIG", "DATA", "TUTORIALS")
"""Other names in the environment with this prefix: the settings file, and those read by tests and benchmarks."""
_UNLIMITED = 1e6


@dataclass(frozen=True)
class Settings:
    """The settings in effect.

    Parameters
    ----------
    device
        What "auto" means: "auto", "cpu", "cuda", "cuda:N" or "mps".
    threads
        Largest number of processor cores to use; 0 for all available to the process.
    cache
        Folder of files that can be recreated (converted networks).
    cache_gb
        Size in GB (10^9 bytes) above which least recently used entries are removed; 0 keeps nothing.
    results
        Where docks create result folders.
    """

    device: str
    threads: int
    cache: Path
    cache_gb: float
    results: Path


def settings() -> Settings:
    """The settings in effect; the environment and the file are read each time.

    Raises
    ------
    InputError
        If a name or a value is not allowed, or the file is damaged, or a named file is missing.
    """
    _check_names()
    told = _file()
    for name in NAMES:
        stated = os.environ.get(PREFIX + name.upper(), "")
        if stated:
            told[name] = stated
    return Settings(
        str(told.get("device", "auto")),
        int(_number(told, "threads", 0, 4096)),
        Path(str(told.get("cache", default_cache()))).expanduser(),
        _number(told, "cache_gb", 5.0, _UNLIMITED),
        Path(str(told.get("results", Path.home() / "napari-connecto"))).expanduser(),
    )


def config_file() -> Path:
    """The settings file: NAPARI_CONNECTO_CONFIG, else config.toml in the user's configuration folder."""
    stated = os.environ.get(f"{PREFIX}CONFIG")
    if stated:
        return Path(stated).expanduser()
    home = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")
    return Path(home or os.path.expanduser("~/.config")) / "napari-connecto" / "config.toml"


def default_cache() -> Path:
    """XDG_CACHE_HOME, or LOCALAPPDATA on Windows, else ~/.cache."""
    stated = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return Path(stated or os.path.expanduser("~/.cache")) / "napari-connecto"


def _check_names() -> None:
    stated = {key.removeprefix(PREFIX) for key, value in os.environ.items() if key.startswith(PREFIX) and value}
    names = [name.upper() for name in NAMES]
    unknown = sorted(stated.difference(names, _OTHERS))
    if unknown:
        raise InputError(
            f"got {', '.join(PREFIX + name for name in unknown)} in the environment; allowed after {PREFIX}: "
            f"{', '.join(names)}, {_OTHERS[0]}; rename or unset it"
        )


def _file() -> dict[str, Any]:
    path = config_file()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if os.environ.get(f"{PREFIX}CONFIG"):
            raise InputError(f"no settings file at '{path}'; correct or unset {PREFIX}CONFIG") from error
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the settings in '{path}' ({error}); correct or remove it") from error
    unknown = sorted(set(told) - set(NAMES))
    if unknown:
        raise InputError(f"got settings {', '.join(unknown)} in '{path}'; allowed: {', '.join(NAMES)}")
    return told


def _number(told: dict[str, Any], name: str, default: float, most: float) -> float:
    stated = told.get(name, default)
    try:
        number = float(stated)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= most:
        raise InputError(
            f"got {name} = {stated!r}; allowed: 0 to {most:g} ({PREFIX}{name.upper()} or '{config_file()}')"
        )
    return number
