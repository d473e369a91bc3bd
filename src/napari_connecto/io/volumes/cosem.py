"""Pyramids of COSEM (Janelia), older than OME-Zarr 0.4: each dataset states its own "transform"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_connecto.core.errors import InputError


def as_ome_zarr(multiscale: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The metadata in the words of OME-Zarr 0.4, where its datasets state transforms; else as they are.

    A transform has "axes", "scale", "translate" (of the centre of voxel 0) and "units", in the stored order, or, if
    "order" is "F", in the reverse.

    Raises
    ------
    InputError
        If two datasets state other axes or units, or one states none.
    """
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list) or "axes" in multiscale or "coordinateSystems" in multiscale:
        return multiscale
    told = [dataset.get("transform") if isinstance(dataset, Mapping) else None for dataset in datasets]
    if not any(isinstance(transform, Mapping) for transform in told):
        return multiscale
    made, systems = [], []
    for dataset, transform in zip(datasets, told, strict=True):
        if not isinstance(transform, Mapping):
            raise InputError(f"'{where}' states a transform for some of its datasets; write its metadata again")
        turned = -1 if transform.get("order") == "F" else 1
        part = {
            key: value[::turned] if isinstance(value := transform.get(key), list) else value
            for key in ("axes", "scale", "translate", "units")
        }
        steps = [{"type": "scale", "scale": part["scale"]}]
        steps += [{"type": "translation", "translation": part["translate"]}] if part["translate"] is not None else []
        made.append({**dataset, "coordinateTransformations": steps})
        systems.append((part["axes"], part["units"]))
    if any(system != systems[0] for system in systems):
        raise InputError(f"'{where}' states other axes or units on some levels; write its metadata again")
    return {**multiscale, "datasets": made, "axes": _axes(*systems[0], where)}


def _axes(names: Any, units: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(names, list) or not (units is None or (isinstance(units, list) and len(units) == len(names))):
        raise InputError(f"'{where}' states the axes {names!r} with the units {units!r}; write its metadata again")
    return [
        {"name": name, **({"unit": unit} if unit else {})}
        for name, unit in zip(names, units or [None] * len(names), strict=True)
    ]
