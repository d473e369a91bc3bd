"""What is disturbed: each workflow as its command runs it, in a process of its own, on parts that take a second or two.

The script's own process imports everything, starts no thread and reads no zarr, so that each run is a fork of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import tiny, translate_parts

from napari_connecto import cli
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.tiles import TilePlan
from napari_connecto.io.disk import read_json
from napari_connecto.io.stores.journal import Journal
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.cascade.search.descent import Scores
from napari_connecto.workflows.cascade.search.run import FLOOR

TIMEOUT_S = 600.0
CHANGING = (".partial", ".lock", "recipe.yaml", "job.json", "batches.json", "costs.json", "scores_audit.bin")
"""What may differ between two runs of one job: leftovers, and what tells where and when it ran."""


@dataclass(frozen=True)
class Work:
    """A job that comes back to what it finds in its folder."""

    name: str
    run: Callable[[Path], None]
    source: Path | None = None


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (-9: killed, None: it hung) and what it said on stderr."""

    code: int | None
    said: str

    @property
    def done(self) -> bool:
        """It says that all was written."""
        return self.code == 0

    @property
    def told(self) -> bool:
        """It stopped with one line for the user."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("napari-connecto: ")

    def __str__(self) -> str:
        return f"exit {self.code}: {self.said.strip()[-900:]}"


def works(folder: Path) -> dict[str, Work]:
    """Inputs in ``folder``, and the jobs on them."""
    at = {name: folder / name for name in ("cascade", "model", "translator", "xray.ome.zarr", "em.ome.zarr")}
    if not at["cascade"].exists():
        ended = wait(start(lambda: _make(folder, at), folder / "make.log"), folder / "make.log")
        assert ended.done, ended
    cells, em, torch = folder / "cells.ome.zarr", at["em.ome.zarr"], ("--backend", "torch")
    detect = ("detect", cells, "--cascade", at["cascade"], "--audit", "20", *torch)
    predict = ("predict", em, "--model", at["model"], *torch)
    sizes = ("--block", "2", "32", "32", "--halo", "0", "8", "8", "--min-size", "4")
    segment = ("segment", em, "--model", at["model"], *sizes, *torch)
    translate = ("translate", at["xray.ome.zarr"], "--translator", at["translator"], *torch)
    commands = {"detect": detect, "predict": predict, "segment": segment, "translate": translate}
    return {name: Work(name, _Command(parts), Path(parts[1])) for name, parts in commands.items()}


@dataclass(frozen=True)
class _Command:
    parts: tuple[str | Path, ...]

    def __call__(self, out: Path) -> None:
        sys.argv = ["napari-connecto", *map(str, self.parts), "--out", str(out), "--progress", "json"]
        cli.main()


def _make(folder: Path, at: dict[str, Path]) -> None:
    """Untrained networks: what they say is arbitrary, and the same every time."""
    tiny.cascade(tiny.volume(folder), at["cascade"])
    em = phantom("neuropil", (8, 64, 64), seed=3).image
    save_volume(em, at["em.ome.zarr"], levels=1)
    network = {"kind": "unet", "dims": 2, "width": 4, "depth": 2}
    card = ModelCard("tiny", "boundary", (40.0, 8.0, 8.0), (1, 32, 32), (0, 16, 16), (Output("boundary"),))
    save_model(tiny.tuned(em, replace(card, network=network), pass_share=0.7), at["model"])
    design = translate_parts.untrained()
    small = (replace(m.card, tile=(16, 32, 32)) for m in design.members)
    members = tuple(new_model(card, seed, device="cpu") for seed, card in enumerate(small))
    replace(design, members=members).save(at["translator"])
    save_volume(translate_parts.xray((16, 32, 32)), at["xray.ome.zarr"], levels=1)


def start(work: Callable[[], None], log: Path, before: Callable[[], None] = lambda: None) -> int:
    """Fork a process in a group of its own; ``before`` is called there first."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        for number, name in ((1, log), (2, log.with_suffix(".err"))):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        before()
        work()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 (the process ends here)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(process: int, log: Path, seconds: float = TIMEOUT_S) -> Ended:
    """Wait for a process; one that does not end in time is killed, and hung."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return Ended(os.waitstatus_to_exitcode(status), _tail(log))
        time.sleep(0.002)
    kill(process)
    return Ended(None, "hung\n" + _tail(log))


def kill(process: int) -> bool:
    """``kill -9`` of the group, unless it has ended; whether it was killed."""
    found, _ = os.waitpid(process, os.WNOHANG)
    if found:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def run(
    work: Work,
    out: Path,
    before: Callable[[], None] = lambda: None,
    log: Path | None = None,
    seconds: float = TIMEOUT_S,
) -> Ended:
    """Run a job to its end; ``log`` is beside the result if it is not given."""
    log = log or out.with_name(f"{out.name}.log")
    return wait(start(lambda: work.run(out), log, before), log, seconds)


def _tail(log: Path) -> str:
    path = log.with_suffix(".err")
    return path.read_text(errors="replace") if path.exists() else ""


def over(process: int) -> bool:
    """Whether a process has ended; it can still be waited for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def stage(out: Path) -> str:
    """In which stage a run was last seen."""
    for line in reversed(out.with_name(f"{out.name}.log").read_text().splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(line)["stage"])
    return "annotating" if Path(f"{out}.kept").exists() else "starting"


