from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets.fold import CONVS
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.models.transfer.adapter import Adapter, load_adapter, merge, save_adapter
from tests.models.cards import SCORER_3D, SMP_25D, UNET_2D, card
from tests.models.test_fit import agreement, bright, noise


def _half(c: ModelCard) -> ModelCard:
    return replace(c, network={**c.network, "half": True})


ONE = _half(card(dict(UNET_2D.network), (1, 32, 32), (0, 8, 8)))
CARDS = {"unet 2-D": ONE, "scorer 3-D": _half(SCORER_3D), "smp": _half(SMP_25D)}


def _adapted(base: TorchPredictor, steps: int = 6, rank: int = 2) -> TorchPredictor:
    settings = FitParams(steps=steps, learning_rate=2e-2, train="adapter", rank=rank)
    return run(fit(base, noise(base.card), settings))


@pytest.fixture(scope="module")
def base() -> TorchPredictor:
    start = new_model(ONE, 3, device="cpu")
    return run(fit(start, bright(ONE, 1), FitParams(steps=40, learning_rate=2e-2)))


@pytest.fixture(scope="module")
def merged(base: TorchPredictor) -> TorchPredictor:
    return _adapted(base)


@pytest.mark.parametrize("name", CARDS)
def test_merging_gives_the_same_bits(name: str) -> None:
    base = new_model(CARDS[name], 3, device="cpu")
    merged = _adapted(base)
    assert merged.adapter is not None
    assert merged.card.digest != base.card.digest
    assert merge(base, merged.adapter).weights == merged.weights


def test_survives_the_file_bit_by_bit(base: TorchPredictor, merged: TorchPredictor, tmp_path: Path) -> None:
    assert merged.adapter is not None
    save_adapter(merged.adapter, tmp_path / "mine.safetensors")
    adapter = load_adapter(tmp_path / "mine.safetensors")
    assert merge(base, adapter).card == merged.card
    assert merge(base, adapter).weights == merged.weights
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


def test_a_base_is_loaded_with_an_adapter(base: TorchPredictor, merged: TorchPredictor, tmp_path: Path) -> None:
    assert merged.adapter is not None
    save_adapter(merged.adapter, tmp_path / "mine.safetensors")
    save_model(base, tmp_path / "base")
    given = {"device": "cpu", "backend": "torch", "adapter": tmp_path / "mine.safetensors"}
    loaded = load_model(tmp_path / "base", **given)
    assert loaded.card == merged.card
    assert load_model(tmp_path / "base", **given, tile=(1, 16, 16)).card.tile == (1, 16, 16)
    save_model(new_model(ONE, 9, device="cpu"), tmp_path / "other")
    with pytest.raises(ModelError, match="the adapter belongs to the model of digest"):
        load_model(tmp_path / "other", **given)


def test_merged_answers_as_an_adapter_beside_the_base(base: TorchPredictor, merged: TorchPredictor) -> None:
    """The change is a convolution of ``rank`` filters and a 1x1 one after it, added to what the base gives."""
    adapter = merged.adapter
    assert adapter is not None
    net = merged.net  # its small tensors; the convolutions are those of the base
    applied = {}
    for name, conv in net.named_modules():
        if isinstance(conv, CONVS):
            kernel = f"{name}.weight"
            with torch.no_grad():
                conv.weight.copy_(base.net.state_dict()[kernel])
            applied[name] = adapter.up[kernel].float(), adapter.down[kernel].float()
    for name, (up, down) in applied.items():
        conv = net.get_submodule(name)
        if isinstance(conv, torch.nn.ConvTranspose2d):
            with torch.no_grad():
                conv.weight += adapter.scale * (up @ down).reshape(conv.weight.shape)
            continue
        filters = down.reshape(-1, *conv.weight.shape[1:])

        def beside(module, inputs, output, filters=filters, up=up):
            few = torch.nn.functional.conv2d(inputs[0], filters, None, module.stride, module.padding)
            return output + adapter.scale * torch.einsum("or,nryx->noyx", up, few)

        conv.register_forward_hook(beside)
    batch = next(noise(ONE, 5))[0]
    with torch.inference_mode():
        expected = net(torch.from_numpy(batch)).sigmoid()[:, 0].numpy()
    again = merge(base, adapter)
    np.testing.assert_allclose(again(batch, [0, 0])["object"], expected, atol=1e-5)
    assert np.abs(base(batch, [0, 0])["object"] - expected).max() > 1e-2


