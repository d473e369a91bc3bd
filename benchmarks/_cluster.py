"""A Dask cluster as users start it, each part a process that can be killed or frozen, and a network that can be cut."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cloudpickle
import numpy as np

from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume

NM = (40.0, 8.0, 8.0)
TILE = (8, 16, 16)


class Cluster:
    """``dask scheduler`` and some ``dask worker ADDRESS``, on this machine; use it as a context manager."""

    def __init__(self, folder: Path, workers: int = 2, options: Sequence[str] = ()) -> None:
        self.folder, self.options = folder, list(options)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()

    def start_scheduler(self) -> None:
        """At the same address each time."""
        self.scheduler = self._run("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        wait_for(lambda: _answers(self.port), "the scheduler")

    def start_worker(self) -> None:
        """One thread, no nanny: what is killed stays dead."""
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder), *self.options]
        self.workers.append(self._run("worker", self.address, *options))

    def heal(self) -> None:
        """Start all of it anew, at the same address."""
        for process in (*self.workers, self.scheduler):
            kill(process)
        count, self.workers = len(self.workers), []
        self.start_scheduler()
        for _ in range(count):
            self.start_worker()

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self.workers, self.scheduler):
            kill(process)


class Proxy:
    """A TCP port that passes everything on to another, until it is cut (connections close) or silent (they do not)."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.open = threading.Event()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        """Let everything pass."""
        self.open.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close all connections and take no new ones."""
        if self._listener is not None:
            _close(self._listener)
            self._listener = None
        for end in self._ends:
            _close(end)
        self._ends = []

    def silence(self) -> None:
        """Connections stay, nothing passes."""
        self.open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # nobody there now
                _close(near)
                continue
            self._ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                self.open.wait()
                sink.sendall(content)
        _close(source)
        _close(sink)


class Slow:
    """A predictor that takes its time: how far every voxel is from the mean around it along x."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.card = ModelCard("slow", "test", NM, TILE, (0, 2, 2), (Output("value"),), digest="slow")

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        time.sleep(self.seconds)
        around = (np.roll(batch[:, 0], 1, -1) + np.roll(batch[:, 0], -1, -1)) / 2
        return {"value": np.abs(batch[:, 0] - around) / 255}


@dataclass(frozen=True)
class Keep:
    """Sink: write a tile where it was computed."""

    store: TileStore

    def __call__(self, tile: Tile, blocks: Mapping[str, np.ndarray]) -> None:
        self.store.write_blocks(tile, blocks)


def noise(folder: Path, tiles: tuple[int, int] = (12, 20)) -> Level:
    """A saved volume of so many tiles of `Slow` along y and x."""
    shape = (TILE[0], TILE[1] * tiles[0], TILE[2] * tiles[1])
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    save_volume(Volume.from_array(array, NM), folder / "noise.ome.zarr", levels=1)
    return open_volume(folder / "noise.ome.zarr").levels[0]


def kill(process: subprocess.Popen[bytes]) -> None:
    """At once, also what is frozen."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()


def freeze(process: subprocess.Popen[bytes]) -> None:
    """It is there and does nothing."""
    process.send_signal(signal.SIGSTOP)


def wait_for(condition: object, what: str, limit_s: float = 60.0) -> None:
    """Until ``condition()`` holds."""
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise SystemExit(f"waited {limit_s:g} s for {what} in vain")
        time.sleep(0.05)


def free_port() -> int:
    """That nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not find this file
