"""Detectors by name: those that ship, and those that installed packages registered by an entry point.

A file may name a detector and its options; no file says what to import.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError

GROUP = "napari_connecto.detectors"
_HERE = "napari_connecto.models.detectors"
BUILT_IN = (
    EntryPoint("blobs", f"{_HERE}.blobs:Blobs", GROUP),
    EntryPoint("cellpose", f"{_HERE}.cellpose:Cellpose", GROUP),
)
"""Registered like any other, and without an installation."""
EXTRAS = {"cellpose": "napari-connecto[cellpose]"}
"""What to install for a built-in detector that needs more."""


def registered_names() -> tuple[str, ...]:
    """Names of all registered detectors, the built-in ones first; nothing is imported."""
    return tuple(dict.fromkeys(point.name for point in _points()))


def make(name: str, options: Mapping[str, Any] | None = None, *, package: str = "") -> Any:
    """A registered detector with some of its options.

    Parameters
    ----------
    name
        See `registered_names`.
    options
        By the name of the detector's field. Texts become numbers where the field is one, as on a command line.
    package
        Where a file says the detector came from; for the message if it is not installed.

    Raises
    ------
    ModelError
        If there is no such detector, or it cannot be imported; the message says what to install.
    InputError
        If it has no such option, or the value does not fit.
    """
    kind = kind_of(name, package=package)
    given = dict(options or {})
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        if given:
            raise InputError(f"detector '{name}' takes no options; got {sorted(given)}")
        return kind() if isinstance(kind, type) else kind
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    if unknown := sorted(set(given) - set(fields)):
        raise InputError(f"detector '{name}' has no option {unknown}; allowed: {sorted(fields)}")
    values = {key: _typed(name, key, value, fields[key].default) for key, value in given.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"detector '{name}': {error!s:.300}") from error


def kind_of(name: str, *, package: str = "") -> Any:
    """What is registered under a name; raises the `ModelError` of `make`."""
    point = next((point for point in _points() if point.name == name), None)
    if point is None:
        remedy = f"pip install {package}" if _sound(package) else "install the package that registers it"
        raise ModelError(f"no detector '{name}' is installed ({', '.join(registered_names())} are); {remedy}")
    try:
        return point.load()
    except Exception as error:
        raise ModelError(f"detector '{name}' cannot be imported ({type(error).__name__}: {error!s:.200})") from error


def options_of(detector: Any) -> dict[str, Any]:
    """All options of a detector; JSON."""
    return dataclasses.asdict(detector) if dataclasses.is_dataclass(detector) else {}  # type: ignore[arg-type]


def package_of(name: str) -> str:
    """The distribution that registered a detector; "" if unknown."""
    point = next((point for point in _points() if point.name == name), None)
    if point is None or point in BUILT_IN:
        return EXTRAS.get(name, "napari-connecto")
    return point.dist.name if point.dist is not None else ""


def _points() -> list[EntryPoint]:
    return [*BUILT_IN, *entry_points(group=GROUP)]


def _sound(package: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}(\[[a-z,-]{1,40}\])?", package))


def _typed(name: str, key: str, value: Any, default: Any) -> Any:
    """A value in the type of the option's default; raises `InputError` where it is another."""
    kinds: tuple[type, ...] = (type(default),)
    value = value.item() if isinstance(value, np.generic) else value
    value = tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value
    if isinstance(value, str) and not isinstance(default, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
        with suppress(ValueError):
            value = value if isinstance(value, bool) else int(value) if isinstance(default, int) else float(value)
    if isinstance(default, float):
        kinds, value = (float,), float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if default is not None and default is not dataclasses.MISSING and type(value) not in kinds:
        raise InputError(f"got {key}={value!r:.80} for detector '{name}'; it must be {type(default).__name__}")
    return value
