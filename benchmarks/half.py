"""What bfloat16 on the CPU saves and what it changes: ``python benchmarks/half.py``; ten minutes on two cores

Needs a processor with instructions for it (AVX-512 BF16 or AMX). Each job runs in single precision and in bfloat16, one
after the other in one process: boundaries and segments of real EM by a shipped model of sections, one volume of it that
the defaults were not chosen on, and the translation of the sample of other tissue.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from segment3d import bits, volumes

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference import predictor
from napari_connecto.workflows.segment.params import SegmentParams

CASES = (
    ("snemi", "fly-medulla", "one"),
    ("snemi", "synthetic-neuropil", "three"),
    ("isbi", "fly-medulla", "one"),
    ("flyem z 135-249", "synthetic-neuropil", "three"),
)
"""Part of `segment3d.volumes`, shipped model, directions."""


def segmented(data: str, model: str, directions: str) -> tuple[float, float, np.ndarray]:
    """Seconds, VI in bits, boundary probability."""
    volume, truth = volumes(data)
    net = nc.load_model(nc.list_models()[model], device="cpu")
    mode = "3d" if directions == "three" else "auto"
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        labels = nc.segment(volume, SegmentParams(directions=directions, mode=mode), model=net, out=Path(out) / "s")
        seconds = time.perf_counter() - begin
        boundary = nc.open_volume(Path(out) / "s/boundary/boundary.zarr").levels[0].array[...]
        return seconds, sum(bits(labels.levels[0], volume.levels[0], truth)), np.asarray(boundary, np.float32) / 255


def translated(volume: Volume, truth: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Seconds, PSNR in dB, EM-like voxels; both from 0 to 1."""
    translator = nc.load_translator(nc.list_translators()["synthetic"], device="cpu")
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        found = nc.translate(volume, translator, out=Path(out) / "t")
        seconds = time.perf_counter() - begin
        mean = np.asarray(found.mean.levels[0].array[...], np.float32)
    return seconds, float(-10 * np.log10(np.mean((mean - truth) ** 2))), mean


def rows() -> Iterator[str]:
    """A row a job."""
    volume = nc.open_sample("xray-test")
    truth = np.asarray(nc.open_sample("xray-test", "em").levels[0].array[...], np.float32) / 255
    jobs = [(" ".join(case), "VI", lambda case=case: segmented(*case)) for case in CASES]
    jobs.append(("translation of the sample 'xray-test'", "PSNR", lambda: translated(volume, truth)))
    segmented(*CASES[0])  # libraries are loaded
    jobs[-1][2]()
    for name, unit, job in jobs:
        with patch.object(predictor, "cpu_has_bfloat16", lambda: False):
            single = job()
        half = job()
        away = float(np.abs(half[2] - single[2]).mean())
        saved = f"{single[0]:.1f} → {half[0]:.1f} s | {single[0] / half[0]:.1f}"
        yield f"| {name} | {saved} | {unit} {single[1]:.3f} → {half[1]:.3f} | {away:.5f} |"


if __name__ == "__main__":
    print("| job | seconds | ratio | quality | mean change |\n|---|---|---|---|---|")
    for row in rows():
        print(row, flush=True)
