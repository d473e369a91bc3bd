"""Memory that estimates promise, against the peak of the process that then does the job.

``python memory.py [NAME ...]`` prints a line per job: estimate, peak and their ratio (aim: 0.8 to 1.25). Each figure
comes from a process of its own, which loads what a user's command loads and nothing else.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari_connecto as nc
from napari_connecto.workflows.xray.estimate import estimate_translate

JOBS: dict[str, Callable[[bool, Path], Any]] = {}


def job(make: Callable[[bool, Path], Any]) -> Callable[[bool, Path], Any]:
    """A job by its name: estimated where the first argument says so, else done into a folder."""
    JOBS[make.__name__.replace("_", "-")] = make
    return make


@job
def detect_mitochondria(only: bool, out: Path) -> Any:
    """A cascade on EM."""
    image, cascade = nc.open_sample("neuropil"), nc.load_cascade(nc.list_cascades()["mitochondria"])
    return nc.estimate(image, cascade, out=out) if only else nc.detect(image, cascade, out=out)


@job
def detect_cells(only: bool, out: Path) -> Any:
    """A cascade on fluorescence, exhaustive."""
    image, cascade = nc.open_sample("cells"), nc.load_cascade(nc.list_cascades()["cells"])
    params = nc.DetectParams(exhaustive=True, audit=0)
    return nc.estimate(image, cascade, params, out=out) if only else nc.detect(image, cascade, params, out=out)


def _segment(name: str, backend: str, only: bool, out: Path, **fields: Any) -> Any:
    image, model = nc.open_sample("neuropil"), nc.load_model(nc.list_models()[name], backend=backend)
    run = nc.estimate_segment if only else nc.segment
    return run(image, nc.SegmentParams(**fields), model=model, out=out)


@job
def segment_linked(only: bool, out: Path) -> Any:
    """Sections of EM by a flat model."""
    return _segment("synthetic-neuropil", "torch", only, out)


@job
def segment_3d(only: bool, out: Path) -> Any:
    """The same map cut in 3-D."""
    return _segment("synthetic-neuropil", "auto", only, out, mode="3d")


@job
def segment_resampled(only: bool, out: Path) -> Any:
    """By a model of other voxels."""
    return _segment("fly-medulla", "torch", only, out)


def _translate(backend: str, only: bool, out: Path, **fields: Any) -> Any:
    image, params = nc.open_sample("xray"), nc.TranslateParams(**fields)
    translator = nc.load_translator(nc.list_translators()["synthetic"], backend=backend)
    return (
        estimate_translate(image, translator, params, out=out)
        if only
        else nc.translate(image, translator, params, out=out)
    )


@job
def translate_ensemble(only: bool, out: Path) -> Any:
    """All members, by torch."""
    return _translate("torch", only, out)


@job
def translate_single(only: bool, out: Path) -> Any:
    """One member, by the fastest backend."""
    return _translate("auto", only, out, uncertainty="single")


def child(name: str, only: bool) -> None:
    """In a process of its own: the bytes estimated, or the peak."""
    with tempfile.TemporaryDirectory() as scratch:
        made = JOBS[name](only, Path(scratch) / "out")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(made.memory_bytes if only else peak))


def main(names: list[str]) -> None:
    """Both figures of each job."""
    for name in names or JOBS:
        figures = []
        for what in ("estimate", "peak"):
            command = [sys.executable, __file__, "--child", name, what]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures.append(json.loads(done.stdout.splitlines()[-1]))
        estimated, peak = figures
        print(
            f"{name:20s} estimate {estimated / 1e9:6.2f} GB  peak {peak / 1e9:6.2f} GB  {estimated / peak:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3] == "estimate")
    else:
        main(sys.argv[1:])
