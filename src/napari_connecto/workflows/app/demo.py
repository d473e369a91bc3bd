"""Part 1 of the demo: search the shipped samples with a cascade and exhaustively, compare with the ground truth."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.draw import circle_perimeter
from skimage.io import imsave

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, named
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import SAMPLES, cascade_folder, open_sample
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.estimate import estimate
from napari_connecto.workflows.cascade.evaluate import evaluate
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.detect import detect_job
from napari_connecto.workflows.recipes.entries.cascade import Detect
from napari_connecto.workflows.recipes.recipe import write_recipe
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ORANGE, BLUE = (230, 159, 0), (86, 180, 233)


@dataclass(frozen=True)
class Demo:
    """Detections of the demo in each sample, and the lines to print."""

    found: dict[str, tuple[Volume, Detections]]
    lines: list[str]


def demo_job(out: Path) -> Job[Demo]:
    """Search both samples into ``out`` (resumed if interrupted) and write a picture of each."""
    found, lines = {}, []
    # the exhaustive search took 3 to 6 times as long as the cascade
    phases = Phases({name: work for sample in SAMPLES for name, work in ((sample, 1), (f"{sample}, everywhere", 4))})
    for sample, truths in SAMPLES.items():
        volume, truth = open_sample(sample), open_sample(sample, truths[0])
        cascade = load_cascade(cascade_folder(truths[0]))
        gated = DetectParams(force_cascade=True)  # on samples so small the audit may take longer than it saves
        expected = estimate(volume, cascade, gated, trial=True, out=out)
        searching = named(sample, detect_job(volume, cascade, gated, out=out / sample))
        fast = yield from phases.run(sample, searching)
        exhaustive = DetectParams(exhaustive=True, audit=0)
        searching = named(sample, detect_job(volume, cascade, exhaustive, out=out / f"{sample}_everywhere"))
        slow = yield from phases.run(f"{sample}, everywhere", searching)
        run = Detect(volume=VolumeSpec(volume.source), cascade=truths[0], params=gated, out=str(out / sample))
        write_recipe(run, out / sample / "recipe.yaml")
        picture = out / f"{sample}.png"
        imsave(picture, draw(volume, fast, open_sample(sample, truths[0])), check_contrast=False)
        found[sample] = (volume, fast)
        lines += [
            "",
            f"== {truths[0]} in the sample '{sample}' (synthetic) ==",
            f"expected beforehand: {expected.seconds:.1f} s; exhaustive search: {expected.seconds_exhaustive:.1f} s",
            *report_lines(fast.report),
            f"cascade: {_seconds(fast)} (and {fast.report['seconds_audit']:.1f} s of audit), {evaluate(fast, truth)}",
            f"exhaustive search: {_seconds(slow)}, {evaluate(slow, truth)}",
            f"picture: {picture}: detected {truths[0]} (orange) beside the ground truth (blue)",
            f"table, map, labels, report, recipe: {out / sample}",
        ]
    return Demo(found, lines[1:])


def _seconds(found: Detections) -> str:
    made = sum(level["calls_made"] for level in found.report["levels"])
    seconds = found.report["seconds"] - found.report["seconds_audit"]
    return f"{seconds:.1f} s for {made} calls"


def draw(volume: Volume, found: Detections, truth: Volume) -> np.ndarray:
    """The volume twice, with the detections and with the ground truth, RGB uint8: centres on the brightest projection,
    masks
    on the section with the most ground truth.
    """
    level, truth_level = volume.levels[0], truth.levels[0]
    light = found.labels is None
    areas = [int(np.count_nonzero(truth_level.read(_plane(level, z)))) for z in range(level.shape[0])]
    plane = _plane(level, int(np.argmax(areas)))
    image = level.read(level.box).max(axis=0) if light else level.read(plane)[0]
    low, high = np.percentile(image, [0.5, 99.8])
    grey = np.clip((image - low) / max(1.0, high - low) * 255, 0, 255).astype(np.uint8)
    left, right = (np.repeat(grey[..., None], 3, axis=-1) for _ in range(2))
    if light:
        for y, x in np.floor(level.to_voxels(found.centre_nm)[:, 1:]).astype(int):
            for radius in (8, 9):
                left[circle_perimeter(y, x, radius, shape=grey.shape)] = ORANGE
        _outline(right, truth_level.read(truth_level.box).max(axis=0) > 0, BLUE)
    elif found.labels is not None:
        _outline(left, found.labels.levels[0].read(plane)[0] > 0, ORANGE)
        _outline(right, truth_level.read(plane)[0] > 0, BLUE)
    return np.concatenate([left, np.full((grey.shape[0], 8, 3), 255, np.uint8), right], axis=1)


def _plane(level: Level, z: int) -> Box:
    return Box((z, 0, 0), (z + 1, *level.shape[1:]))


def _outline(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    inner = mask.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            inner &= np.roll(mask, step, axis)
    image[mask & ~inner] = colour


def why_no_viewer() -> str:
    """ "" if napari can be opened, else the reason in words."""
    if importlib.util.find_spec("napari") is None:
        return "napari is not installed; pip install 'napari-connecto[all]'"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display; open the folders above in napari on another machine"
    return ""
