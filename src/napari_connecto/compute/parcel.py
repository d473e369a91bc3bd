"""What all tasks of a run on a cluster share, sent once and opened once by each worker."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, TypeAlias

import cloudpickle
from distributed import Event, get_client

from napari_connecto.compute.local import Pipeline, Sink
from napari_connecto.compute.options import ExecuteOptions, Meter
from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

Results: TypeAlias = list[tuple[Tile, Any]]


@dataclass(frozen=True)
class Work:
    """What every task of a run shares."""

    level: Level
    predictor: Predictor
    sink: Sink | None
    options: ExecuteOptions
    stop: str


class Parcel:
    """`Work`, pickled; sent to each worker once and opened there by the first task, for all tasks to share.

    So a worker's event loop is not blocked by importing torch, and what cannot be pickled is said in one line.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._lock = threading.Lock()
        self._work: Work | None = None

    @classmethod
    def pack(cls, work: Work) -> Parcel:
        """Pickle ``work``; raise `InputError` if that cannot be."""
        try:
            return cls(cloudpickle.dumps(replace(work, options=replace(work.options, meter=None))))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise InputError(
                f"the volume, model or sink cannot be sent to workers ({error}); open it from a path, or run locally"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return Parcel, (self.content,)

    def open(self) -> Work:
        """The same object for every task of a worker."""
        with self._lock:
            if self._work is None:
                self._work = pickle.loads(self.content)  # noqa: S301 (made by `pack` on the client)
            return self._work


def run_tiles(parcel: Parcel, tiles: Sequence[Tile]) -> tuple[Results, dict[str, float]]:
    """On a worker: run some tiles, unless the run was stopped meanwhile."""
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
