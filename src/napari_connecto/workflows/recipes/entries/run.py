"""A run: everything that a workflow is asked for, as one frozen dataclass per workflow.

A workflow is a subclass of `Run`: its fields are what it needs, `Run.job` does it. Recipe files (`document`), the
commands of the shell (`leaves`, `words`) and the docks' *Copy command line* derive from the fields, so a parameter is
added by adding a field, here or in the workflow's params.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, check, from_mapping, param
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

P = TypeVar("P")
Backend = Literal["auto", "torch", "openvino"]
MODEL = "A shipped domain (see `models`), a model's folder, or what fine-tune wrote."
"""What the model of a run may be."""


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Parameters
    ----------
    out
        Folder of the result; "" where nothing was written.
    lines
        What there is to say, a sentence a line.
    figures
        What else there is to know, JSON.
    """

    out: str
    lines: Sequence[str]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types, the figures beside ``out`` and ``lines``."""
        return {"out": self.out or None, **self.figures, "lines": list(self.lines)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Summary:
        """The inverse of `to_json`."""
        figures = {key: value for key, value in told.items() if key not in ("out", "lines")}
        return cls(str(told.get("out") or ""), tuple(map(str, told["lines"])), figures)


@dataclass(frozen=True, kw_only=True)
class Run(ABC):
    """What every workflow needs; a subclass adds its own and says in its docstring what it does, for ``--help``.

    Values are checked when a run is made; `InputError` says which one does not fit.
    """

    workflow: ClassVar[str]
    """Its name in recipes."""
    command: ClassVar[str] = ""
    """Its command, where that is called otherwise."""
    arguments: ClassVar[Sequence[str]] = ()
    """Fields that a command takes without an option, in this order."""
    options: ClassVar[Mapping[str, str]] = {}
    """Options of params that are called otherwise, since another field has taken the name: ``params.voxel_nm``."""
    prefixed: ClassVar[Sequence[str]] = ()
    """Params whose options begin with the name of their field."""
    clustered: ClassVar[bool] = False
    """Whether its tiles can run on a cluster."""
    trains: ClassVar[bool] = False
    """Whether it trains, and ends with the best so far when it is asked to stop."""
    estimates: ClassVar[bool] = False
    """Whether `estimate_job` says what it would cost."""
    reports: ClassVar[bool] = True
    """Whether `reports` makes a page of its result."""

    out: str = param(REQUIRED, "Result folder; an unfinished one is resumed.", role="out")

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def job(self, client: Any) -> Job[Summary]:
        """Do it; ``client`` is a Dask client for where tiles run, or None for this process."""

    def estimate_job(self) -> Job[Any]:
        """What it would cost; the result has ``seconds`` and ``lines()``; raises `InputError` without `estimates`."""
        raise InputError(f"{self.workflow} has no cost estimate; run it directly")

    def recipe_path(self, out: str) -> Path:
        """Where the recipe is kept of a run that wrote ``out``."""
        return Path(out) / "recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class OnImage(Run):
    """What every workflow that begins with an image needs."""

    arguments: ClassVar[Sequence[str]] = ("volume",)

    volume: VolumeSpec = param(REQUIRED, "The image: any readable volume.")


@dataclass(frozen=True, kw_only=True)
class OnResult(Run):
    """What every workflow that begins with the result folder of a search needs; it writes a file."""

    arguments: ClassVar[Sequence[str]] = ("result",)
    reports: ClassVar[bool] = False

    result: str = param(REQUIRED, "Result folder of a search.", role="input")

    def recipe_path(self, out: str) -> Path:
        """Beside the file that was written, because the folder has the recipe of the search."""
        return Path(out).with_suffix(".recipe.yaml")


@dataclass(frozen=True)
class Given(Generic[P]):
    """Some fields of a params dataclass: those that were given. None counts as not given.

    Parameters
    ----------
    kind
        The params dataclass.
    values
        By field name; checked as the dataclass does.
    """

    kind: type[P]
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked = from_mapping(self.kind, self.values)
        kept = {name: getattr(checked, name) for name, value in self.values.items() if value is not None}
        object.__setattr__(self, "values", kept)

    def over(self, base: P) -> P:
        """``base`` with these fields in the place of its own."""
        return replace(base, **self.values)  # type: ignore[type-var]


def fields_of(kind: type[Run]) -> list[Field[Any]]:
    """The fields of a workflow's runs, the image first."""
    return sorted(fields(kind), key=lambda field: field.name != "volume")


def region_field(help: str = "Only this box, in voxels of the finest level.") -> Any:
    """A field for a box of the finest level; None for everywhere."""
    return param(None, help)


def backend_field() -> Any:
    """A field for what runs a network."""
    return param(
        "auto",
        "Inference backend; auto: OpenVINO on a CPU where it is installed, else torch.",
        choices=get_args(Backend),
    )


def tile_field() -> Any:
    """A field for tiles of another size than the model's."""
    return param(None, "Smaller tiles than the model's, to save memory.", unit="voxels", low=1)


ERROR_MAP = (
    "Also write a map of where the answer is probably wrong, and the worst places, into OUT/check; the model needs a "
    "guard (see guard fit). Not part of the estimate."
)


def error_map_field(help: str = ERROR_MAP) -> Any:
    """A field for a map of where the answer is probably wrong, by the guard of the model."""
    return param(False, help)
