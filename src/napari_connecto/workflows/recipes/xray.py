"""What simulate-xray and pair do; both write into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.workflows.recipes.entries import xray as entries
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.shared.spec import describe, open_spec
from napari_connecto.workflows.xray.pair import Pair, pair_volumes_job
from napari_connecto.workflows.xray.simulate import simulate_xray_job

XRAY, EM, VALID, REPORT = "xray.ome.zarr", "em.ome.zarr", "valid.ome.zarr", "pair.json"


def simulate_xray(run: entries.SimulateXray) -> Job[Summary]:
    """Simulate an X-ray volume of an EM; ``out`` gets `XRAY`."""
    out, like = empty_folder(run.out), open_spec(run.like) if run.like is not None else None
    made = yield from simulate_xray_job(open_spec(run.volume), run.params, like=like, region=run.region)
    yield from _saved(made, out / XRAY)
    return Summary(run.out, [*describe(made), "simulated, not measured"])


def pair(run: entries.Pair) -> Job[Summary]:
    """Lay an X-ray volume over an EM; ``out`` gets both on one grid, where they are valid, and `REPORT`."""
    out, xray, em = empty_folder(run.out), open_spec(run.volume), open_spec(run.em)
    found = yield from pair_volumes_job(xray, em, run.params)
    yield from _saved(Volume((found.xray,), name=f"{xray.name}, aligned", metadata=xray.metadata), out / XRAY)
    yield from _saved(Volume((found.em,), name=em.name, metadata=em.metadata), out / EM)
    mask = found.valid.astype(np.uint8)
    shown = Volume((Level(mask, found.em.voxel_nm, found.em.origin_nm),), name="valid", kind="labels")
    yield from _saved(shown, out / VALID)
    lines = list(found.lines())
    write_json(out / REPORT, _report(found) | {"lines": lines})
    return Summary(run.out, lines, {"residual_nm": float(np.median(found.off_nm))})


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


def empty_folder(folder: str) -> Path:
    """The folder that is written to; nothing in it is overwritten."""
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another folder")
    return out


def _saved(volume: Volume, path: Path) -> Job[None]:
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    yield from save_volume_job(volume, path)
