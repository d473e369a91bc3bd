"""Result folders: their content, their workflow, and how to find them below a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import read_json
from napari_connecto.workflows.recipes.parts import TUNED
from napari_connecto.workflows.recipes.recipe import read_recipe
from napari_connecto.workflows.shared.spec import open_spec

RECIPE, JOB = "recipe.yaml", "job.json"
MARKS = {
    "detections.csv": "detect",
    "ranking.json": "rank",
    "session.json": "session",
    "comparison.json": "fine-tune",
    "segments.json": "segment",
    "translation.json": "translate",
    "prediction.json": "predict",
    "pair.json": "pair",
    "prepare.json": "prepare",
    "cascade.json": "train-cascade",
    "translator.json": "train-translator",
    "why_missed.json": "why-missed",
    "worst.json": "guard-check",
    "prune.json": "prune",
}
"""A file that only one workflow writes, for folders without recipe and job."""
DONE = {
    "detect": ("report.json", "detections.csv"),
    "rank": ("ranking.json",),
    "session": ("session.json",),
    "fine-tune": ("model/card.json", TUNED),
    "segment": ("segments.json",),
    "translate": ("translation.json",),
    "predict": ("prediction.json",),
    "why-missed": ("why_missed.json",),
    "guard-check": ("report.json", "worst.json"),
    "prune": ("prune.json", "model/card.json"),
}
"""Files of a finished result."""
OTHER_NAMES = {"suggest": "session", "check-pair": "guard-check"}
"""Workflows whose folders are named by what they hold."""
DEEPEST = 3
"""Depth to which results are searched below a folder."""


@dataclass(frozen=True)
class Result:
    """A result folder.

    Parameters
    ----------
    kind
        Name of the workflow, "session" for `suggest`.
    recipe
        What `run` would repeat; {} if the folder has none.
    fingerprint
        Of its job, which the folder belongs to; {} if the folder has none.
    """

    path: Path
    kind: str
    recipe: Mapping[str, Any]
    fingerprint: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path) -> Result | None:
        """The result in a folder; None if it holds none.

        Raises
        ------
        ConnectoError
            If its recipe or job is damaged.
        """
        recipe = read_recipe(path / RECIPE) if (path / RECIPE).is_file() else {}
        job = read_json(path / JOB) if (path / JOB).is_file() else {}
        fingerprint = job.get("fingerprint") if isinstance(job, dict) else None
        fingerprint = fingerprint if isinstance(fingerprint, dict) else {}
        marked = next((kind for name, kind in MARKS.items() if (path / name).is_file()), "")
        kind = str(recipe.get("workflow") or fingerprint.get("workflow") or marked)
        return cls(path, OTHER_NAMES.get(kind, kind), recipe, fingerprint) if kind else None

    @property
    def lacks(self) -> list[str]:
        """Files that a finished result of this kind has and this one lacks."""
        return [name for name in DONE.get(self.kind, ()) if not (self.path / name).is_file()]

    @property
    def source(self) -> str:
        """Path or URL of the input; "" if unknown."""
        spec = self.recipe.get("volume")
        told = spec.get("path") if isinstance(spec, Mapping) else spec
        return str(told or (self.fingerprint.get("volume") or {}).get("source") or "")

    @property
    def name(self) -> str:
        """Name of the input, without folder and suffixes."""
        return self.source.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].split(".")[0]

    @property
    def finished(self) -> datetime:
        """When its last document was written."""
        documents = [p for p in self.path.glob("*") if p.suffix in (".json", ".yaml", ".csv", ".jsonl")]
        return datetime.fromtimestamp(max((p.stat().st_mtime for p in documents), default=self.path.stat().st_mtime))

    @property
    def begun(self) -> float:
        """When its job started, as a time stamp; for other folders, when the result was finished."""
        job = self.path / JOB
        return job.stat().st_mtime if job.is_file() else self.finished.timestamp()

    def json(self, name: str) -> Any:
        """A document in the folder; {} if there is none of this name."""
        return read_json(self.path / name) if (self.path / name).is_file() else {}

    def input(self) -> tuple[Volume | None, str]:
        """The input named by the recipe, or why it cannot be opened."""
        spec = self.recipe.get("volume") or self.source
        if not spec:
            return None, "The input was not a file, so it is not shown."
        try:
            return open_spec(spec), ""
        except ConnectoError as error:
            return None, f"The input is not shown: {error}"


def results_in(folder: Path) -> list[Result]:
    """The result in a folder, or the results below it, oldest first.

    Raises
    ------
    InputError
        If there is none.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; give the folder of a finished result")
    found = list(_below(folder, DEEPEST))
    if not found:
        raise InputError(
            f"'{folder}' holds no finished result; give a folder written by a command or a dock (with {RECIPE} or "
            f"{JOB}), or a folder that contains such folders"
        )
    return sorted(found, key=lambda result: result.begun)


def _below(folder: Path, depth: int) -> Iterator[Result]:
    result = Result.of(folder)
    if result is not None:
        yield result
        return
    if depth == 0 or folder.name.endswith(".zarr"):
        return
    for inner in sorted(
        p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
    ):
        yield from _below(inner, depth - 1)
