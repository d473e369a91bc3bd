"""Part 3 of the demo: translate X-ray that the shipped translator was not trained on, and compare with the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.io import imsave

from napari_connecto.core.amounts import percent
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, named
from napari_connecto.core.model import Scaling
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.sample_data import open_sample
from napari_connecto.workflows.recipes.entries.xray import Translate
from napari_connecto.workflows.recipes.recipe import run_job
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from napari_connecto.workflows.xray.metrics import brightness, likeness
from napari_connecto.workflows.xray.reliability import calibration
from napari_connecto.workflows.xray.translate import REPORT

SAMPLE, TRANSLATOR = "xray-test", "synthetic"
REGION = Box((0, 0, 0), (32, 32, 32))
"""X-ray voxels: 96 of the EM's along each axis."""


def translate_demo_job(out: Path) -> Job[list[str]]:
    """Translate a corner of the sample into ``out``; returns the lines to print."""
    xray, em = open_sample(SAMPLE), open_sample(SAMPLE, "em")
    run = Translate(volume=VolumeSpec(xray.source), translator=TRANSLATOR, region=REGION, out=str(out / "translated"))
    told = (yield from named("translate", run_job(run))).lines
    volumes = {name: open_volume(out / "translated" / f"{name}.zarr") for name in ("mean", "aleatoric", "epistemic")}
    target = Scaling(**read_json(out / "translated" / REPORT)["target"])
    lines = ["== X-ray to EM on the sample 'xray-test' (synthetic EM, simulated X-ray) ==", *told]
    lines += compared(xray, em, volumes, target)
    picture = out / "xray.png"
    imsave(picture, draw(xray, em, volumes, target), check_contrast=False)
    return [*lines, f"picture: {picture}: interpolated X-ray, translated, true EM, uncertainty"]


def compared(xray: Volume, em: Volume, found: dict[str, Volume], target: Scaling) -> list[str]:
    """Figures of the region against the EM it was simulated from; not the tissue the translator was trained on."""
    mean, noise, ignorance, before, true = (_region(level) for level in _levels(xray, em, found))
    true = np.clip(target(true), 0, 1)
    line = brightness(before, true)
    everywhere = np.ones(true.shape, bool)
    after, plain = (likeness(image, true, everywhere) for image in (mean, line(before)))
    trust = calibration(mean, np.hypot(noise, ignorance), true)
    return [
        f"against the true EM: PSNR {after['psnr']:.2f} dB translated, {plain['psnr']:.2f} interpolated "
        f"(brightness fitted); SSIM {after['ssim']:.3f}, {plain['ssim']:.3f}",
        f"90 % intervals cover {percent(trust.coverage[0.9], 1)} of the voxels; rank correlation of |error| and stated "
        f"uncertainty {trust.spearman:.2f} (Spearman)",
    ]


def _levels(xray: Volume, em: Volume, found: dict[str, Volume]) -> list[Level]:
    own = em.levels[0]
    results = [found[name].levels[0] for name in ("mean", "aleatoric", "epistemic")]
    return [*results, resampled(xray.levels[0], own.voxel_nm), own]


def _region(level: Level) -> np.ndarray:
    """The demo's region on the EM's grid."""
    side = 3 * REGION.stop[-1]
    return level.array[:side, :side, :side].astype(np.float64)


def draw(xray: Volume, em: Volume, found: dict[str, Volume], target: Scaling) -> np.ndarray:
    """The middle section: interpolated X-ray, translated, true EM, total uncertainty, in equal widths; grey uint8."""
    mean, noise, ignorance, before, true = (_region(level) for level in _levels(xray, em, found))
    z = mean.shape[0] // 2
    total = np.hypot(noise, ignorance)
    low, high = np.percentile(before, (1, 99))
    shown = [(before - low) / max(high - low, 1e-9), mean, target(true), total / max(float(total.max()), 1e-9)]
    planes = [np.kron(np.clip(s[z], 0, 1), np.ones((3, 3))) for s in shown]
    gap = np.ones((planes[0].shape[0], 8))
    row = [part for plane in planes for part in (plane, gap)][:-1]
    return np.rint(np.concatenate(row, axis=1) * 255).astype(np.uint8)
