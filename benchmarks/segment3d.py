"""3-D segmentation of real EM by shipped models: one direction or three, one block or many; VI in bits.

    python benchmarks/segment3d.py            # the table of what is there already
    python benchmarks/segment3d.py --run      # computes what is missing first, half an hour on two cores

Figures of all cases, also those on which the defaults were chosen; which is which stands in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _em_data import HERE, _tif

import napari_connecto as nc
from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.on_grid import on_grid

CACHE = Path(os.environ.get("NAPARI_CONNECTO_CACHE", HERE / "cache")) / "segment3d"
FLY, OTHER = "fly-medulla", "synthetic-neuropil"


@dataclass(frozen=True)
class Case:
    """A part of a volume, and how it is segmented.

    Parameters
    ----------
    data, model, directions
        Name in `volumes`; shipped domain; "one", "three" or "three, flips".
    blocks
        Small blocks, many of which fit into the part: to see what seams cost.
    """

    data: str
    model: str
    directions: str
    blocks: Vec3

    @property
    def path(self) -> Path:
        """Where its results are kept."""
        return CACHE / f"{self.data}-{self.model}-{self.directions}"


def volumes(name: str) -> tuple[Volume, np.ndarray]:
    """Image and true instances (0 ignored) of one part."""
    if name.startswith("flyem"):
        image, truth = _tif("flyem_medulla/image.tif"), _tif("flyem_medulla/neurons.tif")
        if name == "flyem z 135-249":
            return _volume(image[135:], (10.0, 10.0, 10.0), name), truth[135:]
        image, truth = (array[:135:2, :128, :128] for array in (image, truth))
        return _volume(image, (20.0, 10.0, 10.0), name), truth
    if name == "snemi":
        truth = _tif("snemi_crop/neurons_z0-32_y0-160_x0-160.tif")
        image = _tif("snemi_crop/image.tif")[:, :224, :224]
        return _volume(image, (30.0, 6.0, 6.0), name), np.pad(np.where(truth > 1, truth, 0), ((0, 0), (0, 64), (0, 64)))
    return _volume(_tif("isbi2012/image.tif"), (50.0, 4.0, 4.0), name), _tif("isbi2012/neurites.tif")


def _volume(image: np.ndarray, voxel: FVec3, name: str) -> Volume:
    return Volume.from_array(image, voxel, name=name)


DEEP, THIN, FLAT = (64, 128, 128), (16, 64, 64), (16, 96, 96)
WAYS, FLIPS = ("one", "three"), "three, flips"
CASES = [
    *(Case("isbi", model, "one", FLAT) for model in (FLY, OTHER)),
    *(Case("flyem z 0-134, every 2nd", FLY, way, DEEP) for way in WAYS),
    *(Case("flyem z 135-249", model, way, DEEP) for model in (OTHER, FLY) for way in WAYS),
    *(Case("snemi", model, way, THIN if way == "one" else DEEP) for model in (OTHER, FLY) for way in WAYS),
    *(Case("flyem z 0-134, every 2nd", OTHER, way, DEEP) for way in WAYS),
    Case("flyem z 135-249", FLY, FLIPS, DEEP),
]


def measured(case: Case) -> dict[str, object]:
    """VI of a case in one block and in small ones; kept."""
    path = case.path / "figures.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    volume, truth = volumes(case.data)
    folder = nc.list_models()[case.model]
    model = nc.load_model(folder, device="cpu")
    begin = time.perf_counter()
    three, flips = case.directions != "one", case.directions == FLIPS
    params = SegmentParams(directions="three" if three else "one", mode="3d" if three else "auto", flips=flips)
    labels = nc.segment(volume, params, model=model, out=case.path / "whole")
    told: dict[str, object] = {"seconds": time.perf_counter() - begin, "mode": labels.metadata["mode"]}
    boundary = nc.open_volume(case.path / "whole/boundary/boundary.zarr")
    mode, halo = str(labels.metadata["mode"]), (16 if labels.metadata["mode"] == "3d" else 0, 32, 32)
    for name, block in (("one block", (1024, 1024, 1024)), ("blocks", case.blocks)):
        cut = nc.segment(boundary, SegmentParams(mode=mode, block=block, halo=halo))
        told[name] = bits(cut.levels[0], volume.levels[0], truth)
    path.write_text(json.dumps(told))
    return told


def bits(labels: Level, grid: Level, truth: np.ndarray) -> tuple[float, float]:
    """Split and merge, bits, on the grid of the image."""
    found = on_grid(labels, grid).array[...]
    vi = variation_of_information(found, truth)
    return vi.split, vi.merge


def table(cases: list[Case]) -> Iterator[str]:
    """A row for each case that was measured."""
    yield "| data | model | mode | directions | VI in one block | split | merge | VI in blocks | change |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        if (case.path / "figures.json").exists():
            told = measured(case)
            (split, merge), blocks = told["one block"], sum(told["blocks"])  # type: ignore[misc, call-overload]
            vi = [f"{v:.3f}" for v in (split + merge, split, merge, blocks)]
            row = [case.data, case.model, told["mode"], case.directions, *vi, f"{blocks - split - merge:+.3f}"]
            yield f"| {' | '.join(map(str, row))} |"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="compute what is missing")
    if parser.parse_args().run:
        for case in CASES:
            print(case.path.name, measured(case), flush=True)
    print("\n".join(table(CASES)))


if __name__ == "__main__":
    main()
