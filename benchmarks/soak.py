"""An hour of jobs in one process: do memory, threads and open files stay where they are?

``python benchmarks/soak.py [--minutes 60]`` runs detect, predict, segment and translate on small parts, over and over,
each stopped at a random moment, run again to its end and compared with its first result, byte for byte. It prints the
row of docs/reliability.md, and ends with exit code 1 if a result differs, or a thread or file stays behind.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _faults_jobs import differences, works
from scipy.stats import linregress

from napari_connecto.core.jobs import run
from napari_connecto.workflows.recipes.recipe import recipe_job

WARM = 0.2
"""Share of the time after which caches and arenas have their size."""


@dataclass(frozen=True)
class Sample:
    """What the process holds at a moment."""

    hours: float
    mib: float
    threads: int
    files: int


def recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """The jobs of `faults.py`, as documents."""
    em = {"volume": {"path": str(folder / "em.ome.zarr")}, "model": str(folder / "model")}
    blocks = {"block": [2, 32, 32], "halo": [0, 8, 8], "min_size": 4}
    cells = {"volume": {"path": str(folder / "cells.ome.zarr")}, "cascade": str(folder / "cascade")}
    xray = {"volume": {"path": str(folder / "xray.ome.zarr")}, "translator": str(folder / "translator")}
    jobs = {"detect": cells | {"params": {"audit": 20}}, "predict": em, "segment": em | {"params": blocks}}
    jobs["translate"] = xray
    return {name: {"workflow": name, "backend": "torch", **entries} for name, entries in jobs.items()}


def steps(recipe: dict[str, Any], out: Path) -> int:
    """Run a job to its end; how often it reported."""
    return sum(1 for _ in recipe_job({**recipe, "out": str(out)}))


def interrupted(recipe: dict[str, Any], out: Path, after: int) -> None:
    """Run a job, stop it after so many reports, and run it again."""
    job = recipe_job({**recipe, "out": str(out)})
    for _, _ in zip(range(after), job, strict=False):
        pass
    job.close()
    run(recipe_job({**recipe, "out": str(out)}))


def sampled(begin: float) -> Sample:
    """What is held now, garbage aside."""
    gc.collect()
    process = psutil.Process()
    memory = process.memory_info().rss / 2**20
    return Sample((time.monotonic() - begin) / 3600, memory, process.num_threads(), process.num_fds())


def soaked(folder: Path, minutes: float, seed: int) -> tuple[list[Sample], list[str]]:
    """A sample after each round of all jobs; what went wrong."""
    works(folder)
    rng, begin, wrong = np.random.default_rng(seed), time.monotonic(), []
    jobs = recipes(folder)
    reports = {name: steps(recipe, folder / f"{name}-first") for name, recipe in jobs.items()}
    samples = [sampled(begin)]
    while samples[-1].hours * 60 < minutes:
        for name, recipe in jobs.items():
            out = folder / f"{name}-again"
            interrupted(recipe, out, int(rng.integers(reports[name])))
            wrong += [f"{name}: {line}" for line in differences(out, folder / f"{name}-first")]
            shutil.rmtree(out)
        samples.append(sampled(begin))
    return samples, wrong


def row(samples: list[Sample], wrong: list[str]) -> str:
    """A line of the table; the slope after warming up, with its standard error."""
    last = samples[-1]
    warm = [s for s in samples if s.hours >= WARM * last.hours]
    line = linregress([s.hours for s in warm], [s.mib for s in warm])
    rounds = len(samples) - 1
    return (
        f"| {last.hours * 60:.0f} minutes, each job stopped and run again | {4 * rounds} | {len(wrong)} wrong; memory "
        f"{warm[0].mib:.0f} MiB, then {last.mib:.0f}: {line.slope:+.1f} +- {line.stderr:.1f} MiB an hour; threads "
        f"{warm[0].threads}, then {last.threads}; open files {warm[0].files}, then {last.files} |"
    )


def main() -> None:
    """Print a table of one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        samples, wrong = soaked(Path(folder), options.minutes, options.seed)
    print("| what | jobs | outcome |\n|---|---:|---|\n" + row(samples, wrong))
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    warm, last = samples[len(samples) // 5], samples[-1]
    sys.exit(1 if wrong or last.threads > warm.threads or last.files > warm.files else 0)


if __name__ == "__main__":
    main()
