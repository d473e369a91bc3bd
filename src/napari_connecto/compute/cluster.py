"""Tiles on a Dask cluster, in a bounded window of small tasks instead of one graph of all tiles."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, cast
from uuid import uuid4

from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.comm import get_address_host_port
from distributed.core import rpc

from napari_connecto.compute.cache import cached
from napari_connecto.compute.options import ExecuteOptions, default_batch
from napari_connecto.compute.parcel import Parcel, Results, Work, run_tiles
from napari_connecto.compute.versions import check_versions
from napari_connecto.compute.watch import LOOK_S, Watch
from napari_connecto.core.errors import ClusterError, InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

AHEAD = 3  # tasks per worker thread in the window: one runs, one waits, one travels
TRIES = 4  # how often a task is given out again after its worker was lost
CONNECT_S, SEND_S = 10.0, 120.0


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
    ClusterError
        If it runs other versions of Python or Dask than this process, which are named.
    """
    if scheduler and workers:
        raise InputError(f"got scheduler {scheduler} and {workers} workers; give one of them")
    if scheduler:
        with _closing(_reach(scheduler)) as client:
            yield client
    elif workers:
        local = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0")
        with local as cluster, _closing(Client(cluster)) as client:
            yield client
    else:
        yield None


def _reach(scheduler: str) -> Client:
    """A client of a scheduler that answers: Dask waits forever for a port that accepts connections and is silent."""
    try:
        if not scheduler.startswith("inproc"):
            with socket.create_connection(get_address_host_port(scheduler), timeout=CONNECT_S) as knock:
                if not scheduler.startswith(("tls", "ws")) and not knock.recv(1):  # a scheduler greets first
                    raise OSError("it closes the connection")
        return Client(scheduler, timeout=f"{CONNECT_S:g}s")
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot reach a Dask scheduler at {scheduler!r}: {' '.join(str(error).split())}; "
            "check the address, such as tcp://host:8786, and that the scheduler runs"
        ) from error
    except Exception as error:
        told = _versions(scheduler)
        check_versions(told or None, {})
        raise ClusterError(
            f"cannot talk with the Dask scheduler at {scheduler} ({' '.join(str(error).split())}); "
            "install the same versions of dask and distributed there"
        ) from error


def _versions(scheduler: str) -> dict[str, Any]:
    """Versions that a scheduler runs and a client does not understand; {} if it does not state them."""

    async def ask() -> dict[str, Any]:
        async with rpc(scheduler) as remote:
            return cast(dict[str, Any], await remote.versions(packages=[]))

    try:
        return asyncio.run(asyncio.wait_for(ask(), CONNECT_S))
    except (OSError, RuntimeError, TypeError, TimeoutError):
        return {}


@contextmanager
def _closing(client: Client) -> Iterator[Client]:
    """Close it at the end, in bounded time even if the cluster is gone; `Watch` reports losses in one line."""
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield client
    finally:
        with suppress(OSError, RuntimeError):
            client.close(timeout=CONNECT_S)
        log.setLevel(level)


