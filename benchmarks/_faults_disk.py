"""A disk that is full, read-only, forbidden, or taken away."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from _faults_jobs import Ended, run, start, wait
from _faults_kill import Bench, Row

NOBODY = 65534
KEPT_WORDS = {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}


def refuse_writes(out: Path, after: int, code: int, count: Path | None = None) -> Callable[[], None]:
    """What makes a process refuse every write below ``out`` from write point ``after`` on; ``count`` logs the points.

    A write point is where a file is made or opened for writing, renamed, or a folder made.
    """
    seen, below = 0, str(out)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event not in ("open", "os.rename", "os.mkdir", "os.truncate") or below not in str(arguments[0]):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        seen += 1
        if count is not None:
            with open(os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
                file.write(str(seen))
        if seen > after:
            raise OSError(code, os.strerror(code), str(arguments[0]))

    return lambda: sys.addaudithook(hook)


def refused(bench: Bench, name: str, tries: int, code: int) -> Row:
    """Writes are refused from a write point on, each as likely; then allowed again."""
    row = Row(f'"{KEPT_WORDS[code]}" from a write point on, {name}')
    out, count = bench.fresh(f"{name}-counted"), bench.folder / f"{name}-points"
    run(bench.works[name], out, refuse_writes(out, 10**9, code, count))
    points = int(count.read_text())
    row.fault += f" ({points} points)"
    for after in bench.rng.choice(points, min(tries, points), replace=False):
        out = bench.fresh(f"{name}-refused")
        ended = run(bench.works[name], out, refuse_writes(out, int(after), code))
        _then(bench, name, out, ended, row, KEPT_WORDS[code])
    return row


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a `small_disk`."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def full(bench: Bench, name: str, tries: int) -> Row:
    """A file system of any size below what the result needs; then room is made."""
    row = Row(f"file system full (tmpfs), {name}")
    reference = bench.reference(name).out
    needed = sum(-(-max(p.stat().st_size, 1) // 4096) * 4 for p in reference.rglob("*") if p.is_file())
    for size in np.linspace(4, needed, tries, endpoint=False, dtype=int):
        with small_disk(bench.folder / "small", int(size) // 4 * 4) as disk:
            ended = run(bench.works[name], disk / "out", log=bench.folder / "small.log")
            remount(disk, "size=1g")
            _then(bench, name, disk / "out", ended, row, "No space left")
    return row


def read_only(bench: Bench, name: str, tries: int) -> Row:
    """A file system becomes read-only after a job was killed there; then it is writable again."""
    row = Row(f"read-only file system (tmpfs), {name}")
    for n in range(tries):
        with small_disk(bench.folder / "small", 2**18) as disk:
            if n:
                bench.cut_off(name, disk / "out")
            remount(disk, "ro")
            ended = run(bench.works[name], disk / "out", log=bench.folder / "small.log")
            remount(disk, "rw")
            _then(bench, name, disk / "out", ended, row, "Read-only file system")
    return row


def forbidden(bench: Bench, name: str, tries: int) -> Row:
    """Another user may not write there; then the owner goes on."""
    row = Row(f"permission denied, {name}")
    for n in range(tries):
        out = bench.fresh(f"{name}-forbidden")
        if n:
            bench.cut_off(name, out)
        log = bench.folder / f"{name}-nobody.log"
        ended = wait(start(lambda out=out: bench.works[name].run(out), log, lambda: os.setuid(NOBODY)), log)
        _then(bench, name, out, ended, row, "Permission denied")
    return row


def deleted(bench: Bench, name: str, tries: int) -> Row:
    """The folder is deleted at a random moment before all was written; then the job is run again."""
    row = Row(f"folder deleted during {name}")
    while row.tries < tries:
        out = bench.fresh(f"{name}-deleted")
        process = bench.started(name, out)
        with frozen(process) as at_work:
            in_time = at_work and bool(bench.wrong(name, out))
            shutil.rmtree(out, ignore_errors=True)
        for _ in range(20 if in_time else 0):
            shutil.rmtree(out, ignore_errors=True)
        ended = wait(process, out.with_name(f"{out.name}.log"))
        if in_time:
            _then(bench, name, out, ended, row, "", deletes=True)
    return row


@contextmanager
def frozen(process: int) -> Iterator[bool]:
    """Stop a process from `start` meanwhile; whether it had not ended."""
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGSTOP)
    state = os.waitid(os.P_PID, process, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        yield state.si_code == os.CLD_STOPPED
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGCONT)


def _then(bench: Bench, name: str, out: Path, ended: Ended, row: Row, why: str, deletes: bool = False) -> None:
    """Judge how a disturbed run ended, and that an undisturbed one puts it right."""
    row.tries += 1
    if ended.done:
        row.outcomes["whole all the same"] += 1
        row.wrong += [f"says it is done: {line}" for line in bench.wrong(name, out)]
    elif told(name, ended) and why in ended.said:
        row.outcomes["stopped with one line, resumed, identical"] += 1
    else:
        row.wrong.append(str(ended))
    row.wrong += bench.half_written(name, out) if out.exists() else []
    again = run(bench.works[name], out)
    if deletes and told(name, again):  # what is left of a folder is no job's
        row.outcomes["what was left is refused as no job's folder"] += 1
        shutil.rmtree(out)
        again = run(bench.works[name], out)
    row.wrong += bench.wrong(name, out) if again.done else [f"again: {again}"]


def told(name: str, ended: Ended) -> bool:
    """It stopped with one line; a session, which is no command, with our own error (in a stroke: the system's)."""
    ours = any(sign in ended.said for sign in ("napari_connecto.core.errors.", "Error: [Errno"))
    return ended.told or (name == "annotate" and ended.code == 1 and ours)