def test_learns_with_the_base_held_still() -> None:
    """What was learnt of bright blocks, turned round by a handful of numbers."""
    base = run(fit(new_model(ONE, 0, device="cpu"), bright(ONE, 1), FitParams(steps=120, learning_rate=2e-2)))

    def dark() -> Iterator[Sample]:
        for batch, target, weight in bright(ONE, 2):
            yield batch, 1 - target, weight

    settings = FitParams(steps=120, learning_rate=2e-2, train="adapter", validate_every=40)
    tuned = run(fit(base, dark(), settings, validate=lambda m: -agreement(ONE)(m)))
    assert agreement(ONE)(base) > 0.98
    assert agreement(ONE)(tuned) < 0.25
    assert tuned.adapter is not None


def test_the_card_says_where_it_comes_from(base: TorchPredictor, merged: TorchPredictor) -> None:
    assert merged.card.parent == base.card.digest
    assert merged.card.network == {**base.card.network, "half": False}
    assert merged.card.training == "adapter of rank 2"
    assert merged.adapter is not None
    assert merged.adapter.rank == 2
    stored = safetensors.torch.load(merged.adapter.to_bytes())
    convolutions = [n for n, t in base.net.state_dict().items() if t.dim() >= 2]
    assert {n for n in stored if n.startswith("up/")} == {f"up/{n}" for n in convolutions}
    assert not any("running_" in n for n in stored), "the statistics stay"


def test_another_base_is_refused(base: TorchPredictor, merged: TorchPredictor) -> None:
    other = new_model(ONE, 9, device="cpu")
    ours, theirs = base.card.digest[:12], other.card.digest[:12]
    assert merged.adapter is not None
    with pytest.raises(ModelError, match=f"belongs to the model of digest {ours}.*got {theirs}.*load that model"):
        merge(other, merged.adapter)


def test_a_base_of_full_precision_can_be_merged() -> None:
    full = new_model(replace(ONE, network={**ONE.network, "half": False}), 3, device="cpu")
    merged = _adapted(full)
    assert merged.adapter is not None
    assert merge(full, merged.adapter).weights == merged.weights


def test_files_that_are_no_adapters_are_refused(base: TorchPredictor, merged: TorchPredictor, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the adapter"):
        load_adapter(tmp_path / "none")
    (tmp_path / "base").write_bytes(base.weights)
    with pytest.raises(ModelError, match="of format None, not 'napari-connecto adapter 1'"):
        load_adapter(tmp_path / "base")
    assert merged.adapter is not None
    (tmp_path / "cut").write_bytes(merged.adapter.to_bytes()[:-3])
    with pytest.raises(ModelError, match="the adapter is damaged"):
        load_adapter(tmp_path / "cut")
    unlike = replace(merged.adapter, new={**merged.adapter.new, "x": torch.zeros(1)})
    (tmp_path / "unlike").write_bytes(unlike.to_bytes())
    with pytest.raises(ModelError, match="its parts do not belong together"):
        load_adapter(tmp_path / "unlike")
    with pytest.raises(ModelError, match="the adapter is damaged"):
        merge(base, Adapter(base.card, 1.0, {"x": torch.ones(1, 1)}, {"x": torch.ones(1, 1)}, {}, {}))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write the adapter"):
        save_adapter(merged.adapter, tmp_path / "file" / "a")
