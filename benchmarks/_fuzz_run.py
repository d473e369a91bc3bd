"""One class of input in a process of its own, so that what hangs, dies or takes all memory is noticed too."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzzing.target import Target, accepted
from tests.fuzzing.targets import make_target

ROUND = 250
"""Inputs between two notes of how far it is."""
MEMORY = 2 * 2**30
"""Bytes of address space that all inputs together may take beyond what the libraries do."""
STUCK = 180.0
"""Seconds after which a process that waits, or does not even answer the alarm, is ended."""


def main(name: str, inputs: int, start: int, notes: Path) -> None:
    """Try inputs from number ``start`` on; one JSON line per round in ``notes``."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        (Path(folder) / "target").mkdir()
        target, last = make_target(name, Path(folder) / "target"), Path(tempfile.gettempdir()) / f"fuzz-{name}.last"
        for number in range(20):  # what the libraries take
            Counts(last).note(target, target.make(Random(f"{name} {number}")))
        limit = _address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for first in range(start, inputs, ROUND):
            counts, begun, end = Counts(last), time.perf_counter(), min(first + ROUND, inputs)
            for number in range(first, end):
                counts.note(target, target.make(Random(f"{name} {number}")), number)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
            line = {"end": end, "title": target.name, "seconds": time.perf_counter() - begun, "grown_kb": grown}
            with notes.open("a") as file:
                file.write(json.dumps({**line, **counts.told()}) + "\n")


class Counts:
    """How the inputs of a round ended."""

    def __init__(self, last: Path) -> None:
        self.accepted = self.refused = 0
        self.slowest = 0.0
        self.defects: dict[str, dict[str, Any]] = {}
        self.last = last

    def note(self, target: Target, value: Any, number: int = -1) -> None:
        """Feed one input; whatever comes out but a refusal is a defect."""
        self.last.write_text(str(number))
        faulthandler.dump_traceback_later(STUCK, exit=True)
        begun = time.process_time()
        try:
            if accepted(target, value):
                self.accepted += 1
            else:
                self.refused += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (that is what is looked for)
            about = {"count": 0, "number": number, "error": repr(error)[:300], "input": repr(value)[:3000]}
            self.defects.setdefault(_place(error), about)["count"] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
            self.slowest = max(self.slowest, time.process_time() - begun)

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {key: getattr(self, key) for key in ("accepted", "refused", "slowest", "defects")}


def _place(error: BaseException) -> str:
    """Type of the error, and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "napari_connecto" in f.filename] or frames
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno} ({frames[-1].name})"


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
