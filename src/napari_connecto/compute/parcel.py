"""Data shared by all tasks of a run on a cluster, sent once and unpickled once by each worker."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Generic, TypeAlias, TypeVar

import cloudpickle

from napari_connecto.compute.local import Pipeline, Sink
from napari_connecto.compute.options import ExecuteOptions, Meter
from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

T = TypeVar("T")
Results: TypeAlias = list[tuple[Tile, Any]]


@dataclass(frozen=True)
class Work:
    """Data shared by every task of a run."""

    level: Level
    predictor: Predictor
    sink: Sink | None
    options: ExecuteOptions
    stop: str


class Parcel(Generic[T]):
    """An object shared by many tasks: sent to each worker once, and unpickled there by the first task.

    So importing torch does not block a worker's event loop or the scheduler. In the process that made it nothing is
    pickled.
    """

    def __init__(self, content: bytes = b"", thing: T | None = None) -> None:
        self.content = content
        self._lock = threading.Lock()
        self._thing = thing

    @classmethod
    def pack(cls, thing: T) -> Parcel[T]:
        """Pickle ``thing`` now; raise `InputError` if it cannot be pickled."""
        return cls(_pickled(thing))

    def __reduce__(self) -> tuple[Any, ...]:
        self.content = self.content or _pickled(self._thing)
        return Parcel, (self.content,)

    def open(self) -> T:
        """The same object for every task of a process."""
        with self._lock:
            if self._thing is None:
                self._thing = pickle.loads(self.content)  # noqa: S301 (made by `_pickled` on the client)
            return self._thing


def _pickled(thing: Any) -> bytes:
    try:
        return cloudpickle.dumps(thing)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise InputError(
            f"the volume, model or sink cannot be sent to workers ({error}); open it from a path, or run locally"
        ) from error


def run_tiles(parcel: Parcel[Work], tiles: Sequence[Tile]) -> tuple[Results, dict[str, float]]:
    """On a worker: run some tiles, unless the run was stopped meanwhile."""
    from distributed import Event, get_client  # costs 0.5 s: only who uses it pays

    work, meter = parcel.open(), Meter()
    pipeline = Pipeline(work.level, work.predictor, work.sink, replace(work.options, meter=meter))
    stop, asked = Event(work.stop, client=get_client()), monotonic()
    results: Results = []
    for result in pipeline.results(tiles):
        results.append(result)
        if monotonic() - asked > 0.5:
            asked = monotonic()
            if stop.is_set():
                pipeline.close()
                break
    return results, meter.counts()
