"""Time and memory of translating the sample: ``python benchmarks/_translate_speed.py FOLDER BACKEND``."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 2


def main(folder: str, backend: str) -> None:
    """Translate the sample 'xray-test' a few times and print the best time as JSON."""
    import napari_connecto as nc

    volume = nc.open_sample("xray-test")
    translator = nc.load_translator(folder, backend=backend)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, cpu = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as out:
            began, used = time.perf_counter(), time.process_time()
            found = nc.translate(volume, translator, out=Path(out) / "t")
            times.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
    voxels = found.mean.levels[0].box.size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"seconds": min(times), "cpu_s": min(cpu), "cpu_s_per_megavoxel": min(cpu) / voxels * 1e6}
    print(json.dumps(told | {"megavoxels": voxels / 1e6, "peak_gb": peak / 1e6, "before_gb": before / 1e6}))


def measured(folder: Path, backend: str) -> dict[str, float]:
    """The same in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, str(folder), backend]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.strip().split("\n")[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
