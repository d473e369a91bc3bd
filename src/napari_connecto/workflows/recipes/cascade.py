"""What detect and train-cascade do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.sample_data import cascade_folder
from napari_connecto.workflows.cascade.cascade import Cascade, load_cascade
from napari_connecto.workflows.cascade.estimate import Estimate, estimate
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.detect import detect_job
from napari_connecto.workflows.cascade.training.distil.alone import alone_job
from napari_connecto.workflows.cascade.training.examples import Examples, from_labels, from_places
from napari_connecto.workflows.cascade.training.points import read_places
from napari_connecto.workflows.cascade.training.summary import summarise
from napari_connecto.workflows.cascade.training.train import train_cascade_job
from napari_connecto.workflows.packages.detectors import detector, options_of_text
from napari_connecto.workflows.recipes.entries.cascade import Detect, TrainCascade
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.guard import guard_beside, judged_lines
from napari_connecto.workflows.recipes.parts import clipped_lines
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP


def detect(run: Detect, client: Any) -> Job[Summary]:
    """Search."""
    volume = open_spec(run.volume)
    cascade = yield from _cascade_job(run, volume)
    finest = None if run.cascade is None else cascade_folder(run.cascade) / "level_0"
    guard = guard_beside(run.error_map, finest, cascade.stages[0], "a detector alone has no guard; give a cascade")
    where: dict[str, Any] = {"out": run.out, "client": client, "region": run.region}
    found = yield from detect_job(volume, cascade, run.params, guard=guard, **where)
    lines = [*clipped_lines(run.region, volume), *report_lines(found.report), *judged_lines(found.report, run.out)]
    return Summary(run.out, lines, {"objects": len(found)})


def detect_cost(run: Detect) -> Job[Estimate]:
    """What `detect` would cost."""
    volume = open_spec(run.volume)
    cascade = yield from _cascade_job(run, volume)
    return estimate(volume, cascade, run.params, region=run.region, out=run.out)


def _cascade_job(run: Detect, volume: Volume) -> Job[Cascade]:
    """The cascade that was asked for; a detector alone is one of a single level."""
    if run.cascade is not None:
        return load_cascade(cascade_folder(run.cascade), backend=run.backend)
    found = _detector(run, volume, 0.0, "auto")
    assert found is not None
    return (yield from alone_job(volume, found, TrainParams(name=found.card.name)))


def train_cascade(run: TrainCascade) -> Job[Summary]:
    """Train, then save the cascade; ``out`` stays as it was where that fails."""
    volume, out = open_spec(run.volume), Path(run.out)
    stop = out / STOP
    if out.exists() and (not out.is_dir() or any(path != stop for path in out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another folder for the cascade")
    stop.unlink(missing_ok=True)
    labels = open_spec(run.labels) if run.labels is not None else _points(run, volume) if run.points else None
    review = read_places(run.review, volume.levels[0]) if run.review else None
    previous = load_cascade(cascade_folder(run.previous), backend="torch") if run.previous else None
    try:
        cascade = yield from train_cascade_job(
            volume,
            labels,
            run.params,
            detector=_detector(run, volume, _diameter_nm(run, labels), run.params.device),
            review=review,
            previous=previous,
            reviewed=run.reviewed if run.labels is not None else (),
            stop=stop.exists,
        )
        cascade.save(out)
    finally:
        stop.unlink(missing_ok=True)
        with suppress(OSError):  # it holds the cascade, or never was
            out.rmdir()
    told = summarise(cascade)
    figures = {"levels": len(cascade.stages), "failure": told.failure, "worse": told.worse}
    return Summary(run.out, told.lines, figures | {"comparison": told.comparison})


def _detector(run: Detect | TrainCascade, volume: Volume, diameter_nm: float, device: str) -> Predictor | None:
    """The detector that was asked for, if one was."""
    if run.detector is None:
        return None
    options: dict[str, Any] = dict(options_of_text(run.detector_options))
    if "diameter_nm" in options:  # the same as the argument
        try:
            diameter_nm = float(options.pop("diameter_nm"))
        except ValueError as error:
            raise InputError(f"got {run.detector_options!r}; diameter_nm must be a number") from error
    return detector(
        run.detector,
        volume,
        output=run.detector_output,
        shown=run.detector_shown,
        diameter_nm=diameter_nm,
        device=device,
        **options,
    )


def _diameter_nm(run: TrainCascade, labels: Volume | Examples | None) -> float:
    """Of the detector's objects: where none is given, that of the labelled ones."""
    if run.params.diameter_nm or labels is None or run.detector is None:
        return run.params.diameter_nm
    return (labels if isinstance(labels, Examples) else from_labels(labels, "masks")).diameter_nm


def _points(run: TrainCascade, volume: Volume) -> Examples:
    """Centres in nm from a table or a file of cells, see `read_places`; the labelled region is the whole volume."""
    assert run.points is not None
    places = read_places(run.points, volume.levels[0])
    sparse = run.params.sparse(reviewed=places.reviewed)
    return from_places(places, run.params.diameter_nm, volume.levels[0], sparse=sparse, reviewed=run.reviewed)
