"""Suggestions by a real network and its encoder, and on real tissue."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import new_model
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.adapt.annotate.suggest import suggest
from napari_connecto.workflows.shared.patches import candidates
from tests.workflows.shared.test_patches import tissue

TISSUE = {
    "isbi2012/image.tif": (50.0, 4.0, 4.0),
    "flyem_medulla/image.tif": (10.0, 10.0, 10.0),
    "epfl_ca1/image.tif": (5.0, 5.0, 5.0),
    "snemi_crop/image.tif": (30.0, 6.0, 6.0),
    "cdeep3m_mito/image.tif": (40.0, 8.0, 8.0),
}


@pytest.fixture(scope="module")
def model():
    network = {"kind": "smp", "encoder": "mobilenet_v2", "depth": 2, "width": 4}
    card = ModelCard(
        "m", "boundary", (40.0, 8.0, 8.0), (1, 64, 64), (0, 16, 16), (Output("boundary"),), network=network
    )
    return new_model(card, seed=0)


@pytest.mark.parametrize("strategy", ["median", "median-diverse", "k-center", "badge"])
def test_a_network_suggests_and_its_encoder_compares(model, strategy):
    volume = Volume.from_array(tissue((3, 256, 256)), (40.0, 8.0, 8.0))
    encoder = TorchEncoder(model)
    first = suggest(volume, model, 4, size=64, pool=20, strategy=strategy, encoder=encoder)
    assert all(0 < s.score <= 1 for s in first)
    assert [s.box.shape for s in first] == [(1, 64, 64)] * 4
    assert first == suggest(volume, model, 4, size=64, pool=20, strategy=strategy, encoder=encoder)
    more = suggest(
        volume, model, 4, size=64, pool=20, strategy=strategy, encoder=encoder, exclude=[s.box for s in first]
    )
    assert not any(a.box.overlaps(b.box) for a in more for b in first)


def test_an_encoder_of_another_voxel_size_sees_the_same_places(model):
    seen = []

    class Coarse:
        card = ModelCard("e", "encode", (40.0, 16.0, 16.0), (1, 32, 32), (1, 0, 0), (Output("x"),))

        def __call__(self, batch):
            seen.append(batch)
            return batch.mean(axis=(1, 2, 3, 4))[:, None]

    image = tissue((3, 256, 256))
    volume = Volume.from_array(image, (40.0, 8.0, 8.0))
    found = suggest(volume, model, 12, size=64, pool=48, strategy="k-center", encoder=Coarse())
    assert {batch.shape for batch in seen} == {(1, 1, 3, 32, 32)}
    brightness = np.array([batch[0, 0, 1].mean() for batch in seen])
    assert np.ptp(brightness) > 0.05
    for suggestion in found:
        assert np.abs(brightness - image[suggestion.box.slices].mean() / 255).min() < 1e-3


@pytest.mark.real
@pytest.mark.parametrize("name", TISSUE)
def test_real_tissue_is_kept_and_what_surrounds_it_is_not(real_data, name):
    level = open_volume(real_data / name, voxel_nm=TISSUE[name]).levels[0]
    image = level.read(level.box)[:4]
    whole = candidates(Level(image, TISSUE[name]), (1, 100, 100), 1000)
    _, ny, nx = (n // s for n, s in zip(image.shape, (1, 100, 100), strict=True))
    assert (len(whole.boxes), whole.skipped_empty) == (4 * ny * nx, 0)
    rng = np.random.default_rng(0)
    resin = rng.normal(image.mean(), 3, image.shape)
    padded = np.concatenate([image, np.zeros_like(image), resin.astype(np.uint8)])
    found = candidates(Level(padded, TISSUE[name]), (1, 100, 100), 1000)
    assert {box.start[0] for box in found.boxes} == {0, 1, 2, 3}
    assert (len(found.boxes), found.skipped_empty) == (4 * ny * nx, 8 * ny * nx)
