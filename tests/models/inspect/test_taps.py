"""Laws of taking and replacing activations, for every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.models.files import new_model
from napari_connecto.models.imported.architectures import MONAI, SMP, architecture
from napari_connecto.models.imported.predictor import ImportedPredictor, converted
from napari_connecto.models.inspect.places import find_taps
from napari_connecto.models.inspect.taps import Network, capture, network, patched, taps
from tests.models.cards import ALL
from tests.packages import net as small_net
from tests.packages import script

LIBRARIES = {
    "MONAI": (
        MONAI,
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": [4, 8, 16], "strides": [2, 2]},
    ),
    "smp": (SMP, {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [8, 6, 4], "in_channels": 1}),
}


def imported_card(format: str, architecture: str = "", kwargs: object = None) -> ModelCard:
    own = {"axes": "bcyx", "answer": "bcyx", "before": [], "after": [{"id": "sigmoid"}]}
    described = {"kind": "imported", "format": format, "architecture": architecture, "kwargs": kwargs or {}, **own}
    return ModelCard("other", "boundary", (8, 8, 8), (1, 16, 16), (0, 8, 8), (Output("out"),), network=described)


def imported(library: str) -> ImportedPredictor:
    name, kwargs = LIBRARIES[library]
    torch.manual_seed(0)
    state = architecture(name, kwargs).state_dict()
    weights = converted(safetensors.torch.save(state), name, kwargs, "it")
    return ImportedPredictor(imported_card("state_dict", name, kwargs), weights, "cpu")


def opened(kind: str) -> Network:
    return network(imported(kind) if kind in LIBRARIES else new_model(ALL[kind], 0, device="cpu"))


def batches(found: Network) -> tuple[np.ndarray, np.ndarray]:
    card = found.card
    shape = (2, card.channels, *(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)))
    drawn = np.random.default_rng(0).random((2, *shape), np.float32)
    return drawn[0], drawn[1]


@pytest.fixture(params=[*ALL, *LIBRARIES])
def found(request: pytest.FixtureRequest) -> Network:
    return opened(request.param)


@torch.no_grad()
def test_replacing_activations_by_themselves_changes_nothing(found: Network) -> None:
    batch, _ = batches(found)
    with capture(found, found.taps) as own:
        expected = found.logits(batch)
    assert set(own) == set(found.taps)
    with patched(found, own):
        assert torch.equal(found.logits(batch), expected)


@torch.no_grad()
def test_the_first_stage_of_another_run_gives_that_run(found: Network) -> None:
    here, there = batches(found)
    with capture(found, found.taps) as other:
        expected = found.logits(there)
    assert not torch.allclose(found.logits(here), expected, atol=1e-4)
    with patched(found, {"encoder.1": other["encoder.1"]}), capture(found, found.taps) as after:
        torch.testing.assert_close(found.logits(here), expected)
    for name, activations in other.items():
        torch.testing.assert_close(after[name], activations, msg=name)


@torch.no_grad()
def test_a_skip_reaches_the_decoder_alone(found: Network) -> None:
    here, _ = batches(found)
    skips = [name for name, tap in found.taps.items() if tap.kind == "skip"]
    encoder = [name for name, tap in found.taps.items() if tap.kind == "encoder"]
    for name in skips:
        with capture(found, encoder) as before:
            plain = found.logits(here)
        with patched(found, {name: torch.zeros_like}), capture(found, encoder) as after:
            changed = found.logits(here)
        assert not torch.equal(plain, changed), name
        for stage in encoder:
            assert torch.equal(before[stage], after[stage]), (name, stage)


@torch.no_grad()
def test_channels_and_strides_are_those_of_the_activations(found: Network) -> None:
    batch, _ = batches(found)
    with capture(found, found.taps) as seen:
        found.logits(batch)
    for name, tap in found.taps.items():
        shape = seen[name].shape
        assert shape[1] == tap.channels, name
        expected = [n // s for n, s in zip(batch.shape[2:], tap.stride, strict=True)]
        assert list(shape[2:]) == expected[-(len(shape) - 2) :], name


def test_names_of_a_u_net_in_the_order_of_computation() -> None:
    assert list(taps(opened("unet 3-D"))) == [
        *("encoder.1", "encoder.2", "encoder.3", "skip.2", "decoder.1", "skip.1", "decoder.2"),
    ]
    smp = taps(new_model(ALL["smp"], 0, device="cpu"))
    assert {name: tap.stride for name, tap in smp.items()} == {
        "encoder.1": (1, 2, 2),
        "encoder.2": (1, 4, 4),
        "skip.1": (1, 2, 2),
        "decoder.1": (1, 2, 2),
        "decoder.2": (1, 1, 1),
    }


def test_a_gradient_reaches_what_was_added(found: Network) -> None:
    batch, _ = batches(found)
    added: dict[str, torch.Tensor] = {}

    def add(name: str):
        def change(a: torch.Tensor) -> torch.Tensor:
            added[name] = torch.zeros_like(a, requires_grad=True)
            return a + added[name]

        return change

    with patched(found, {name: add(name) for name in found.taps}):
        found.logits(batch).pow(2).sum().backward()
    assert all(bool(delta.grad.abs().max() > 0) for delta in added.values() if delta.grad is not None)
    assert all(delta.grad is not None for delta in added.values())


def test_hooks_are_gone_afterwards_and_the_model_was_never_touched(found: Network) -> None:
    batch, _ = batches(found)
    with torch.no_grad():
        expected = found.logits(batch)
        with pytest.raises(ZeroDivisionError), patched(found, {"encoder.1": torch.zeros_like}):
            raise ZeroDivisionError
        assert torch.equal(found.logits(batch), expected)


def test_what_does_not_fit_is_named() -> None:
    found = opened("unet 2-D")
    with pytest.raises(InputError, match=r"got the place 'encoder.9'; 'small' has encoder.1"):
        patched(found, {"encoder.9": torch.zeros_like}).__enter__()
    with (
        pytest.raises(InputError, match=r"in the place of .* at 'encoder.1'; shapes must match"),
        patched(found, {"encoder.1": torch.zeros(1)}),
    ):
        found.logits(batches(found)[0])


def test_a_torchscript_network_has_no_places() -> None:
    model = ImportedPredictor(imported_card("torchscript"), script(small_net()), "cpu")
    with pytest.raises(ModelError, match=r"'other' is a network of torchscript weights.*state dict"):
        taps(model)


def test_a_network_of_unknown_make_is_refused() -> None:
    with pytest.raises(ModelError, match=r"got a Sequential, whose stages are unknown"):
        find_taps(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 8, 8))
