"""The command that makes a page of a result."""

from __future__ import annotations

from pathlib import Path

import click

from napari_connecto.cli.options import PROGRESS, drive, finish


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file; default: report.html in FOLDER.")
@PROGRESS
def report(folder: Path, out: Path | None, progress: str) -> None:
    """Write one HTML page of the result in FOLDER, or of all results below it; it needs no network."""
    from napari_connecto.reports.write import write_report_job

    page = str(drive(write_report_job(folder, out), progress))
    finish({"report": page, "lines": [f"report: {page}"]}, progress)
