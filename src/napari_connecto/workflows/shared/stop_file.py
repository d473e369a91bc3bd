"""A file that asks a running training to stop with the best model so far; works from docks, shells and by hand."""

from __future__ import annotations

from pathlib import Path

STOP = "stop"
"""Its name in the result folder."""


def ask_to_stop(out: str | Path) -> None:
    """Request a stop of the training whose result goes to ``out``."""
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / STOP).touch()


def stop_and_keep(out: Path) -> bool:
    """Request a stop of the training running in a folder; False while it has not started."""
    if not (out / "job.json").exists():
        return False
    ask_to_stop(out)
    return True
