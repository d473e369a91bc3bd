"""Decisions about the segments of a result: list them, repeat them, undo them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_connecto.cli.options import PROGRESS, drive, finish
from napari_connecto.core.jobs import Job


@click.group()
def proofread() -> None:
    """Merges and splits of segments: the decisions kept in the result folder of a segmentation.

    They are made in napari by clicks, or by `apply` from a file. The labels in the folder stay as they are;
    `export labels` writes them as proofread.
    """


@proofread.command("list")
@click.argument("result")
@click.option("--out", type=click.Path(path_type=Path), help="Also write them to this file (JSON), for `apply`.")
@PROGRESS
def list_decisions(result: str, out: Path | None, progress: str) -> None:
    """List the decisions that hold in the result folder RESULT, in their order."""
    from napari_connecto.io.disk import write_json
    from napari_connecto.workflows.segment.proofread.proofreading import corrected_labels

    told = [one.to_json() for one in corrected_labels(result)[1]]
    if out is not None:
        write_json(out, told)
    lines = [f"{one['event']} at {_at(one['first'])} and {_at(one['second'])}" for one in told]
    finish({"decisions": told, "lines": lines or ["no decisions"]}, progress, [f"written to {out}"] if out else [])


@proofread.command("apply")
@click.argument("result")
@click.argument("decisions", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@PROGRESS
def apply_decisions(result: str, decisions: Path, progress: str) -> None:
    """Make the DECISIONS of a file in RESULT.

    The file is a JSON list of {"event": "merge", "first": [z, y, x], "second": [z, y, x]}, in voxels; "split" divides
    the segment at the two voxels. The first that is not possible stops it; those before it are kept.
    """
    from napari_connecto.workflows.segment.proofread.repeat import read_decisions, repeat_job

    wanted = read_decisions(decisions)
    done = drive(repeat_job(result, wanted), progress)
    finish({"made": done, "lines": [f"{done} decisions made in {result}"]}, progress)


@proofread.command("undo")
@click.argument("result")
@PROGRESS
def undo_decision(result: str, progress: str) -> None:
    """Undo the last decision that holds in RESULT."""
    _step(result, "undo", progress)


@proofread.command("redo")
@click.argument("result")
@PROGRESS
def redo_decision(result: str, progress: str) -> None:
    """Bring back the decision in RESULT that was undone last."""
    _step(result, "redo", progress)


def _step(result: str, step: str, progress: str) -> None:
    def job() -> Job[Any]:
        from napari_connecto.workflows.segment.proofread.proofreading import Proofreading

        yield from ()
        with Proofreading.open(result) as work:
            return work.undo() if step == "undo" else work.redo()

    one = drive(job(), progress)
    said = f"there is nothing to {step}"
    if one is not None:
        said = f"{step}: {one.kind} at {_at(one.first)} and {_at(one.second)}"
    finish({"decision": None if one is None else one.to_json(), "lines": [said]}, progress)


def _at(voxel: Any) -> str:
    return f"({', '.join(str(v) for v in voxel)})"
