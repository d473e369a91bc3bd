from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets.fold import NORMS
from napari_connecto.models.nets.weights import to_bytes
from napari_connecto.models.transfer.adabn import adabn
from tests.models.cards import SCORER_25D, SMP_25D, UNET_2D


def _batches(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(3 * rng.random((n + 2, 1, 1, 48, 48)) + 5).astype(np.float32) for n in range(count)]


def test_statistics_are_the_average_over_the_batches_and_all_else_stays() -> None:
    model = new_model(UNET_2D, 1, device="cpu")
    before = to_bytes(model.net)
    batches = _batches(3)
    adapted = adabn(model, batches)
    first = next(m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in adapted.net.modules() if isinstance(m, NORMS))
    with torch.inference_mode():
        seen = [first(torch.from_numpy(b[:, :, 0])).double() for b in batches]
    mean = torch.stack([s.mean((0, 2, 3)) for s in seen]).mean(0)
    var = torch.stack([s.var((0, 2, 3)) for s in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean.double(), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var.double(), var, atol=1e-4, rtol=1e-3)
    for name, tensor in adapted.net.state_dict().items():
        same = torch.equal(tensor, model.net.state_dict()[name])
        assert same != ("running_" in name), name
    assert to_bytes(model.net) == before, "the model given is not changed"
    assert all(m.momentum == 0.1 for m in adapted.net.modules() if isinstance(m, NORMS)), "it learns as before"


def test_makes_a_model_indifferent_to_contrast() -> None:
    """Where every convolution has a batch norm, the statistics of weaker images give the answer of the strong ones."""
    model = new_model(SCORER_25D, 1, device="cpu")
    rng = np.random.default_rng(0)
    here = [rng.standard_normal((8, 2, 5, 48, 48), np.float32) for _ in range(3)]
    there = [0.3 * batch for batch in here]
    at_home, away = adabn(model, here), adabn(model, there)
    expected, got, unadapted = (
        m(batch, [0] * 8)["object"] for m, batch in ((at_home, here[0]), (away, there[0]), (at_home, there[0]))
    )
    assert np.abs(got - expected).max() < 1e-3
    assert np.abs(unadapted - expected).mean() > 1e-2


def test_the_card_says_where_it_comes_from() -> None:
    model = new_model(UNET_2D, 1, device="cpu")
    adapted = adabn(model, _batches(2))
    assert adapted.card.parent == model.card.digest != adapted.card.digest
    assert adapted.card.training == "AdaBN on 5 unlabelled tiles"
    assert adapted.card.metrics == {"adabn": {"batches": 2, "tiles": 5}}
    assert adabn(model, _batches(2)).card == adapted.card, "the same tiles give the same bits"


def test_models_and_batches_that_will_not_do_are_refused() -> None:
    model = new_model(UNET_2D, 1, device="cpu")
    with pytest.raises(InputError, match="got no batch for AdaBN"):
        adabn(model, [])
    with pytest.raises(InputError, match=r"got a batch of shape \(2, 3, 1, 8, 8\); need \(n, 1, z, y, x\)"):
        adabn(model, [np.zeros((2, 3, 1, 8, 8), np.float32)])
    with pytest.raises(InputError, match="values that are not finite"):
        adabn(model, [np.full((2, 1, 1, 48, 48), np.nan, np.float32)])
    with pytest.raises(InputError, match="too small for batch norm"):
        adabn(new_model(SMP_25D, 1, device="cpu"), [np.zeros((1, 1, 5, 4, 4), np.float32)])
    net = model.net
    for name, module in list(net.named_modules()):
        if isinstance(module, NORMS):
            net.set_submodule(name, torch.nn.Identity())
    with pytest.raises(ModelError, match="'small' has no batch norm to adapt"):
        adabn(TorchPredictor(UNET_2D, net, "cpu"), _batches(1))
