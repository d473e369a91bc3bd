"""Train the small cascades that ship: ``python sample_data/train_cascades.py [SAMPLE ...]``. A few minutes
each on two cores.

They learn from other, larger phantoms than the samples (other seeds), so what they find in the samples is new to them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.training.train import train_cascade_job

TRAINING_SEED = 101
PARAMS = {
    "cells": ("cells", (64, 1024, 1024), nc.TrainParams(name="cells", head="centres", tile=(16, 32, 32), steps=400)),
    "neuropil": ("mitochondria", (32, 768, 768), nc.TrainParams(name="mitochondria", head="masks", steps=400)),
}


@contextmanager
def training_volume(sample: str) -> Iterator[tuple[Volume, Volume]]:
    """The phantom that a sample's cascade learns from, as a pyramid on disk, and its truth."""
    target, shape, _ = PARAMS[sample]
    made = nc.phantom(sample, shape, seed=TRAINING_SEED)
    with tempfile.TemporaryDirectory() as scratch:
        nc.save_volume(made.image, Path(scratch) / f"{sample}.ome.zarr", levels=3)
        yield nc.open_volume(Path(scratch) / f"{sample}.ome.zarr"), made.truth[target]


def main(folder: Path, samples: list[str]) -> None:
    """Write one folder per cascade, its gate included."""
    for sample in samples:
        target, _, params = PARAMS[sample]
        with training_volume(sample) as (volume, labels):
            job = train_cascade_job(volume, labels, params)
            cascade = nc.run(
                job, lambda p, target=target: print(f"\r{target}: {p.stage} {p.done}/{p.total}   ", end="")
            )
        shutil.rmtree(folder / target, ignore_errors=True)
        cascade.save(folder / target)
        print(f"\n{target}: {cascade.choose().reason}")


if __name__ == "__main__":
    main(Path(__file__).parent / "shipped" / "cascades", sys.argv[1:] or list(PARAMS))
