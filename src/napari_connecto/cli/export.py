"""Results in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from napari_connecto.cli.options import PROGRESS, drive, finish, volume_options, volume_spec
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.views.without import without
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


def _zarr(volume: Volume, out: str, version: Any, **options: Any) -> Job[str]:
    from napari_connecto.io.volumes.write import save_volume_job

    yield from save_volume_job(volume, out, version=version, **options)
    return ""


def _precomputed(volume: Volume, out: str, version: Any, **options: Any) -> Job[str]:
    from napari_connecto.io.volumes.precomputed import save_precomputed_job

    kept = yield from save_precomputed_job(volume, out, **options)
    origin = _origin(volume)
    return "" if kept else f"precomputed stores the origin in whole voxels of each level; {origin} was written as 0"


def _tiff(volume: Volume, out: str, version: Any, levels: int | None, **options: Any) -> Job[str]:
    from napari_connecto.io.volumes.tiff.write import save_tiff_job

    kept = yield from save_tiff_job(volume, out, **options)
    return "" if kept else f"TIFF cannot store the origin {_origin(volume)}; it was written as 0"


def _origin(volume: Volume) -> str:
    return f"{' x '.join(f'{v:g}' for v in volume.levels[0].origin_nm)} nm"


POINT_FORMATS = ("table", "cellfinder", "imagej", "qupath", "cell-counter", "brainglobe")
FORMATS: dict[str, Callable[..., Job[str]]] = {"ome-zarr": _zarr, "precomputed": _precomputed, "tiff": _tiff}
_SUFFIXES = {".zarr": "ome-zarr", ".precomputed": "precomputed", ".tif": "tiff", ".tiff": "tiff", "": "precomputed"}


def _format_of(out: str) -> str:
    suffix = Path(out.rstrip("/")).suffix.lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(filter(None, _SUFFIXES))
        raise InputError(f"got '{out}'; allowed: names that end in {known}, or --to {' or '.join(FORMATS)}")
    return _SUFFIXES[suffix]


@click.group()
def export() -> None:
    """Write results for other programs: cellfinder, neuroglancer, anything that reads tables."""


@export.command("points")
@click.argument("source")
@click.argument("out")
@click.option("--to", type=click.Choice([*POINT_FORMATS]), help="Format of OUT; default: by its suffix.")
@click.option("--image", help="Image whose finest voxels a file of another program counts in; any readable volume.")
@volume_options
def export_points(source: str, out: str, to: str | None, image: str | None, **options: Any) -> None:
    """Write the detections or points of SOURCE as OUT, by its suffix.

    .csv and .parquet are tables in nm, .xml is for cellfinder, .zip for ImageJ's ROI Manager, .geojson for QuPath;
    --to makes an .xml for ImageJ's Cell Counter, or a .csv for brainglobe. SOURCE may be any of these, or the result
    folder of a search. What was rejected in its review is left out.
    """
    check_table(out, to)
    click.echo(export_table(source, out, volume_spec(image, options) if image else None, to))


@export.command("labels")
@click.argument("source")
@click.argument("out")
@click.option("--to", type=click.Choice([*FORMATS]), help="Format of OUT; default: by its suffix.")
@click.option("--kind", type=click.Choice(["image", "labels"]), default="labels", help="What SOURCE is.")
@click.option("--levels", type=click.IntRange(1, 12), help="Number of levels; default: until small.")
@click.option("--format", "version", type=click.Choice(["0.4", "0.5"]), default="0.5", help="Version of OME-Zarr.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@volume_options
@PROGRESS
def export_labels(source: str, out: str, to: str | None, progress: str, **options: Any) -> None:
    """Write the labels of SOURCE as OUT, by its suffix: .zarr (OME-Zarr), .precomputed (neuroglancer), .tif (OME-TIFF).

    SOURCE is the result folder of a search or a segmentation, or any readable volume. Of a search the numbers are the
    ids of its table; of its review, what was rejected is left out, and what was added is a ball. A segmentation is
    written as proofread. A name without a suffix is a precomputed folder.
    """
    from napari_connecto.workflows.shared.spec import open_spec

    write = FORMATS[to or _format_of(out)]
    volume, lines = _as_decided(source, open_spec(volume_spec(labels_of(source), options)))
    line = drive(write(volume, out, **options), progress)
    finish({"out": out, "lines": [*lines, *filter(None, [line])]}, progress, [f"written to {out}"])


def labels_of(source: str) -> str:
    """The labels inside a result folder; anything else as it is.

    Raises
    ------
    InputError
        If it is the result of a search for centres, which has none.
    """
    for name in ("objects", "labels"):
        inside = Path(source) / "labels" / f"{name}.zarr"
        if inside.is_dir() and not any((Path(source) / mark).exists() for mark in ("zarr.json", ".zattrs")):
            return str(inside)
    if (Path(source) / "detections.csv").is_file():
        raise InputError(f"the search in '{source}' finds centres and has no labels; use export points")
    return source


def _as_decided(source: str, labels: Volume) -> tuple[Volume, list[str]]:
    """Labels as proofread or reviewed, and what was changed, where this is a result folder."""
    from napari_connecto.workflows.segment.proofread.proofreading import FOLDER, corrected_labels

    if not (Path(source) / FOLDER).is_dir():
        return _reviewed(source, labels)
    volume, decisions = corrected_labels(source, labels)
    merges = sum(one.kind == "merge" for one in decisions)
    return volume, [f"as proofread: {merges} merges, {len(decisions) - merges} splits"]


def _reviewed(source: str, labels: Volume) -> tuple[Volume, list[str]]:
    """Labels as reviewed, and what was changed, where this is the result folder of a search."""
    from napari_connecto.core.views.balls import with_balls
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.verdicts import ADDED, REJECTED, read_verdicts

    if not (Path(source) / "detections.csv").is_file():
        return labels, []
    found, lines = Detections.load(source), []
    rejected, added = found.where(found.status == REJECTED), found.where(found.status == ADDED)
    if len(rejected):
        labels = without(labels, rejected.id.tolist())
        lines.append(f"{len(rejected)} rejected and left out")
    if len(added):
        labels = with_balls(labels, added.centre_nm, added.id, read_verdicts(source).reach_nm)
        lines.append(f"{len(added)} added and drawn as balls of the typical diameter")
    return labels, lines


def check_table(out: str, to: str | None = None) -> None:
    """Refuse before anything is computed what could not be written in the end; its folder is made.

    Raises
    ------
    InputError
        If the name says no format, or a package is needed and absent.
    StoreError
        If the folder cannot be made.
    """
    from napari_connecto.io.disk import storing
    from napari_connecto.workflows.cascade.training.point_formats import format_of

    format_of(out, to)
    path = Path(out)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def export_table(source: str, out: str, image: VolumeSpec | None = None, to: str | None = None) -> str:
    """Write detections, or mere points, from one format into another; returns what to say of it."""
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.training.point_formats import Told
    from napari_connecto.workflows.cascade.training.points import read_points, write_points
    from napari_connecto.workflows.cascade.verdicts import REJECTED
    from napari_connecto.workflows.shared.spec import open_spec

    level, title = (open_spec(image).levels[0], Path(image.path.rstrip("/")).name) if image else (None, "")
    if not Path(source).is_dir() and not _has_scores(source):
        points = read_points(source, level)
        write_points(out, points, level, Told(title=title), to=to)
        return f"{len(points)} points written to {out}"
    found = Detections.load(source)
    kept = found.where(found.status != REJECTED)
    kept.save(out, level=level, to=to, title=title)
    left = f"; {len(found) - len(kept)} rejected and left out" if len(kept) < len(found) else ""
    return f"{len(kept)} points written to {out}{left}"


def _has_scores(source: str) -> bool:
    """Whether a table is one of detections, not of mere points."""
    from napari_connecto.io.tables.tables import READ, read_table

    return Path(source).suffix.lower() in READ and "score" in read_table(source)[0]
