"""What a search has cost, kept in its folder: runs that follow each other add up."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from napari_connecto.compute.options import Meter
from napari_connecto.core.errors import StoreError
from napari_connecto.io.stores.job_folder import JobFolder

T = TypeVar("T")

COSTS = "costs.json"
FIGURES = ("calls", "seconds", "bytes")
WRITE_S = 1.0
"""What a killed search forgets at most."""


@dataclass
class Costs:
    """Calls made, seconds taken, bytes read and decoded, of all runs in a folder; by "level 0", ..., "audit".

    Made by `Costs.open`; the document is beside the scores and never taken away, so a finished search that is run
    again keeps its figures.
    """

    job: JobFolder
    spent: dict[str, dict[str, float]]

    @classmethod
    def open(cls, job: JobFolder) -> Costs:
        """Those of earlier runs, if any.

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
            raise StoreError(f"'{path}' is damaged; remove it, and what was spent until now is forgotten") from error

    def of(self, name: str) -> dict[str, float]:
        """Calls, seconds and bytes; zeros where nothing was run."""
        return self.spent.get(name) or dict.fromkeys(FIGURES, 0)

    def counted(self, name: str, results: Generator[T, None, None], meter: Meter) -> Generator[T, None, None]:
        """Pass on what a run gives, a call each, and write what it costs: as it goes on, and however it ends."""
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
