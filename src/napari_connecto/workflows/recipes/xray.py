"""Recipes of the data side of "X-ray to EM": simulate-xray, pair. Both write into a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.workflows.recipes.parts import region_of
from napari_connecto.workflows.shared.spec import describe, open_spec
from napari_connecto.workflows.xray.pair import Pair, pair_volumes_job
from napari_connecto.workflows.xray.params import PairParams, XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray_job

Recipe = Mapping[str, Any]
Summary = dict[str, Any]
XRAY, EM, VALID, REPORT = "xray.ome.zarr", "em.ome.zarr", "valid.ome.zarr", "pair.json"


def simulate_xray(recipe: Recipe, client: Any) -> Job[Summary]:
    """Simulate an X-ray volume of an EM; ``out`` gets `XRAY`."""
    params, out = from_mapping(XrayParams, recipe.get("params") or {}), _empty(recipe)
    like = open_spec(recipe["like"]) if recipe.get("like") else None
    made = yield from simulate_xray_job(open_spec(recipe["volume"]), params, like=like, region=region_of(recipe))
    yield from _saved(made, out / XRAY)
    return {"out": str(out), "lines": [*describe(made), "simulated: nobody measured it"]}


def pair(recipe: Recipe, client: Any) -> Job[Summary]:
    """Lay an X-ray volume over an EM; ``out`` gets both on one grid, where they are valid, and `REPORT`."""
    params, out = from_mapping(PairParams, recipe.get("params") or {}), _empty(recipe)
    xray, em = open_spec(recipe["volume"]), open_spec(recipe["em"])
    found = yield from pair_volumes_job(xray, em, params)
    yield from _saved(Volume((found.xray,), name=f"{xray.name}, aligned", metadata=xray.metadata), out / XRAY)
    yield from _saved(Volume((found.em,), name=em.name, metadata=em.metadata), out / EM)
    mask = found.valid.astype(np.uint8)
    shown = Volume((Level(mask, found.em.voxel_nm, found.em.origin_nm),), name="valid", kind="labels")
    yield from _saved(shown, out / VALID)
    lines = list(found.lines())
    write_json(out / REPORT, _report(found) | {"lines": lines})
    return {"out": str(out), "residual_nm": float(np.median(found.off_nm)), "lines": lines}


def _report(found: Pair) -> dict[str, Any]:
    return {
        "affine_nm": found.affine,
        "shift_nm": found.shift_nm,
        "valid": float(found.valid.mean()),
        "correlation": found.correlation,
        "chance": found.chance,
        "blocks": [
            {"start": box.start, "stop": box.stop, "residual_nm": residual}
            for box, residual in zip(found.blocks, found.residual_nm, strict=True)
        ],
    }


def _empty(recipe: Recipe) -> Path:
    """The folder that is written to; nothing in it is overwritten."""
    out = Path(recipe["out"])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another folder")
    return out


def _saved(volume: Volume, path: Path) -> Job[None]:
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    yield from save_volume_job(volume, path)


WORKFLOWS: dict[str, Callable[[Recipe, Any], Job[Summary]]] = {"simulate-xray": simulate_xray, "pair": pair}
ENTRIES: dict[str, tuple[set[str], set[str]]] = {
    "simulate-xray": ({"volume", "out"}, {"params", "like", "region"}),
    "pair": ({"volume", "em", "out"}, {"params"}),
}
"""Entries that a workflow's recipe must have, and may have."""
