"""Broken and hostile input: ``python benchmarks/fuzz.py`` prints the table of docs/benchmarks/fuzzing.md.

Every class of input that is parsed is broken by structure (`tests/fuzzing`) and fed to the program. An input must be
accepted, or refused by one of our own errors in one short line, within 5 s of processor time, within 2 GiB, and
without the network; anything else is a defect. ``--only CLASS`` tries one class, ``--inputs N`` so many of each, and a
run that was stopped goes on from the notes in ``--notes``. Ten minutes on a quiet core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

INPUTS = {
    "logs": 25_000,
    "safetensors": 20_000,
    "tables": 15_000,
    "cards": 15_000,
    "adapters": 10_000,
    "arguments": 6000,
    "zarr-arrays": 3000,
    "ome-zarr-0.4": 2000,
    "ome-zarr-0.5": 2000,
    "pictures": 2000,
    "tiff": 1500,
    "hdf5": 1500,
    "zarr-chunks": 1500,
    "recipes": 1500,
    "labels": 1000,
    "sessions": 1000,
    "descriptions": 1000,
    "archives": 500,
    "folders": 500,
}
"""More of what takes 2 ms, fewer of what takes 30."""
NOTES = Path(tempfile.gettempdir()) / "napari-connecto-fuzz"
DEATHS = 20
"""Processes of a class that may die before it is given up."""


def tried(name: str, inputs: int, notes: Path) -> list[dict[str, Any]]:
    """The rounds of one class; where its process dies, that is a round with one defect, and the next input is tried."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    last = Path(folder) / f"fuzz-{name}.last"
    own = {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": folder, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    program = [sys.executable, __file__, "--child", name, "--notes", str(notes), "--inputs", str(inputs), "--start"]
    for _ in range(DEATHS):
        start = max((r["end"] for r in _rounds(notes)), default=0)
        ended = subprocess.run(
            [*program, str(start)], env={**os.environ, **own}, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if ended.returncode == 0:
            break
        number = max(start, int(last.read_text()) if last.exists() else start)
        about = {"count": 1, "number": number, "error": ended.stderr[-3000:], "input": ""}
        lost = {"end": number + 1, "title": name, "accepted": 0, "refused": 0, "defects": {"the process died": about}}
        with notes.open("a") as file:
            file.write(json.dumps({**lost, "slowest": 0.0, "seconds": 0.0, "grown_kb": 0}) + "\n")
    return _rounds(notes)


def _rounds(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def row(rounds: list[dict[str, Any]]) -> str:
    """A line of the table."""
    accepted, refused = (sum(r[key] for r in rounds) for key in ("accepted", "refused"))
    places = {place for r in rounds for place in r["defects"]}
    bad = sum(d["count"] for r in rounds for d in r["defects"].values())
    slowest, grown = max(r["slowest"] for r in rounds), max(r["grown_kb"] for r in rounds) / 1024
    title = rounds[-1]["title"]
    total = accepted + refused + bad
    return f"| {title} | {total} | {accepted} | {refused} | {len(places)} | {slowest:.1f} | {grown:.0f} |"


def main() -> None:
    """Try the classes one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=INPUTS, default=INPUTS, metavar="CLASS", help=", ".join(INPUTS))
    parser.add_argument("--inputs", type=int, help="of each class; default: 500 to 25000")
    parser.add_argument("--notes", type=Path, default=NOTES, help="folder of what was found so far")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        from _fuzz_run import main as child

        child(given.child, given.inputs, given.start, given.notes)
        return
    given.notes.mkdir(parents=True, exist_ok=True)
    print("| input | inputs | accepted | refused | defects | slowest, s | memory, MiB |\n|---|---|---|---|---|---|---|")
    for name in given.only:
        notes = (given.notes / f"{name}.jsonl").resolve()
        rounds = tried(name, given.inputs or INPUTS[name], notes)
        print(row(rounds), flush=True)


if __name__ == "__main__":
    main()
