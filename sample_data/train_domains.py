"""Train the domains that ship, and their common encoder: ``python sample_data/train_domains.py [NAME ...]``.

Needs the real data (``NAPARI_CONNECTO_DATA`` or ``../shared/data``); only data whose terms allow derived weights are
learnt from: the fly's medulla (CC BY 3.0, Janelia FlyEM), rat axons (MIT), and our own synthetic neuropil. Those that
ship took three to four minutes each on an NVIDIA H100 shared with other trainings; on two cores it is half an hour.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.adapt.domains import load_encoder
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example
from napari_connecto.workflows.adapt.fine_tune import boundary_card
from napari_connecto.workflows.adapt.params import About, DomainParams
from napari_connecto.workflows.adapt.train_domain import train_domain_job
from napari_connecto.workflows.shared.em_labels import to_em

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _em_data import DATASETS

SEED, STEPS, BATCH = 101, 1500, 4
ENCODER_STEPS, ENCODER_BATCH = 500, 2
PARAMS = DomainParams(label_kind="em", steps=STEPS, batch=BATCH, keep_patches=True)


def neuropil() -> tuple[Volume, Volume]:
    """A larger phantom than the sample, of another seed; truth per section."""
    made = nc.phantom("neuropil", (24, 512, 512), seed=SEED)
    truth = made.truth["neurons"]
    array = to_em(truth.levels[0].array, "instances")
    return made.image, replace(truth, levels=(replace(truth.levels[0], array=array),))


def sources() -> dict[str, tuple[Volume, Volume, About]]:
    """Image, labels and what is known of each, by name."""
    found = {}
    for name, data in DATASETS.items():
        if data.ships:
            about = About(data.organism, data.tissue, data.modality, data.terms, data.terms.split(",")[0])
            found[name] = (*data.volume("train"), about)
    about = About("none", "synthetic neuropil", "simulated EM", "napari-connecto's own phantom", "MIT")
    return found | {"synthetic-neuropil": (*neuropil(), about)}


def train_encoder(folder: Path, data: dict[str, tuple[Volume, Volume, About]]) -> None:
    """One boundary model on all sources at their own voxel sizes; its way down is the common feature space."""
    card = boundary_card("encoder", (40.0, 8.0, 8.0))
    examples = [Example(image.levels[0].array, labels.levels[0].array) for image, labels, _ in data.values()]
    samples = EmSamples(examples, card, 192, ENCODER_BATCH, SEED, Augment())
    model = nc.run(fit(new_model(card, SEED), samples.from_step, FitParams(steps=ENCODER_STEPS)), report("encoder"))
    told = "; ".join(about.data for _, _, about in data.values())
    card = replace(model.card, training=told, licence="CC BY 3.0 (Janelia FlyEM), MIT (the rest)")
    save_model(TorchPredictor(card, model.net), folder)


def report(name: str):
    """Print every fiftieth step."""

    def line(p: nc.Progress) -> None:
        if p.done % 50 == 0 and p.payload:
            print(f"{name}: {p.done}/{p.total} {p.payload}", flush=True)

    return line


def main(folder: Path, names: list[str]) -> None:
    """Write one folder per domain."""
    data = sources()
    if "encoder" in names or not (folder / "encoder").exists():
        shutil.rmtree(folder / "encoder", ignore_errors=True)
        train_encoder(folder / "encoder", data)
    encoder: TorchEncoder = load_encoder(folder)
    for name in [n for n in names if n != "encoder"]:
        image, labels, about = data[name]
        shutil.rmtree(folder / name, ignore_errors=True)
        domain = nc.run(train_domain_job(name, image, labels, folder / name, encoder, PARAMS, about), report(name))
        print(name, dict(domain.card.metrics), flush=True)


if __name__ == "__main__":
    shipped = Path(__file__).parent / "shipped" / "domains"
    main(shipped, sys.argv[1:] or ["encoder", "fly-medulla", "rat-axons", "synthetic-neuropil"])
