"""A run as a document: the same from a dock, a script and the shell.

A recipe is YAML: ``workflow``, ``volume`` (path, array, voxel_nm, origin_nm, channel, time, axes, invert), what the
workflow needs, ``params`` and ``out``; `entries` has all of it. Docks and commands write one into every result;
``napari-connecto run recipe.yaml`` repeats it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.io.disk import write_text
from napari_connecto.io.packages.plain_data import safe_yaml
from napari_connecto.workflows.recipes.document import Recipe, recipe_of, run_of
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.run import Run, Summary
from napari_connecto.workflows.recipes.paths import whole_paths


def read_recipe(path: str | Path) -> Recipe:
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
    if not isinstance(recipe, dict) or recipe.get("workflow") not in list(ENTRIES):
        raise InputError(f"{path} is not a recipe; it needs a line 'workflow:' with one of {', '.join(ENTRIES)}")
    return recipe


def read_run(path: str | Path) -> Run:
    """The run of a recipe in a YAML file, see `read_recipe` and `run_of`."""
    return run_of(read_recipe(path))


def write_recipe(run: Run, path: str | Path) -> None:
    """Write a run as YAML, whole or as it was before; local paths are written absolute."""
    write_text(Path(path), yaml.safe_dump(recipe_of(whole_paths(run)), sort_keys=False))


def run_job(run: Run, client: Any = None) -> Job[Summary]:
    """Do it, and leave the recipe with the result; raises what the workflow raises."""
    summary = yield from Phases({run.workflow: 1}).run(run.workflow, run.job(client))
    if summary.out:
        write_recipe(run, run.recipe_path(summary.out))
    return summary


def recipe_job(recipe: Recipe, client: Any = None) -> Job[Summary]:
    """`run_job` of what a recipe asks for, see `run_of`."""
    return run_job(run_of(recipe), client)
