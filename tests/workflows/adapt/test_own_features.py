"""MMD^2 in a model's own features: by its formula, by patches, and beside the agreement in a ranking."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import ModelError
from napari_connecto.core.jobs import run
from napari_connecto.core.views.invert import inverted
from napari_connecto.models.files import load_model
from napari_connecto.models.transfer import own
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.models.transfer.own import own_features, patch_mmd2
from napari_connecto.phantoms import phantom
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.adapt.domains import Domain, save_own_features
from napari_connecto.workflows.adapt.own_sample import own_distance_job, own_sample
from napari_connecto.workflows.adapt.params import RankParams
from napari_connecto.workflows.adapt.rank import rank_domains
from tests import adapt_parts


def patches(shift, seed, n=7):
    """(n, 3, 4): positions of one patch are alike."""
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (n, 1, 4)) + rng.normal(0, 0.1, (n, 3, 4))


def test_mmd2_is_the_mean_over_positions_of_different_patches():
    x, y = patches(0, 1), patches(1, 2, 5)
    flat = y.reshape(-1, 4)
    apart = [np.linalg.norm(a - b) for i, a in enumerate(flat) for b in flat[i + 1 :]]
    width = np.median(apart)

    def kernel(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * width**2))

    def mean(p, q, same):
        return np.mean([kernel(a, b) for i, u in enumerate(p) for j, v in enumerate(q) if not (same and i == j)
                        for a in u for b in v])  # fmt: skip

    assert patch_mmd2(x, y)[0] == pytest.approx(mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))


def test_samples_of_one_distribution_are_apart_by_nothing_on_average():
    """Though the positions of a patch are near copies, which would bias a plain estimate."""
    found = [patch_mmd2(patches(0, 2 * k), patches(0, 2 * k + 1))[0] for k in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    far = patch_mmd2(patches(2, 1, 30), patches(0, 2, 30))
    assert np.quantile(far[1:], 0.025) > 0.1
    assert np.quantile(far[1:], 0.025) < far[0] < np.quantile(far[1:], 0.975)


def test_the_encoder_s_positions_average_to_its_pooled_features(monkeypatch):
    monkeypatch.setattr(own, "POSITIONS", 10_000)
    model = load_model(list_models()["synthetic-neuropil"], device="cpu", backend="torch")
    image = np.random.default_rng(0).normal(size=(2, 1, 1, 64, 64)).astype(np.float32)
    found, pooled = own_features(model, image), TorchEncoder(model)(image)
    assert found["encoder"].shape == (2, 16, 256)
    assert found["decoder"].shape[:2] == (2, 64 * 64)
    np.testing.assert_allclose(found["encoder"].mean(1), pooled[:, :256], atol=2e-3)


def test_a_volume_like_the_training_data_is_nearer_than_another():
    domain = Domain.load(list_models()["synthetic-neuropil"])
    model, learnt = domain.model(device="cpu", backend="torch"), domain.own_features()
    like = phantom("neuropil", (8, 256, 256), seed=77).image
    near, far = (run(own_distance_job(volume, model, learnt)) for volume in (like, inverted(like)))
    for place in ("encoder", "decoder"):
        assert near[place].high < far[place].low
        assert near[place].low < near[place].value < near[place].high


def test_it_stands_beside_the_agreement_of_models_that_have_a_sample(tmp_path):
    folder = adapt_parts.library(tmp_path / "library", steps=1)
    shutil.rmtree(folder / "far")
    volume = phantom("neuropil", (8, 256, 256), seed=3).image
    params = RankParams(places=2, place=128, patches=12, patch=64, permutations=100)
    (before,) = rank_domains(volume, folder, params).ranks
    assert (before.own_encoder, before.own_decoder) == (None, None)
    model = load_model(folder / "near", device="cpu", backend="torch")
    save_own_features(folder / "near", own_sample(volume, model))
    found = rank_domains(volume, folder, params)
    (rank,) = found.ranks
    assert rank.own_encoder.value == pytest.approx(0, abs=0.05)  # of the volume itself
    assert f"in own features {rank.own_encoder.value:.3f}" in rank.line()
    row = json.loads(json_text(found.to_json()))["ranks"][0]
    assert row["own_decoder"]["low"] == pytest.approx(rank.own_decoder.low)
    (folder / "near/own_features.npz").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"own_features.npz"):
        Domain.load(folder / "near").own_features()
