"""A `Gate` on disk: ``gate.npz`` and ``gate.json`` in a model's folder; nothing is ever unpickled."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.geometry import vec3
from napari_connecto.io.disk import read_json, storing, write_json
from napari_connecto.io.packages.plain_data import safe_arrays
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.ood.gaussian import Gaussian

ARRAYS, FIGURES = "gate.npz", "gate.json"
LARGEST = 64 * 2**20
"""Bytes that the unpacked arrays may take; about 2 MB is usual."""


def save_gate(gate: Gate, folder: str | Path) -> None:
    """Write a `Gate` into the folder of a model or a cascade. ``gate.json`` is written last and marks it as complete.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    folder = Path(folder)
    arrays = {f.name: np.asarray(getattr(gate.gaussian, f.name), np.float32) for f in fields(Gaussian)}
    figures = {f.name: getattr(gate, f.name) for f in fields(Gate) if f.name != "gaussian"}
    with storing(folder):
        (folder / FIGURES).unlink(missing_ok=True)
        np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
    write_json(folder / FIGURES, figures)


def load_gate(folder: str | Path) -> Gate | None:
    """Read the `Gate` in the folder of a model or a cascade; None if there is none.

    Raises
    ------
    ModelError
        If it is damaged or implausibly large.
    """
    folder = Path(folder)
    if not (folder / FIGURES).is_file():
        return None
    try:
        figures = read_json(folder / FIGURES)
        stored = safe_arrays(folder / ARRAYS, LARGEST)
        parts: dict[str, Any] = {f.name: stored[f.name].astype(np.float64) for f in fields(Gaussian)}
        gaussian = Gaussian(**parts)
        gate = Gate(gaussian, **{**figures, "shape": vec3(figures["shape"])})
        _check(gate)
    except (StoreError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise ModelError(
            f"the out-of-distribution check in '{folder}' is damaged ({error}); copy the folder again, or remove "
            f"{FIGURES} to do without"
        ) from error
    return gate


def _check(gate: Gate) -> None:
    g = gate.gaussian
    k, d = g.directions.shape
    shapes = [g.mean.shape, g.scale.shape, g.variances.shape, np.shape(g.residual)]
    if shapes != [(d,), (d,), (k,), ()] or not all(np.isfinite(getattr(g, f.name)).all() for f in fields(Gaussian)):
        raise ValueError(f"arrays of shapes {shapes} for {k} directions of {d} features")
    if not (0 <= gate.alarms <= gate.tiles and gate.tiles > 0 and 0 < gate.false_alarm < 1):
        raise ValueError(f"{gate.alarms} alarms of {gate.tiles} tiles at a rate of {gate.false_alarm}")
    if not (np.isfinite([gate.distance_limit, gate.inconsistency_limit]).all() and min(gate.shape) > 0):
        raise ValueError(f"limits {gate.distance_limit} and {gate.inconsistency_limit}, tiles of {gate.shape}")
