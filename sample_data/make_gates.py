"""Gates of the cascades and domains that ship, from the data they were trained on; no weight is learnt again:
``python sample_data/make_gates.py [NAME ...]``. A minute each on two quiet cores; fly and rat need the real data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari_connecto as nc
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.training.examples import from_labels
from napari_connecto.workflows.cascade.training.train import cascade_gate_job
from napari_connecto.workflows.ood.check import source_gate_job
from napari_connecto.workflows.ood.files import save_gate
from napari_connecto.workflows.ood.gate import Gate

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_cascades import PARAMS, training_volume
from train_domains import sources

SHIPPED = Path(__file__).parent / "shipped"


def of_cascade(sample: str, folder: Path) -> Gate | None:
    """From the same phantom as the weights."""
    with training_volume(sample) as (volume, labels):
        cascade = load_cascade(folder, backend="torch")
        return nc.run(cascade_gate_job(volume, from_labels(labels, cascade.rule.head), cascade.stages[0]))


def of_domain(volume: Volume, folder: Path) -> Gate:
    """From all of the source's tissue, its held-out block included: the domain's own features are from there too."""
    model = load_model(folder, backend="torch")
    level = fitting_level(volume, model.card)
    return nc.run(source_gate_job(level, model.card.normalisation.resolve(volume), model))


def keep(gate: Gate | None, folder: Path) -> None:
    """Write a gate beside its model."""
    if gate is not None:
        save_gate(gate, folder)
    print(f"{folder.name}: {gate.sentence if gate else 'too little tissue for a gate'}", flush=True)


def main(names: list[str]) -> None:
    """Those named, or all."""
    for sample, (target, _, _) in PARAMS.items():
        if not names or target in names:
            folder = SHIPPED / "cascades" / target
            keep(of_cascade(sample, folder), folder)
    for name, (image, _, _) in sources().items():
        if not names or name in names:
            folder = SHIPPED / "domains" / name
            keep(of_domain(image, folder), folder)


if __name__ == "__main__":
    main(sys.argv[1:])
