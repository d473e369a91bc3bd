"""A run as a document: the same from a dock, a script and the shell.

A recipe is YAML: ``workflow``, ``volume`` (path, array, voxel_nm, origin_nm, channel, time, invert), what the
workflow needs, ``params`` and ``out``. Docks and commands write one into every result;
``napari-connecto run recipe.yaml`` repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import from_mapping
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import write_text
from napari_connecto.io.packages.plain_data import safe_yaml
from napari_connecto.sample_data import cascade_folder
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.estimate import Estimate, estimate
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.detect import detect_job
from napari_connecto.workflows.cascade.training.examples import Examples, from_places
from napari_connecto.workflows.cascade.training.points import read_places
from napari_connecto.workflows.cascade.training.summary import summarise
from napari_connecto.workflows.cascade.training.train import train_cascade_job
from napari_connecto.workflows.recipes import adapt as recipe_adapt
from napari_connecto.workflows.recipes import translate as recipe_translate
from napari_connecto.workflows.recipes import xray as recipe_xray
from napari_connecto.workflows.recipes.parts import check_entries, region_lines, region_of, renamed
from napari_connecto.workflows.recipes.paths import whole_paths
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP

Recipe = Mapping[str, Any]


def read_recipe(path: str | Path) -> dict[str, Any]:
    """A recipe from a YAML file; only plain values are read.

    Raises
    ------
    InputError
        If it cannot be read, is no mapping, or names no known workflow.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error}; check the path") from error
    recipe = safe_yaml(text, f"the recipe '{path}'", InputError, "correct it, or write it again")
    if not isinstance(recipe, dict) or recipe.get("workflow") not in list(_WORKFLOWS):
        raise InputError(f"{path} is no recipe; it needs a line 'workflow:' with one of {', '.join(_WORKFLOWS)}")
    return renamed(recipe)


def write_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe as YAML, whole or as it was before; tuples become lists, local paths absolute text."""
    write_text(Path(path), yaml.safe_dump(_plain(whole_paths(recipe)), sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def recipe_job(recipe: Recipe, client: Any = None) -> Job[dict[str, Any]]:
    """Do what a recipe says; returns a summary: ``out``, ``lines`` to show, and figures.

    Raises
    ------
    InputError
        For a missing or unknown entry; and what the workflow raises.
    """
    name = recipe.get("workflow")
    if not isinstance(name, str) or name not in _WORKFLOWS:
        raise InputError(f"got workflow {name!r}; there are: {', '.join(_WORKFLOWS)}")
    needed, allowed = _ENTRIES[name]
    lacking, unknown = needed - set(recipe), set(recipe) - needed - allowed - {"workflow"}
    if lacking or unknown:
        odd = ", ".join(sorted(map(str, lacking or unknown)))
        problem = f"lacks {odd}" if lacking else f"has unknown {odd}"
        raise InputError(f"the recipe {problem}; '{name}' takes {', '.join(sorted(needed | allowed))}")
    check_entries(recipe)
    recipe = renamed(dict(recipe))
    summary = yield from Phases({name: 1}).run(name, _WORKFLOWS[name](recipe, client))
    if summary.get("out"):
        write_recipe(recipe, Path(summary["out"]) / "recipe.yaml")
    return summary


def _detect(recipe: Recipe, client: Any) -> Job[dict[str, Any]]:
    params, region = from_mapping(DetectParams, recipe.get("params") or {}), region_of(recipe)
    volume = open_spec(recipe["volume"])
    cascade = load_cascade(cascade_folder(recipe["cascade"]), backend=recipe.get("backend", "auto"))
    found = yield from detect_job(volume, cascade, params, out=recipe["out"], client=client, region=region)
    lines = [*region_lines(recipe, volume), *report_lines(found.report)]
    return {"out": str(recipe["out"]), "objects": len(found), "lines": lines}


def _train_cascade(recipe: Recipe, client: Any) -> Job[dict[str, Any]]:
    volume = open_spec(recipe["volume"])
    params = from_mapping(TrainParams, recipe.get("params") or {})
    if ("points" in recipe) == ("labels" in recipe):
        raise InputError("a recipe for train-cascade has either 'labels' or 'points'")
    if "points" in recipe and "review" in recipe:
        raise InputError("got 'points' and 'review'; points have their own verdicts, a review goes with 'labels'")
    out = Path(recipe["out"])
    stop = out / STOP
    if out.exists() and (not out.is_dir() or any(path != stop for path in out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another folder for the cascade")
    stop.unlink(missing_ok=True)
    labels = _points(recipe["points"], volume, params) if "points" in recipe else open_spec(recipe["labels"])
    review = read_places(recipe["review"], volume.levels[0]) if recipe.get("review") else None
    previous = load_cascade(cascade_folder(recipe["previous"]), backend="torch") if recipe.get("previous") else None
    more: dict[str, Any] = {"review": review, "previous": previous, "stop": stop.exists}
    try:
        cascade = yield from train_cascade_job(volume, labels, params, **more)
        cascade.save(out)
    finally:
        stop.unlink(missing_ok=True)
        with suppress(OSError):  # it holds the cascade, or never was
            out.rmdir()
    told = summarise(cascade)
    summary = {"out": str(out), "levels": len(cascade.stages), "lines": list(told.lines)}
    return summary | {"failure": told.failure, "worse": told.worse, "comparison": told.comparison}


_WORKFLOWS: dict[str, Callable[[Recipe, Any], Job[dict[str, Any]]]] = {
    "detect": _detect,
    "train-cascade": _train_cascade,
    **recipe_adapt.WORKFLOWS,
    **recipe_xray.WORKFLOWS,
    **recipe_translate.WORKFLOWS,
}
_ENTRIES = {
    "detect": ({"volume", "cascade", "out"}, {"params", "region", "backend"}),
    "train-cascade": ({"volume", "out"}, {"params", "labels", "points", "review", "previous"}),
    **recipe_adapt.ENTRIES,
    **recipe_xray.ENTRIES,
    **recipe_translate.ENTRIES,
}
"""Entries that a workflow's recipe must have, and may have."""


def _points(source: Any, volume: Volume, params: TrainParams) -> Examples:
    """Centres in nm from a table or a file of cells, see `read_places`; the labelled region is the whole volume."""
    if params.diameter_nm <= 0:
        raise InputError("points need a diameter: give diameter_nm, the typical size of an object in nm")
    places = read_places(source, volume.levels[0])
    sparse = params.sparse(reviewed=places.reviewed)
    return from_places(places, params.diameter_nm, volume.levels[0], sparse=sparse)


def search_cost(recipe: Recipe) -> Estimate:
    """What the search of a recipe would cost."""
    cascade = load_cascade(cascade_folder(recipe["cascade"]), backend=recipe.get("backend", "auto"))
    params = from_mapping(DetectParams, recipe.get("params") or {})
    volume = open_spec(recipe["volume"])
    return estimate(volume, cascade, params, region=region_of(recipe), out=recipe["out"])
