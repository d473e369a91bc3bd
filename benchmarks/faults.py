"""What becomes of a job when it is killed, its disk is full or spoilt, its memory runs out: one row a fault.

``python benchmarks/faults.py`` makes the table of docs/reliability.md (Linux, as root: it mounts a tmpfs and changes
users); ``--only kill --tries 4`` a part of it. What is random comes from ``--seed``, but for how far a process is when
it is killed. It ends with exit code 1 if anything went wrong, and says what.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _faults_disk import deleted, forbidden, full, read_only, refused
from _faults_kill import Bench, Row, killed, two_at_once
from _faults_memory import gpu, short
from _faults_spoilt import exchanged, jumped, spoilt

COMMANDS = ("detect", "predict", "segment", "translate")
ALL = (*COMMANDS, "annotate")
KINDS: dict[str, tuple[Callable[[Bench, str, int], Row], tuple[str, ...], int]] = {
    "kill": (killed, ALL, 24),
    "full": (full, ALL, 6),
    "full-at": (partial(refused, code=errno.ENOSPC), ALL, 6),
    "read-only": (read_only, ALL, 2),
    "read-only-at": (partial(refused, code=errno.EROFS), ALL, 3),
    "forbidden": (forbidden, ALL, 2),
    "deleted": (deleted, COMMANDS, 8),
    "spoilt": (spoilt, COMMANDS, 10),
    "exchanged": (exchanged, ALL, 3),
    "two": (two_at_once, COMMANDS, 4),
    "clock": (jumped, COMMANDS, 3),
    "memory": (short, COMMANDS, 6),
    "gpu": (gpu, COMMANDS, 4),
}
"""What is done, to which jobs, and how often to each."""
AS_ROOT = ("full", "read-only", "forbidden")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--jobs", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--tries", type=int, help="of each job; default: as in the documentation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        wrong = run(Bench(folder, options.seed), options.only, options.jobs, options.tries)
    sys.exit(1 if wrong else 0)


def run(bench: Bench, kinds: list[str], jobs: list[str], tries: int | None) -> int:
    """Print each row as soon as it is known; how many were wrong."""
    wrong = 0
    print("| fault | tries | outcome |\n|---|---:|---|", flush=True)
    for kind in kinds:
        disturb, names, usual = KINDS[kind]
        if kind in AS_ROOT and os.geteuid():
            print(f"skipped: {kind} needs root", file=sys.stderr)
            continue
        for name in (n for n in names if n in jobs):
            row = disturb(bench, name, tries or usual)
            print(row, flush=True)
            for line in row.wrong:
                print(f"wrong: {line}", file=sys.stderr, flush=True)
            wrong += bool(row.wrong)
    return wrong


if __name__ == "__main__":
    main()
