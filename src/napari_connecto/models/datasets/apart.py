"""Run a loader of published data in a process of its own, which can be ended; what it left unfinished is deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread
from typing import IO, Any

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import ConnectoError, InputError, ModelError
from napari_connecto.core.jobs import POLL_S, Job, Progress
from napari_connecto.models.datasets.loaders import em_dataset, load
from napari_connecto.models.datasets.stage import Stage
from napari_connecto.models.datasets.table import EmDataset


def load_job(dataset: EmDataset, folder: Path) -> Job[tuple[Path, Path]]:
    """`load` as a job that ends at once when it is closed.

    A loader writes files under their final names, and takes a file that is there for whole. So it works in a `Stage`:
    what it has made gets among the data when it has come to its end, and is deleted otherwise: when the job is closed,
    or by the next one, if this process was killed. One job at a time may work in a folder.

    Raises
    ------
    InputError, ModelError
        As `load`.
    StoreError
        As `Stage`.
    """
    stage = Stage(folder)
    try:
        yield from stage.fill_job()
        image, labels = yield from _process_job(dataset, stage.path)
        stage.settle()
        return stage.settled(image), stage.settled(labels)
    finally:
        stage.remove()


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
