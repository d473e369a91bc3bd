"""Tiles on a Dask cluster: a bounded window of small tasks, so that a million tiles need no graph of a million."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import Any, TypeAlias
from uuid import uuid4

import cloudpickle
from distributed import Client, Event, Future, KilledWorker, LocalCluster, as_completed, get_client

from napari_connecto.compute.cache import cached
from napari_connecto.compute.local import Pipeline, Sink
from napari_connecto.compute.options import ExecuteOptions, Meter, default_batch
from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

Results: TypeAlias = list[tuple[Tile, Any]]

AHEAD = 3  # tasks per worker thread in the window: one runs, one waits, one travels
TRIES = 4  # how often a task is given out again after its worker was lost


@contextmanager
def connect(scheduler: str | None = None, workers: int = 0) -> Iterator[Client | None]:
    """A client of a running scheduler, of ``workers`` new local processes, or None for neither.

    Parameters
    ----------
    scheduler
        Address such as "tcp://host:8786".
    workers
        Processes of one thread each, started here and ended on leaving.

    Raises
    ------
    InputError
        If the scheduler cannot be reached, or both are given.
    """
    if scheduler and workers:
        raise InputError(f"got scheduler {scheduler} and {workers} workers; give one of them")
    if scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise InputError(f"cannot reach a Dask scheduler at {scheduler!r}: {error}; check the address") from error
        with client:
            yield client
    elif workers:
        local = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0")
        with local as cluster, Client(cluster) as client:
            yield client
    else:
        yield None


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


@dataclass
class Window:
    """Tasks that were given out: waiting, done but not at their turn, and how often each was lost."""

    client: Client
    parcel: Parcel
    work: Work
    shared: Future
    waiting: dict[Future, tuple[int, list[Tile], int]] = field(default_factory=dict)
    ready: dict[int, Results] = field(default_factory=dict)
    done: as_completed = field(default_factory=lambda: as_completed(raise_errors=False))

    @classmethod
    def open(cls, client: Client, work: Work) -> Window:
        """Send the shared part to all workers."""
        parcel = Parcel.pack(work)
        return cls(client, parcel, work, _share(client, parcel))

    @property
    def full(self) -> bool:
        """Whether more tasks would only pile up."""
        threads = max(1, sum(self.client.nthreads().values()))
        return len(self.waiting) + len(self.ready) >= AHEAD * threads

    def submit(self, number: int, tiles: list[Tile], tries: int = 0) -> None:
        """Give out one task."""
        future = self.client.submit(run_tiles, self.shared, tiles, pure=False, retries=0)
        self.waiting[future] = (number, tiles, tries)
        self.done.add(future)

    def collect(self) -> None:
        """Wait for one task to end; give it out again where its worker took it along.

        Raises
        ------
        ConnectoError
            What the task raised, or that its workers died again and again.
        """
        future = next(self.done)
        number, tiles, tries = self.waiting.pop(future)
        try:
            results, counts = future.result()
        except CancelledError as error:  # the last worker that held the shared part was lost
            if tries >= TRIES:
                raise ConnectoError(f"lost the workers of a task {tries} times; check their memory and logs") from error
            if self.shared.status != "finished":
                self.shared = _share(self.client, self.parcel)
            self.submit(number, tiles, tries + 1)
        except KilledWorker as error:
            raise ConnectoError(
                f"tiles {tiles[0].index} to {tiles[-1].index} ended every worker that ran them, probably for memory; "
                "use smaller tiles or batches, or give workers more memory"
            ) from error
        else:
            self.ready[number] = results
            if self.work.options.meter is not None:
                self.work.options.meter.add(**counts)

    def close(self) -> None:
        """Tell workers to stop and forget what is under way."""
        if self.waiting:
            Event(self.work.stop, client=self.client).set()
            self.client.cancel(list(self.waiting), force=True)


def run_on_cluster(
    client: Client,
    level: Level,
    tiles: Iterable[Tile],
    predictor: Predictor,
    sink: Callable[..., Any] | None,
    options: ExecuteOptions,
) -> Generator[tuple[Tile, Any], None, None]:
    """See `napari_connecto.compute.execute.execute`."""
    batch = options.batch or default_batch(predictor.card)
    fixed = replace(options, batch=batch, calls=options.calls or 1)
    work = Work(cached(level, options.cache_bytes), predictor, sink, fixed, f"stop-{uuid4().hex}")
    size = max(1, options.tiles_per_task // batch) * batch
    source, given, turn = iter(tiles), 0, 0
    window = Window.open(client, work)
    try:
        while True:
            while not window.full and (group := list(islice(source, size))):
                window.submit(given, group)
                given += 1
            if turn == given:
                return
            while turn not in window.ready:
                window.collect()
            yield from window.ready.pop(turn)
            turn += 1
    finally:
        window.close()


def _share(client: Client, parcel: Parcel) -> Future:
    return client.scatter(parcel, broadcast=True, hash=False)