def contents(out: Path) -> dict[str, str]:
    """Digest of every file of a result that must not depend on how it came about."""
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        if path.name.endswith(CHANGING):
            continue
        if path.name == "tiles.journal":
            data = str(sorted(set(Journal(path, np.int64).records().tolist()))).encode()
        elif path.name.startswith("scores_"):
            data = str(sorted(Scores.open(path).known.items())).encode()
        elif path.name == "report.json":
            report = read_json(path)
            data = str([report["objects"], report["audit"], [x["calls"] for x in report["levels"]]]).encode()
        else:
            data = path.read_bytes()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def differences(out: Path, reference: Path) -> list[str]:
    """Files that are not as in the undisturbed run."""
    got, wanted = contents(out), contents(reference)
    return [f"{name} differs" for name in sorted(got.keys() | wanted.keys()) if got.get(name) != wanted.get(name)]


def half_written(out: Path, reference: Path) -> list[str]:
    """Tiles that an unfinished result calls done, and documents that end a job, which are not as undisturbed."""
    found = []
    for described in out.rglob("tiles.json"):
        store = described.parent
        where = reference / store.relative_to(out)
        if not (where / "tiles.json").exists():
            continue  # intermediate; what is made of it is compared in the end
        about = read_json(described)
        plan = TilePlan(tuple(about["shape"]), tuple(about["tile"]))
        done = Journal(store / "tiles.journal", np.int64).records().tolist()
        scores = out / "scores_0.bin"
        if store.name == "map" and scores.exists():
            done = [index for index, score in Scores.open(scores).known.items() if score >= FLOOR]
        for index in done:
            found += [f"{key} of a done tile" for key in _chunks(store, plan, index) if _other(store, where, key)]
    for name in ("detections.csv", "segments.json", "translation.json", "worst.json", "ood_check.json"):
        if (out / name).exists() and (out / name).read_bytes() != (reference / name).read_bytes():
            found.append(f"{name} differs")
    return found


def _chunks(store: Path, plan: TilePlan, index: int) -> Iterator[str]:
    at = "/".join(str(int(i)) for i in plan.cells([index])[0])
    for level in store.glob("*.zarr/*/zarr.json"):
        yield f"{level.parent.relative_to(store)}/c/{at}"


def _other(store: Path, where: Path, key: str) -> bool:
    got, wanted = store / key, where / key
    return got.exists() != wanted.exists() or (got.exists() and got.read_bytes() != wanted.read_bytes())
