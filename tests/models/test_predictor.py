from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.files import new_model
from napari_connecto.models.inference import predictor as torch_predictor
from napari_connecto.models.inference.predictor import TorchPredictor, example, one_thread, single_precision, skeleton
from napari_connecto.models.nets.fold import NORMS, folded
from napari_connecto.models.nets.subpixel import Exact, exact_end
from napari_connecto.models.nets.weights import fill_weights, to_bytes
from tests.contracts.predictor import PredictorContract
from tests.models.cards import ALL, SCORER_3D, SCORER_25D, SMP_25D, UNET_2D, UNET_3D


class TestTorchPredictor(PredictorContract):
    @pytest.fixture(params=list(ALL))
    def predictor(self, request: pytest.FixtureRequest) -> Predictor:
        return new_model(ALL[request.param], seed=1, device="cpu")


def _batch(card: ModelCard, n: int = 2) -> np.ndarray:
    shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    return np.random.default_rng(3).random((n, card.channels, *shape), np.float32)


@pytest.mark.parametrize("card", ALL.values(), ids=ALL)
def test_is_the_sigmoid_of_the_network_in_evaluation_mode(card: ModelCard) -> None:
    net = _trained_a_little(card)
    batch = _batch(card)
    with torch.inference_mode():
        expected = net.eval()(torch.from_numpy(batch)).sigmoid().numpy()
    answer = TorchPredictor(card, net, "cpu")(batch, [0, 0])
    for i, output in enumerate(card.outputs):
        np.testing.assert_allclose(answer[output.name], expected[:, i], atol=2e-6)
        assert np.ptp(answer[output.name]) > 1e-3


def test_other_activations_are_left_to_the_card() -> None:
    linear = replace(UNET_2D, network={**UNET_2D.network, "activation": "none"})
    net = skeleton(UNET_2D)
    logits = TorchPredictor(linear, net, "cpu")(_batch(UNET_2D), [0, 0])["object"]
    probability = TorchPredictor(UNET_2D, net, "cpu")(_batch(UNET_2D), [0, 0])["object"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probability, atol=1e-6)


def _trained_a_little(card: ModelCard) -> torch.nn.Module:
    """Batch norms with running values worth folding."""
    torch.manual_seed(0)
    net = skeleton(card).train()
    for _ in range(3):
        net(3 * torch.from_numpy(_batch(card)) + 1)
    return net


@pytest.mark.parametrize("card", [SCORER_3D, SCORER_25D, UNET_3D, UNET_2D], ids=lambda c: str(c.network))
def test_all_batch_norms_are_folded(card: ModelCard) -> None:
    net = _trained_a_little(card)
    before = to_bytes(net)
    fused = folded(net, example(card))
    assert not any(isinstance(module, NORMS) for module in fused.modules())
    assert to_bytes(net) == before, "the network itself must not change"


def test_a_norm_that_cannot_be_folded_stays() -> None:
    class Twice(torch.nn.Module):  # one convolution, used twice: folding would scale the other use too
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)
            self.norm.running_mean.fill_(2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + self.conv(2 * x)

    net, x = Twice().eval(), torch.rand(1, 1, 4, 4)
    fused = folded(net, x)
    assert isinstance(fused.norm, torch.nn.BatchNorm2d)
    torch.testing.assert_close(fused(x), net(x))


class Hungry:
    """Stands in for a network on a device that holds ``room`` tiles at most."""

    def __init__(self, net: torch.nn.Module, room: int, error: Exception) -> None:
        self.net, self.room, self.error = net, room, error
        self.sizes: list[int] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise self.error
        return self.net(x)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 B")]
)
def test_out_of_memory_halves_the_batch_and_goes_on(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    model = new_model(UNET_2D, 0, device="cpu")
    batch = _batch(UNET_2D, 5)
    expected = model(batch, [0] * 5)
    hungry = model._ready = Hungry(model._prepare(), 2, error)
    with caplog.at_level(logging.WARNING, "napari_connecto"):
        answer = model(batch, [0] * 5)
    for name in expected:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-6)
    assert hungry.sizes == [5, 3, 2, 2, 2]
    assert "continuing with 2 tiles at a time" in caplog.messages[-1]
    hungry.sizes.clear()
    model(batch, [0] * 5)
    assert hungry.sizes == [2, 2, 2], "what was learnt is kept"


