"""What guard fit and guard check do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.models.files import load_model
from napari_connecto.workflows.inspect.guard.check import check_pair_job
from napari_connecto.workflows.inspect.guard.fit import fit_guard_job
from napari_connecto.workflows.inspect.guard.guard import Guard, load_guard
from napari_connecto.workflows.recipes.entries.guard import GuardCheck, GuardFit
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import clipped_lines, model_folder, tuned_params
from napari_connecto.workflows.shared.judged import FOLDER, KEY, guarded
from napari_connecto.workflows.shared.spec import open_spec


def guard_fit(run: GuardFit) -> Job[Summary]:
    """Fit a guard, and save it beside the model, or in ``out``."""
    folder = model_folder(run.model)
    model, pair = load_model(folder, backend="torch"), (open_spec(run.volume), open_spec(run.labels))
    guard = yield from fit_guard_job(model, [pair], run.params, segment=tuned_params(run.model))
    out = run.out or str(folder)
    guard.save(out)
    return Summary(out, guard.lines(), {"usual": guard.usual, "metrics": dict(guard.metrics)})


def guard_check(run: GuardCheck, client: Any) -> Job[Summary]:
    """Check an answer."""
    guard = load_guard(model_folder(run.model))
    volume, output = open_spec(run.volume), open_spec(run.output)
    where: dict[str, Any] = {"out": run.out, "region": run.region, "client": client}
    check = yield from check_pair_job(volume, output, guard, run.params, **where)
    figures = {key: check.report[key] for key in ("verdict", "tiles", "bad_tiles", "predicted")}
    return Summary(run.out, [*clipped_lines(run.region, volume), *check.lines()], figures)


def guard_beside(wanted: bool, folder: Path | None, model: Predictor | None, instead: str = "") -> Guard | None:
    """The guard of the model in a folder, where an error map is wanted.

    Parameters
    ----------
    wanted
        Whether it is.
    folder, model
        Of the model, and the model itself if it is loaded; no folder: there is no model.
    instead
        Why there is no model, and what to do.

    Raises
    ------
    InputError
        If there is none: said before the run, not after it.
    """
    if not wanted:
        return None
    if folder is None:
        raise InputError(f"got --error-map, but {instead}; or leave --error-map out")
    if not guarded(folder):
        fit = f"napari-connecto guard fit IMAGE LABELS --model {folder}"
        raise InputError(f"got --error-map, but the model has no guard; fit one with `{fit}`, or leave --error-map out")
    return load_guard(folder, model=model)


def judged_lines(found: Mapping[str, Any], out: str | Path) -> list[str]:
    """What the guard said in a run, in words; ``found`` is what the result says of itself."""
    told = found.get(KEY)
    return [] if not told else [*told["lines"], f"error map in {Path(out) / FOLDER / 'error.zarr'}"]
