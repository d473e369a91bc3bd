"""Guards of the domains that ship, from the data they were trained on; no weight of theirs is learnt again:
``python sample_data/make_guards.py [NAME ...]``. Ten minutes each on two quiet cores; fly-medulla needs the real data.

The calibration uses the part of the source, or a phantom of another seed, that the domain's weights were not trained
on. A guard of rat-axons does not ship: five images of three animals leave too little to calibrate on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari_connecto as nc
from napari_connecto.models.files import load_model
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.em_labels import to_em

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_domains import sources

SHIPPED = Path(__file__).parent / "shipped" / "domains"
HELD_OUT_SEED = 303
PARAMS = GuardParams(label_kind="em", tiles=160)


def guard_of(name: str, held_out: Sequence[Any]) -> Guard:
    """Fitted to a domain's source."""
    folder = SHIPPED / name
    image, labels, _ = sources()[name]
    tuned = SegmentParams(**json.loads((folder / "domain.json").read_text())["segment"])
    model = load_model(folder, backend="torch")
    return nc.run(nc.jobs.fit_guard(model, [(image, labels)], PARAMS, held_out=held_out, segment=tuned), report)


def report(progress: nc.Progress) -> None:
    """Print every fiftieth step."""
    if progress.done % 50 == 0:
        print(f"{progress.stage}: {progress.done}/{progress.total} {progress.payload or ''}", flush=True)


def another_phantom() -> tuple[nc.Volume, nc.Volume]:
    """Image and labels of a seed that the weights have not seen."""
    made = nc.phantom("neuropil", (16, 384, 384), seed=HELD_OUT_SEED)
    truth = made.truth["neurons"]
    array = to_em(truth.levels[0].array, "instances")
    return made.image, replace(truth, levels=(replace(truth.levels[0], array=array),))


def main(names: Sequence[str]) -> None:
    """Those named, or all."""
    for name in names or ("fly-medulla", "synthetic-neuropil"):
        guard = guard_of(name, [another_phantom()] if name == "synthetic-neuropil" else [])
        guard.save(SHIPPED / name)
        print("\n".join(guard.lines()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
