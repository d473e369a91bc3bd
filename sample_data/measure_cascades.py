"""Held-out recall and score curves of the cascades that ship, from the phantoms that they learnt from; no weight is
learnt again: ``python sample_data/measure_cascades.py [NAME ...]``. A minute each on two quiet cores.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.cascade import Cascade, load_cascade
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.thresholds.calibrate import measured_job
from napari_connecto.workflows.cascade.training.examples import from_labels
from napari_connecto.workflows.cascade.training.train import blocks

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_cascades import PARAMS, training_volume

SHIPPED = Path(__file__).parent / "shipped" / "cascades"


def measured(cascade: Cascade, volume: Volume, labels: Volume, params: TrainParams) -> Cascade:
    """The cascade with both, from the block that its training kept apart."""
    examples = from_labels(labels, cascade.rule.head, params.diameter_nm or None)
    block = blocks(examples, cascade.cards[0], params)[1]
    held_out, curve = nc.run(measured_job(volume, examples, block, cascade.stages[0], cascade.rule))
    return replace(cascade, calibration=replace(cascade.calibration, held_out=held_out, score_curve=curve))


def main(names: list[str]) -> None:
    """Those named, or all."""
    for sample, (target, _, params) in PARAMS.items():
        if names and target not in names:
            continue
        with training_volume(sample) as (volume, labels):
            cascade = measured(load_cascade(SHIPPED / target, backend="torch"), volume, labels, params)
        cascade.save_document(SHIPPED / target)
        assert cascade.calibration.held_out is not None
        print(f"{target}: {cascade.calibration.held_out.sentence}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
