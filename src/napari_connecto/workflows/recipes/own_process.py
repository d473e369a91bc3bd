"""Run a recipe in a process of its own: killable, and its memory is given back."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from napari_connecto.core.errors import SHORT_OF_MEMORY, ConnectoError
from napari_connecto.core.jobs import Job, Progress, progress_of
from napari_connecto.workflows.recipes.entries.run import Run, Summary
from napari_connecto.workflows.recipes.recipe import write_recipe

HEARTBEAT_S = 0.2


def run_in_subprocess(run: Run, folder: str | Path) -> Job[Summary]:
    """Do a run as ``napari-connecto run`` does, in another process.

    Parameters
    ----------
    run
        What to do; inputs are files.
    folder
        Where the recipe is written.

    Yields
    ------
    Progress
        At least five times a second, so that closing this generator ends the process at once.

    Raises
    ------
    ConnectoError
        With the process's own line of explanation, or that memory ran out, if it fails.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / "recipe.yaml"
    write_recipe(run, path)
    command = [sys.executable, "-m", "napari_connecto", "run", str(path), "--progress", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdout is not None
    assert process.stderr is not None
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        summary = yield from _follow(lines)
        for reader in readers:
            reader.join()
        if process.wait() != 0 or summary is None:
            raise ConnectoError(why_ended(errors, process.returncode))
        return summary
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def why_ended(errors: Sequence[str], code: int) -> str:
    """Why a process failed, in one line: its own last words, or that memory ran out.

    Parameters
    ----------
    errors
        Lines of its standard error.
    code
        Its exit code; -9 is what Linux does to a process when memory runs out.
    """
    words = [line.strip() for line in errors if line.strip()]
    last = words[-1].removeprefix("napari-connecto: ") if words else f"the process ended with code {code}"
    if code == -getattr(signal, "SIGKILL", 9) or any(sign in last.lower() for sign in SHORT_OF_MEMORY):
        return "out of memory: use a smaller batch or crop, or close other programs; finished parts are saved"
    return last


def _pump(stream: Iterable[str] | IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _follow(lines: queue.Queue[str | None]) -> Job[Summary | None]:
    """Progress from JSON lines, repeated as a heartbeat while nothing comes; returns the summary line."""
    last, summary = Progress(0, 0, "starting"), None
    while True:
        yield last
        try:
            line = lines.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            continue
        if line is None:
            return summary
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "summary" in message:
            summary = Summary.from_json(message["summary"])
        elif "stage" in message:
            last = progress_of(message)