def test_a_tile_that_never_fits_is_said() -> None:
    model = new_model(UNET_2D, 0, device="cpu")
    model._ready = Hungry(model._prepare(), 0, MemoryError())
    with pytest.raises(ModelError, match=r"one tile of \(1, 32, 32\) voxels with a halo of .* --tile 1 16 16 into"):
        model(_batch(UNET_2D), [0, 0])


def test_other_errors_of_the_network_are_not_swallowed() -> None:
    model = new_model(UNET_2D, 0, device="cpu")
    model._ready = Hungry(model._prepare(), 0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        model(_batch(UNET_2D), [0, 0])


def test_threads_of_torch_are_as_before() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_later_training_of_the_network_changes_nothing() -> None:
    net = skeleton(UNET_2D)
    model = TorchPredictor(UNET_2D, net, "cpu")
    digest, expected = model.card.digest, model(_batch(UNET_2D), [0, 0])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1
    answer: Mapping[str, np.ndarray] = model(_batch(UNET_2D), [0, 0])
    np.testing.assert_array_equal(answer["object"], expected["object"])
    assert model.card.digest == digest


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError, match="do not belong to the card's network"):
        fill_weights(skeleton(SCORER_3D), to_bytes(skeleton(UNET_3D)))
    with pytest.raises(ModelError, match="not a valid safetensors file"):
        fill_weights(skeleton(SCORER_3D), b"\x00" * 64)


def test_smp_sections_see_their_neighbours() -> None:
    """In 2.5-D section t of the answer depends on sections t .. t + 2 * halo of what is read, and on no other."""
    model = new_model(SMP_25D, 0, device="cpu")
    batch = _batch(SMP_25D, 1)
    changed = batch.copy()
    changed[:, :, 5] += 1.0
    a, b = model(batch, [0])["object"][0], model(changed, [0])["object"][0]
    np.testing.assert_array_equal(a[0], b[0])
    assert np.abs(a[1] - b[1]).max() > 1e-6


def test_a_device_that_was_auto_is_picked_anew_where_it_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a worker with a GPU uses it though its client has none."""
    asked: list[str] = []

    def pick(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr(torch_predictor, "pick_device", pick)
    for device in ("auto", "cpu"):
        torch_predictor.revive.cache_clear()
        pickle.loads(pickle.dumps(new_model(UNET_3D, 0, device=device)))  # noqa: S301 (just made)
    assert asked == ["auto", "auto", "cpu", "cpu"]


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_half_precision_on_a_cpu_is_for_large_networks_and_changes_little(
    monkeypatch: pytest.MonkeyPatch, activation: str
) -> None:
    """Small ones answer to the last bit as without it; of a large one, less than a fiftieth of the spread is seen."""
    card = replace(UNET_3D, network={**UNET_3D.network, "activation": activation})
    net, batch = _trained_a_little(card), _batch(card)

    def answer(there: bool, large: int) -> np.ndarray:
        monkeypatch.setattr(torch_predictor, "cpu_has_bfloat16", lambda: there)
        monkeypatch.setattr(torch_predictor, "LARGE", large)
        return TorchPredictor(card, net, "cpu")(batch, [0, 0])["object"]

    single = answer(there=False, large=0)
    np.testing.assert_array_equal(answer(there=True, large=10**9), single)
    with single_precision():
        np.testing.assert_array_equal(answer(there=True, large=0), single)
    away = np.abs(answer(there=True, large=0) - single)
    assert 0 < away.mean() < 0.02 * single.std()


def test_a_regression_in_half_precision_ends_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are no bfloat16 numbers, and what is saved is as before the call."""
    monkeypatch.setattr(torch_predictor, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(torch_predictor, "LARGE", 0)
    card = replace(UNET_3D, network={**UNET_3D.network, "activation": "none"})
    model = TorchPredictor(card, _trained_a_little(card), "cpu")
    answer = torch.from_numpy(model(_batch(card), [0, 0])["object"])
    assert (answer.bfloat16().float() != answer).float().mean() > 0.9
    assert to_bytes(model.net) == model.weights


def test_a_regression_ends_exactly_where_its_end_is_known() -> None:
    net = skeleton(UNET_3D)
    assert exact_end(net)
    assert isinstance(net[-1], Exact)  # type: ignore[index]
    assert exact_end(net), "twice is as once"
    assert not exact_end(skeleton(SMP_25D))
