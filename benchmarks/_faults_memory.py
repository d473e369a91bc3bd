"""Memory that runs out: an address space with a limit, and a GPU that says so (simulated)."""

from __future__ import annotations

import re
import resource
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import torch
from _faults_disk import told
from _faults_jobs import run
from _faults_kill import Bench, Row

import napari_connecto
from napari_connecto.models.inference.predictor import TorchPredictor

MEGABYTE = 2**20
BY_A_SIGNAL = (-signal.SIGSEGV, -signal.SIGABRT)
"""How native libraries end that do not ask whether they got the memory; nobody can say a line after that."""
STILLBORN = "Exception ignored in thread started by"
"""What Python says when a new thread finds no memory for its first call; who started it is never told, and waits."""
PATIENCE_S = 120.0


def limited(room: int) -> Callable[[], None]:
    """What leaves a process so many bytes of address space beyond those it has once all is imported.

    Where memory ends within an import nothing of ours decides: native modules crash there, and pandas' spins for ever.
    """

    def limit() -> None:
        import_module("monai.networks.nets")
        for module in walk_packages(napari_connecto.__path__, "napari_connecto."):
            if "widgets" not in module.name and "__main__" not in module.name:
                import_module(module.name)
        has = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (has + room, has + room))

    return limit


def short(bench: Bench, name: str, tries: int) -> Row:
    """An address space of any size from almost nothing to plenty; then without a limit."""
    row = Row(f"address space limited, {name}")
    for n in range(tries):
        out = bench.fresh(f"{name}-short")
        ended = run(bench.works[name], out, limited(int((0.2 + n) / tries * 512 * MEGABYTE)), seconds=PATIENCE_S)
        _then(bench, name, out, ended, row)
    return row


def full_gpu(room: int, every: int = 1) -> Callable[[], None]:
    """What makes every so manieth forward pass of more than ``room`` tiles end as on a full GPU."""

    def patch() -> None:
        forward, lock, passes = TorchPredictor._forward, threading.Lock(), 0

        def hungry(model: TorchPredictor, batch: object, seeds: list[int]) -> object:
            nonlocal passes
            with lock:
                passes += 1
                fails = len(batch) > room and passes % every == 0
            if fails:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")
            return forward(model, batch, seeds)

        TorchPredictor._forward = hungry

    return patch


def gpu(bench: Bench, name: str, tries: int) -> Row:
    """A GPU with room for fewer tiles than a batch has, for none, or for none from some pass on."""
    row = Row(f"CUDA out of memory (simulated), {name}")
    for n in range(tries):
        out = bench.fresh(f"{name}-gpu")
        room, every = ((2, 1), (1, 1), (0, 1), (0, int(bench.rng.integers(2, 30))))[n % 4]
        ended = run(bench.works[name], out, full_gpu(room, every))
        _then(bench, name, out, ended, row)
    return row


def _then(bench: Bench, name: str, out: Path, ended: object, row: Row) -> None:
    row.tries += 1
    if ended.done or (ended.code == 0 and "out of memory" in ended.said):
        row.outcomes["went on (in smaller batches), identical"] += 1
        row.wrong += [f"says it is done: {line}" for line in bench.wrong(name, out)]
    elif _last_told(name, ended) and "memory" in ended.said:
        row.outcomes["stopped with one line, resumed, identical"] += 1
    elif ended.code in BY_A_SIGNAL:
        row.outcomes["crashed inside a library, resumed, identical"] += 1
    elif ended.code is None and STILLBORN in ended.said:
        row.outcomes["waited for a thread that died unborn, killed, resumed, identical"] += 1
    else:
        row.wrong.append(str(ended))
    row.wrong += bench.half_written(name, out) if out.exists() else []
    again = run(bench.works[name], out)
    row.wrong += bench.wrong(name, out) if again.done else [f"again: {again}"]


def _last_told(name: str, ended: object) -> bool:
    """It stopped with one line, perhaps after having said that batches are smaller; allocators may talk."""
    lines = [line for line in ended.said.splitlines() if not line.startswith(("out of memory on ", "<jemalloc>"))]
    return told(name, type(ended)(ended.code, "\n".join(lines)))
