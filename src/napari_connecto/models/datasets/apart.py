"""Run a loader of published data in a process of its own, which can be ended; what it left unfinished is deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import IO, Any

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import ConnectoError, InputError, ModelError
from napari_connecto.core.jobs import POLL_S, Job, Progress
from napari_connecto.core.whole import whole_file
from napari_connecto.models.datasets.loaders import em_dataset, load
from napari_connecto.models.datasets.table import EmDataset

RUNNING = ".loading.json"
"""In the data's folder while a loader works there: the files from before, with their sizes and times."""


def load_job(dataset: EmDataset, folder: Path) -> Job[tuple[Path, Path]]:
    """`load` as a job that ends at once when it is closed.

    A loader writes files under their final names, and takes a file that is there for whole. So the files from before
    are noted, and what a loader has made or changed without coming to its end is deleted: when the job is closed, or
    by the next one, if this process was killed.

    Raises
    ------
    InputError, ModelError
        As `load`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    with whole_file(folder / RUNNING) as partial:
        partial.write_text(json_text(_files(folder)), encoding="utf-8")
    try:
        found = yield from _process_job(dataset, folder)
        (folder / RUNNING).unlink()
        return found
    finally:
        remove_unfinished(folder)


def is_whole(path: Path, folder: Path) -> bool:
    """Whether a file is in a folder of data, and not what a loader has left unfinished."""
    before = _noted(folder)
    return path.exists() and (before is None or before.get(_name(path, folder)) == _state(path))


def remove_unfinished(folder: Path) -> None:
    """Delete what a loader has made or changed in a folder without coming to its end."""
    before = _noted(folder)
    if before is None:
        return
    for name, state in _files(folder).items():
        if before.get(name) != state:
            (folder / name).unlink()
    (folder / RUNNING).unlink()


def _noted(folder: Path) -> Mapping[str, Any] | None:
    """The files from before a loader began; None if none is unfinished."""
    path = folder / RUNNING
    if not path.is_file():
        return None
    found = parse_json(path.read_bytes(), f"'{path}'", ModelError, "delete its folder to download the data again")
    if not isinstance(found, dict):
        raise ModelError(f"'{path}' is damaged; delete its folder to download the data again")
    return found


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of every file, by its place in the folder."""
    there = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / RUNNING)
    return {_name(path, folder): _state(path) for path in there if not path.name.startswith(f".{RUNNING}.")}


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _state(path: Path) -> list[int]:
    told = path.stat()
    return [told.st_size, told.st_mtime_ns]


def _process_job(dataset: EmDataset, folder: Path) -> Job[tuple[Path, Path]]:
    """`load` in another process, which is ended with this job, and with this process."""
    command = [sys.executable, "-m", __name__, dataset.name, str(folder)]
    seen = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=answer, stderr=errors, env=seen, start_new_session=True
        )
        try:
            while process.poll() is None:
                yield Progress(0, 1)
                try:
                    process.wait(POLL_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(process)
        return _answered(dataset, answer, errors, process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, with what it has started."""
    assert process.stdin is not None
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    process.stdin.close()


def _answered(dataset: EmDataset, answer: IO[bytes], errors: IO[bytes], code: int) -> tuple[Path, Path]:
    lines, last = _lines(answer), _lines(errors)[-1:]
    if code != 0 or not lines:
        reason = last[0] if last else f"its process ended with code {code}"
        raise InputError(f"cannot get '{dataset.name}' ({reason:.200}); run the command again")
    told = json.loads(lines[-1])
    if "said" in told:
        raise {kind.__name__: kind for kind in (InputError, ModelError)}[told["error"]](told["said"])
    image, labels = told["paths"]
    return Path(image), Path(labels)


def _lines(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]


def main(name: str, folder: str) -> None:
    """What the other process does: the answer is the last line that it writes."""
    Thread(target=_end_with_input, daemon=True).start()
    try:
        told: dict[str, Any] = {"paths": [str(path) for path in load(em_dataset(name), Path(folder))]}
    except ConnectoError as error:
        told = {"error": type(error).__name__, "said": str(error)}
    print(json_text(told), flush=True)


def _end_with_input() -> None:
    """Its input ends with the process that started it."""
    if not os.read(0, 1):
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
