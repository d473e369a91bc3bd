"""A file that asks a running training to end with the best model so far: the same from a dock, a shell and by hand."""

from __future__ import annotations

from pathlib import Path

STOP = "stop"
"""Its name, in the folder of the result."""


def ask_to_stop(out: str | Path) -> None:
    """Ask the training whose result goes to ``out``."""
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / STOP).touch()


def stop_and_keep(out: Path) -> bool:
    """Ask the training that runs in a folder to end with its best model; False while it has not begun."""
    if not (out / "job.json").exists():
        return False
    ask_to_stop(out)
    return True
