"""The end of every chapter: parameters, provenance, recipe."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_connecto.core.params import today
from napari_connecto.reports.page import Section, Table
from napari_connecto.reports.results import RECIPE, Result
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.leaves import params_of
from napari_connecto.workflows.recipes.entries.run import Run

PACKAGES = ("napari-connecto", "numpy", "torch", "zarr", "scikit-image", "dask")
"""Packages whose versions matter for the numbers."""
DIGESTS = {"model": "weights used (SHA-256)", "models": "weights used (SHA-256)", "parent": "made from (SHA-256)"}
"""Entries of jobs that say what was used."""


def closing(result: Result, version_used: str = "", models: Sequence[tuple[str, str]] = ()) -> tuple[Section, ...]:
    """Parameters, provenance and recipe of a result.

    Parameters
    ----------
    result
        A finished result.
    version_used
        Version of this package that made the result; "" if the result does not say.
    models
        More rows of provenance: name, value.
    """
    sections = [_parameters(result), _origin(result, version_used, models)]
    text = _text(result.path / RECIPE)
    if text:
        line = "Saved as recipe.yaml in the result folder; `napari-connecto run recipe.yaml` repeats the run."
        sections.append(Section("Recipe", (line,), source=text, folded=True))
    return tuple(s for s in sections if s is not None)


def _entry(result: Result) -> type[Run] | None:
    """Of the workflow that made a result; None for a result of no workflow of this version."""
    return ENTRIES.get("suggest" if result.kind == "session" else result.kind)


def _parameters(result: Result) -> Section | None:
    """Those of the job if it states them, else of the recipe; else the defaults."""
    entry = _entry(result)
    kind = params_of(entry) if entry is not None else None
    if kind is None:
        return None
    given = {**dict(result.recipe.get("params") or {}), **dict(result.fingerprint.get("params") or {})}
    given = today(kind, given)
    rows, known = [], {field.name for field in fields(kind)}
    for field in fields(kind):
        value, default = given.get(field.name, field.default), field.default
        changed = "" if in_words(value) == in_words(default) else f"default: {in_words(default)}"
        unit = field.metadata.get("unit") or ""
        rows.append((field.name, in_words(value), unit, changed, field.metadata.get("help", "")))
    rows += [
        (str(name), in_words(value), "", "unknown to this version", "")
        for name, value in given.items()
        if name not in known
    ]
    return Section("Parameters", tables=(Table(("name", "value", "unit", "", "meaning"), tuple(rows)),))


def _origin(result: Result, version_used: str, models: Sequence[tuple[str, str]]) -> Section:
    rows = [("input", result.source or "not a file"), *_volume(result.fingerprint.get("volume")), *models]
    workflow = _entry(result)
    roles = {field.name: field.metadata["role"] for field in fields(workflow)} if workflow is not None else {}
    used = [name for name, role in roles.items() if role not in ("", "out") and result.recipe.get(name)]
    rows += [(name, in_words(result.recipe[name])) for name in used]
    for entry, said in DIGESTS.items():
        digest = result.fingerprint.get(entry)
        if digest:
            rows.append((said, ", ".join(map(str, digest)) if isinstance(digest, list) else str(digest)))
    rows.append(("finished", result.finished.strftime("%Y-%m-%d %H:%M:%S")))
    rows.append(("made with", f"napari-connecto {version_used}" if version_used else "not stated by the result"))
    here = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    rows.append(("page made with", f"{here}; Python {platform.python_version()} on {platform.system()}"))
    return Section("Provenance", tables=(Table(("what", ""), tuple(rows)),), folded=False)


def _volume(told: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(told, Mapping):
        return
    for shape, voxel in zip(told.get("shapes") or (), told.get("voxel_nm") or (), strict=False):
        size = " × ".join(f"{v:g}" for v in voxel)
        yield "level", f"{' × '.join(str(n) for n in shape)} voxels of {size} nm, {told.get('dtype', '')}"


def in_words(value: Any) -> str:
    """A parameter's value in words."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " × ".join(in_words(v) for v in value)
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
