"""An error map as part of a run: a guard judges the model's answer, and keeps what it says beside the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.io.place import there

FOLDER, KEY = "check", "guard"
"""Folder of the check in that of the run, and key of its report in what the result says of itself."""
GUARD, FIGURES = "guard", "guard.json"
"""Folder of a guard beside its model, and what makes it one."""
JUDGING = "error map"
"""Name of the phase."""
WORK = 0.3
"""Cost of an error map relative to a boundary map (fly-medulla, one core: 0.6 and 2.1 us a voxel); for progress."""


def guarded(folder: Path) -> bool:
    """Whether the model in a folder has a guard beside it."""
    return (there(folder / GUARD) / FIGURES).is_file()


class Judge(Protocol):
    """What tells where a model's answer is wrong: a `Guard`."""

    @property
    def card(self) -> ModelCard:
        """Of the model that it judges."""

    @property
    def output(self) -> str:
        """The output of the model that it judges."""

    def check_job(
        self, volume: Volume, output: Volume, *, out: Path, region: Box | None = None, client: Any = None
    ) -> Job[Any]:
        """`check_pair` as a job; its result has a ``report``."""


def need_judge_of(model: Predictor | None, judge: Judge | None) -> None:
    """Raise `InputError` for a judge without a model, `ModelError` for one of another model."""
    if judge is None:
        return
    if model is None:
        raise InputError("got a guard without a model, so the volume is the answer already; use check_pair for it")
    if judge.card.digest != model.card.digest:
        raise ModelError(f"this guard was fitted to '{judge.card.name}', not to '{model.card.name}'; fit one for it")


def judging_job(
    judge: Judge, volume: Volume, output: Volume, folder: Path, region: Box | None, client: Any
) -> Job[dict[str, Any]]:
    """Judge an answer into `FOLDER` of a run's folder; the report of the check.

    ``region`` is in voxels of the volume's finest level. Reports have no payload: a run's own mean something else.
    """
    job = judge.check_job(volume, output, out=folder / FOLDER, region=region, client=client)
    try:
        while True:
            yield replace(next(job), payload=None)
    except StopIteration as end:
        return dict(end.value.report)
    finally:
        job.close()