@dataclass
class Window:
    """Submitted tasks: waiting, done out of order, and how often each was lost."""

    client: Client
    parcel: Parcel[Work]
    work: Work
    watch: Watch
    shared: Future
    done: as_completed
    waiting: dict[Future, tuple[int, list[Tile], int]] = field(default_factory=dict)
    ready: dict[int, Results] = field(default_factory=dict)
    looked: float = field(default_factory=monotonic)

    @classmethod
    def open(cls, client: Client, work: Work) -> Window:
        """Send the shared part to all workers."""
        parcel = Parcel.pack(replace(work, options=replace(work.options, meter=None)))
        watch = Watch(client, gpu=bool(work.predictor.card.network))
        done = as_completed(loop=client.loop, raise_errors=False)  # without the loop, Dask takes its default client
        return cls(client, parcel, work, watch, _share(watch, parcel), done)

    @property
    def full(self) -> bool:
        """Whether more tasks would only pile up."""
        return len(self.waiting) + len(self.ready) >= AHEAD * max(1, sum(self.watch.slots.values()))

    def submit(self, number: int, tiles: list[Tile], tries: int = 0) -> None:
        """Submit one task, to a worker that answers, with a GPU if there are any."""
        if self.client.status != "running":
            self.watch.look()
        future = self.client.submit(
            run_tiles,
            self.shared,
            tiles,
            pure=False,
            retries=0,
            workers=list(self.watch.slots) if self.watch.silent else None,
            allow_other_workers=bool(self.watch.silent),  # those may be gone before their turn
            resources=self.watch.resources,
        )
        self.waiting[future] = (number, tiles, tries)
        self.done.add(future)

    def collect(self) -> None:
        """Wait for one task to end; submit it again if its worker was lost.

        Raises
        ------
        ConnectoError
            What the task raised, that its workers died repeatedly, or that the cluster is lost.
        """
        future = self._next()
        if future not in self.waiting:  # taken back
            return
        number, tiles, tries = self.waiting.pop(future)
        try:
            results, counts = self._fetch(future)
        except CancelledError as error:  # the last worker that held the shared part was lost, or the scheduler
            if tries >= TRIES:
                raise ClusterError(f"lost the workers of a task {tries} times; check their memory and logs") from error
            self.watch.look()
            if self.shared.status != "finished":
                self.shared = _share(self.watch, self.parcel)
            self.submit(number, tiles, tries + 1)
        except KilledWorker as error:
            raise ClusterError(
                f"tiles {tiles[0].index} to {tiles[-1].index} ended every worker that ran them, probably for lack of "
                "memory; use smaller tiles or batches, or give workers more memory"
            ) from error
        except ImportError as error:
            raise _unequal(error) from error
        else:
            self.ready[number] = results
            if self.work.options.meter is not None:
                self.work.options.meter.add(**counts)

    def _fetch(self, future: Future) -> tuple[Results, dict[str, float]]:
        """Result of a task; `CancelledError` if only a worker that does not answer has it."""
        while True:
            try:
                return cast(tuple[Results, dict[str, float]], future.result(timeout=LOOK_S))
            except TimeoutError:
                if future.status == "error":
                    raise
                self.watch.look()
                if not self._reachable(future):
                    self.watch.ask(partial(self.client.cancel, [future], asynchronous=True, force=True))
                    raise CancelledError(future.key) from None

    def _next(self) -> Future:
        """The next task that ends; checks the workers from time to time."""
        while True:
            if monotonic() - self.looked > LOOK_S:
                self.watch.look()
                self._take_back()
                self.looked = monotonic()
            if self.done.has_ready():
                return next(self.done)
            with self.done.thread_condition:
                self.done.thread_condition.wait(0.1)

    def _take_back(self) -> None:
        """Submit the tasks of workers that do not answer to others, if there are any."""
        if not self.watch.silent or not self.watch.slots:
            return
        if self._reachable(self.shared):
            there = self.watch.ask(lambda: self.client.scheduler.processing(workers=None))
            keys = {key for worker, held in there.items() if worker in self.watch.silent for key in held}
        else:  # all tasks wait for it
            self.shared = _share(self.watch, self.parcel)
            keys = {future.key for future in self.waiting}
        for future in [f for f in self.waiting if f.key in keys]:
            number, tiles, tries = self.waiting.pop(future)
            self.watch.ask(partial(self.client.cancel, [future], asynchronous=True, force=True))
            self.submit(number, tiles, tries)

    def _reachable(self, future: Future) -> bool:
        """Whether a worker that answers holds what a future stands for."""
        holders = self.watch.ask(lambda: self.client.scheduler.who_has(keys=[future.key]))
        return bool(set(holders.get(future.key, ())) - self.watch.silent)

    def close(self) -> None:
        """Tell workers to stop and discard running tasks."""
        if not self.waiting or self.watch.lost:
            return
        with suppress(ClusterError):
            self.watch.ask(lambda: self.client.scheduler.event_set(name=self.work.stop))
            self.watch.ask(partial(self.client.cancel, list(self.waiting), asynchronous=True, force=True))


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


def _unequal(error: Exception) -> ClusterError:
    return ClusterError(f"a worker cannot run this ({error}); install the same napari-connecto on all workers")


def _share(watch: Watch, parcel: Parcel[Work]) -> Future:
    """Send the shared part to all workers that answer; again if one of them fell silent meanwhile."""
    while True:
        watch.wait()
        workers = list(watch.slots)
        send = partial(watch.client.scatter, parcel, workers, broadcast=True, hash=False, asynchronous=True)
        try:
            return watch.ask(send, SEND_S)
        except ClusterError:
            watch.look()
            if not set(workers) - set(watch.slots):
                raise
        except Exception as error:
            if "ModuleNotFoundError" in str(error):  # raised on a worker, it comes as text
                raise _unequal(error) from error
            raise
