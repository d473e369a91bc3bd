"""Cost of a search, stored in its folder and added up over its runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from napari_connecto.compute.options import Meter
from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import Job
from napari_connecto.io.stores.job_folder import JobFolder

T = TypeVar("T")

COSTS = "costs.json"
FIGURES = ("calls", "seconds", "bytes")
WRITE_S = 1.0
"""Cost lost at most when a search is killed."""


@dataclass
class Costs:
    """Calls made, seconds taken, bytes read and decoded, over all runs in a folder; by "level 0", ..., "audit",
    "objects".

    Made by `Costs.open`; the document is beside the scores and never removed, so a finished search that is run again
    keeps its figures.
    """

    job: JobFolder
    spent: dict[str, dict[str, float]]

    @classmethod
    def open(cls, job: JobFolder) -> Costs:
        """Cost of earlier runs, if any.

        Raises
        ------
        StoreError
            If the document is damaged.
        """
        path = job.path / COSTS
        stored = job.read_json(COSTS) if path.exists() else {}
        try:
            return cls(job, {name: {key: costs[key] + 0 for key in FIGURES} for name, costs in stored.items()})
        except (AttributeError, LookupError, TypeError) as error:
            raise StoreError(f"'{path}' is damaged; remove it, which resets the cost of earlier runs") from error

    def of(self, name: str) -> dict[str, float]:
        """Calls, seconds and bytes; zeros if nothing was run."""
        return self.spent.get(name) or dict.fromkeys(FIGURES, 0)

    def timed(self, name: str, job: Job[T]) -> Job[T]:
        """A part of a run without calls: the seconds of the first run that finishes it count."""
        started = time.perf_counter()
        result = yield from job
        if name not in self.spent:
            self.spent[name] = dict.fromkeys(FIGURES, 0) | {"seconds": time.perf_counter() - started}
            self.job.write_json(COSTS, self.spent)
        return result

    def counted(self, name: str, results: Generator[T, None, None], meter: Meter) -> Generator[T, None, None]:
        """Pass on the results of a run, one per call, and record its cost while it runs and at any end."""
        before, calls = self.of(name), 0
        started = written = time.perf_counter()

        def write() -> None:
            spent = (calls, time.perf_counter() - started, meter.counts()["bytes_read"])
            self.spent[name] = {key: before[key] + new for key, new in zip(FIGURES, spent, strict=True)}
            self.job.write_json(COSTS, self.spent)

        try:
            for result in results:
                calls += 1
                if time.perf_counter() - written > WRITE_S:
                    write()
                    written = time.perf_counter()
                yield result
        finally:
            results.close()
            write()
