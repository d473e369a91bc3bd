"""The inputs of a run over a whole volume, the same for all docks; no Qt, no napari."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.commands import HERE, RunOn, file_spec
from napari_connecto.widgets.shared.live.held import until_free_job
from napari_connecto.workflows.recipes.entries.run import Run
from napari_connecto.workflows.recipes.words import command_line
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.workflows.ood.check import OodCheck

P = TypeVar("P")
Q = ParamSpec("Q")
T = TypeVar("T")


@dataclass(frozen=True)
class Task(ABC, Generic[P]):
    """The inputs of a search, a translation or a segmentation; tasks that give the same result are equal.

    Parameters
    ----------
    volume
        Its finest level is the finest to be read.
    spec
        Of the file that the volume is; None where it is none.
    model
        Folder of the network: a cascade, a translator, a boundary model.
    out
        Result folder; an unfinished run of the same task is resumed.
    run_on
        This process, workers of its own, or a Dask cluster.
    check
        Out-of-distribution check before the run, with the user's answer.
    error_map
        Write an error map at the end, if the model has a guard.
    """

    volume: Volume
    spec: VolumeSpec | None
    model: Path
    params: P
    out: Path
    run_on: RunOn = field(default=HERE, compare=False)
    check: OodCheck | None = field(default=None, compare=False)
    error_map: bool = field(default=False, compare=False)

    @property
    def file(self) -> VolumeSpec:
        """``spec``, as a run names the volume.

        Raises
        ------
        InputError
            If the volume is no file.
        """
        return file_spec(self.volume.name, self.spec)

    @abstractmethod
    def run(self) -> Run:
        """The equivalent run of the shell and of recipes; raises `InputError` if the volume is no file."""

    @property
    def command(self) -> str:
        """The equivalent shell command; raises `InputError` if the volume is no file."""
        return command_line(self.run(), self.run_on.words)

    def job(self, make: Callable[[Any], Job[T]]) -> Job[T]:
        """The job that ``make`` makes for a Dask client, or for None, where the task is to run."""
        yield from until_free_job(self.out)
        yield Progress(0, 0, self.run_on.starting)
        with self.run_on.client() as client:
            return (yield from make(client))

    def keep_recipe(self) -> None:
        """Write the recipe to the result folder, if the volume is a file."""
        from napari_connecto.workflows.recipes.recipe import write_recipe

        if self.spec is not None:
            write_recipe(self.run(), self.out / "recipe.yaml")


def until_changed(
    name: str, most: int = 2
) -> Callable[[Callable[Concatenate[Path, Q], T]], Callable[Concatenate[Path, Q], T]]:
    """Decorator of what loads a folder: the last ``most`` are cached until the file ``name`` in it changes."""

    def decorate(load: Callable[Concatenate[Path, Q], T]) -> Callable[Concatenate[Path, Q], T]:
        @lru_cache(maxsize=most)
        def kept(changed: float, folder: Path, *args: Any, **kwargs: Any) -> T:
            return load(folder, *args, **kwargs)

        @wraps(load)
        def current(folder: Path, *args: Q.args, **kwargs: Q.kwargs) -> T:
            file = folder / name
            changed = file.stat().st_mtime if file.exists() else 0.0
            return kept(changed, folder, *args, **kwargs)  # type: ignore[arg-type]  # all of these are hashable

        return current

    return decorate
