"""A tiny library of domains, a volume with truth, and an annotator who paints the truth: for tests of the dock."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, read_card, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.domains import save_about
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example
from napari_connecto.workflows.adapt.feature_sample import sample_features
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.em_labels import to_em
from tests.once import once

SHAPE = (8, 256, 256)
NETWORK = {"kind": "smp", "encoder": "tu-resnet10t", "depth": 3, "width": 8}


def tiny_card(name: str) -> ModelCard:
    return ModelCard(
        name=name,
        task="boundary",
        voxel_nm=(40.0, 8.0, 8.0),
        tile=(1, 64, 64),
        halo=(0, 16, 16),
        outputs=(Output("boundary"),),
        normalisation=Normalisation("percentile", 1.0, 99.0),
        network=NETWORK,
        training=f"{name}, synthetic",
        licence="CC0",
    )


def image_and_truth(folder: Path, seed: int = 7) -> tuple[Path, np.ndarray]:
    """A saved pyramid of neuropil, and its truth in our numbers: 1 membrane, 3 and more neurites."""
    made = phantom("neuropil", SHAPE, seed=seed)
    path = folder / "neuropil.ome.zarr"
    save_volume(made.image, path, levels=2)
    return path, to_em(np.asarray(made.truth["neurons"].levels[0].array), "instances")


def library(folder: Path, steps: int = 25) -> Path:
    """Two domains: "near" learnt a little from the same kind of image, "far" from its inverted, blurred contrast."""
    return once(f"library-{steps}", lambda place: _library(place, steps), folder)


def _library(folder: Path, steps: int) -> None:
    encoder_model = new_model(tiny_card("encoder"), 0, device="cpu")
    save_model(encoder_model, folder / "encoder")
    encoder = TorchEncoder(encoder_model)
    made = phantom("neuropil", (8, 256, 256), seed=1)
    near, truth = made.image, to_em(np.asarray(made.truth["neurons"].levels[0].array), "instances")
    other = np.random.default_rng(0).integers(0, 255, (8, 64, 64)).astype(np.float32)
    blocky = np.kron(other, np.ones((1, 4, 4), np.float32)).astype(np.uint8)
    far = Volume.from_array(blocky, (40.0, 8.0, 8.0), name="far")
    for name, volume, learnt in (("near", near, steps), ("far", far, 1)):
        _domain(folder / name, volume, truth, encoder, learnt)


def _domain(folder: Path, volume: Volume, truth: np.ndarray, encoder: TorchEncoder, steps: int) -> None:
    card = tiny_card(folder.name)
    image = np.asarray(volume.levels[0].array)
    example = Example(image, truth, card.voxel_nm, card.normalisation.resolve(volume))
    samples = EmSamples([example], card, crop=64, batch=4)
    model = run(fit(new_model(card, 0, device="cpu"), samples.from_step, FitParams(steps=steps, learning_rate=5e-3)))
    save_model(TorchPredictor(replace(card, digest=""), model.net, "cpu"), folder)
    found = sample_features(volume, card, encoder, patches=40, size=64)
    about = {"encoder": encoder.card.digest, "patch": 64, "segment": asdict(SegmentParams(mode="2d"))}
    save_about(folder, about, found.vectors)


def session_of(work) -> Session:
    """The session of a dock's work, opened as another process would."""
    card = read_card(work.base)
    return Session.open(work.session.path, work.volume, card, spec=work.spec, model=str(work.base))
