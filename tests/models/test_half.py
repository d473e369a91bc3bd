from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor, skeleton
from napari_connecto.models.nets.nets import build
from napari_connecto.models.nets.weights import fill_weights, to_bytes
from napari_connecto.models.training.fit import FitParams, fit
from tests.models.cards import SCORER_3D, SMP_25D, UNET_2D

HALF = replace(UNET_2D, network={**UNET_2D.network, "half": True})


def _batch(card: ModelCard) -> np.ndarray:
    shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    return np.random.default_rng(3).random((2, card.channels, *shape), np.float32)


def test_convolutions_are_stored_in_half_precision_and_nothing_else() -> None:
    stored = safetensors.torch.load(new_model(HALF, 1, device="cpu").weights)
    for name, tensor in stored.items():
        if "num_batches" not in name:
            assert tensor.dtype == (torch.float16 if tensor.dim() >= 2 else torch.float32), name
    assert sum(t.dim() >= 2 for t in stored.values()) >= 5
    full = safetensors.torch.load(new_model(UNET_2D, 1, device="cpu").weights)
    for name, tensor in stored.items():
        assert torch.equal(tensor, full[name].to(tensor.dtype)), name


def test_the_model_holds_the_rounded_weights() -> None:
    net = skeleton(HALF)
    model = TorchPredictor(HALF, net, "cpu")
    for (name, given), held in zip(net.state_dict().items(), model.net.state_dict().values(), strict=True):
        expected = given.half().float() if given.is_floating_point() and given.dim() >= 2 else given
        assert torch.equal(held, expected), name
        assert held.dtype == given.dtype


@pytest.mark.parametrize(
    "card", [HALF, replace(SMP_25D, network={**SMP_25D.network, "half": True})], ids=["unet", "smp"]
)
def test_saved_loaded_sent_and_in_memory_are_one(card: ModelCard, tmp_path: Path) -> None:
    model = new_model(card, 2, device="cpu")
    save_model(model, tmp_path / "m")
    loaded = load_model(tmp_path / "m", device="cpu", backend="torch")
    sent = pickle.loads(pickle.dumps(model))  # noqa: S301 (just made)
    again = TorchPredictor(model.card, model.net, "cpu")
    batch, name = _batch(card), card.outputs[0].name
    for other in (loaded, sent, again):
        assert other.card == model.card
        np.testing.assert_array_equal(other(batch, [0, 0])[name], model(batch, [0, 0])[name])


def test_minus_zero_becomes_zero() -> None:
    net = skeleton(HALF)
    with torch.no_grad():
        weight = next(p for p in net.parameters() if p.dim() >= 2)
        weight.fill_(-1e-9)
    held = next(p for p in TorchPredictor(HALF, net, "cpu").net.parameters() if p.dim() >= 2)
    assert not torch.signbit(held).any()
    assert (held == 0).all()


def test_weights_too_large_for_half_precision_are_refused() -> None:
    net = skeleton(HALF)
    with torch.no_grad():
        next(p for p in net.parameters() if p.dim() >= 2).fill_(1e5)
    with pytest.raises(ModelError, match="beyond half precision's 65504; set half to false"):
        TorchPredictor(HALF, net, "cpu")


def test_weights_of_full_precision_fit_a_half_card() -> None:
    full = new_model(UNET_2D, 3, device="cpu")
    net = skeleton(HALF)
    fill_weights(net, full.weights)
    assert TorchPredictor(HALF, net, "cpu").card.digest == new_model(HALF, 3, device="cpu").card.digest
    assert to_bytes(net) == full.weights


def test_what_was_trained_is_scored_as_it_will_be_saved() -> None:
    scored = []

    def validate(model: Predictor) -> float:
        scored.append(model.card.digest)
        return 1.0

    c = replace(SCORER_3D, network={**SCORER_3D.network, "half": True})
    shape = tuple(t + 2 * h for t, h in zip(c.tile, c.halo, strict=True))
    rng = np.random.default_rng(0)
    sample = (rng.random((1, 1, *shape), np.float32), np.ones((1, 1, 8, 8, 8), np.float32))
    model = run(
        fit(
            new_model(c, 0, device="cpu"),
            iter([(*sample, np.ones_like(sample[1]))] * 2),
            FitParams(steps=2),
            validate=validate,
        )
    )
    assert scored == [model.card.digest]


def test_layers_beyond_the_depth_are_left_out() -> None:
    """smp keeps all of an encoder; what the answer does not depend on would only be carried along."""
    net = build({"kind": "smp", "encoder": "resnet18", "depth": 2, "width": 4}, 1, 1)
    names = [name for name, _ in net.named_parameters()]
    assert any("layer1" in name for name in names)
    assert not any("layer2" in name or "layer3" in name or "layer4" in name for name in names)
    net(torch.rand(1, 1, 1, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net.training


@pytest.mark.slow
def test_a_domain_takes_less_than_8_megabytes() -> None:
    network = {"kind": "smp", "encoder": "resnet18", "depth": 4, "width": 16, "half": True}
    card = replace(UNET_2D, network=network, tile=(1, 64, 64), halo=(0, 32, 32))
    model = new_model(card, 0, device="cpu")
    assert len(model.weights) < 8e6
    assert sum(p.numel() for p in model.net.parameters()) > 3e6
