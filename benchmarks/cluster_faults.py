"""Faults of a cluster in the middle of a run: does it go on, and if not, does one line say what to do?

``python -m benchmarks.cluster_faults [--tries N] [--only WORDS]`` starts a scheduler and two workers by address, lets
each fault happen at random moments (seeded), runs again where that ended the run, and compares every voxel with an
undisturbed run. It prints a table; ten tries of everything take about an hour, for it waits as long as users would.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from random import Random
from statistics import median

from benchmarks._cluster_faults import FAULTS, hurt, site


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    asked = parser.parse_args()
    moments = Random(0)
    print("| fault | tries | outcome |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as folder, site(Path(folder)) as place:
        for fault, (_, goes_on) in FAULTS.items():
            if asked.only not in fault:
                continue
            outcomes = [hurt(place, fault, moments.randrange(8, 160)) for _ in range(asked.tries)]
            took = (
                f"median {median(o.seconds for o in outcomes):.0f} s, at most {max(o.seconds for o in outcomes):.0f} s"
            )
            if goes_on:
                told = f"the run goes on and ends ({took} after the fault)"
            else:
                told = f'ends in one line ({took} after the fault): "{outcomes[-1].said}"; run again it goes on'
            kept = sum(o.kept for o in outcomes) - sum(o.before for o in outcomes)
            told += f"; no finished tile lost ({kept} more were kept), every voxel that of an undisturbed run"
            print(f"| {fault} | {len(outcomes)} | {told} |", flush=True)


if __name__ == "__main__":
    main()
