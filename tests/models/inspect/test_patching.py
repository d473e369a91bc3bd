"""Laws of replacing channels: of the gradient, of exact replacement, and of what they share."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import ModelError
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.patching import Patcher, Scene
from tests.models.cards import ALL

KINDS = pytest.mark.parametrize("kind", ["smp", "unet 2-D", "unet 3-D", "scorer 2.5-D"])


def model(kind: str, seed: int = 0) -> TorchPredictor:
    return new_model(ALL[kind], seed, device="cpu")


def scene(found: TorchPredictor) -> Scene:
    card = found.card
    shape = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    drawn = np.random.default_rng(0)
    bad, good = drawn.random((2, 1, card.channels, *shape), np.float32)
    out = card.outputs[0]
    grid = [(n - 2 * t) // s for n, t, s in zip(shape, out.trimmed, out.stride, strict=True)]
    return Scene(bad, good, drawn.standard_normal(grid))


@KINDS
def test_replacing_by_oneself_restores_nothing(kind: str) -> None:
    found = model(kind)
    image = scene(found)
    same = Scene(image.bad, image.bad, image.weight)
    patcher = Patcher(found, found, found.card.outputs[0].name)
    effects = patcher.effects(same)
    plans = [{name: None} for name in patcher.taps]
    assert effects.bad == effects.good
    assert all(not values.any() for values in effects.effect.values())
    np.testing.assert_allclose(list(patcher.margins(same, plans)), effects.bad, rtol=1e-6)


@KINDS
def test_all_channels_of_what_all_flows_through_give_the_good_run(kind: str) -> None:
    found = model(kind)
    patcher = Patcher(found, found, found.card.outputs[0].name)
    image = scene(found)
    effects = patcher.effects(image)
    first, last = "encoder.1", list(patcher.taps)[-1]
    every = {name: list(range(patcher.taps[name].channels)) for name in (first, last)}
    plans = [{first: None}, {last: None}, {first: every[first]}, {last: every[last]}]
    np.testing.assert_allclose(list(patcher.margins(image, plans)), effects.good, rtol=1e-4, atol=1e-5)
    assert abs(effects.good - effects.bad) > 1e-3


def test_the_gradient_is_exact_where_what_follows_is_linear() -> None:
    """Nothing but a convolution follows the last block of an smp U-Net."""
    found = model("smp")
    patcher = Patcher(found, found, "object")
    image = scene(found)
    effects = patcher.effects(image)
    exact = list(patcher.margins(image, [{"decoder.2": [c]} for c in range(4)]))
    np.testing.assert_allclose(np.array(exact) - effects.bad, effects.effect["decoder.2"], rtol=1e-4, atol=1e-5)
    assert sum(effects.effect["decoder.2"]) == pytest.approx(effects.good - effects.bad, rel=1e-4)


@KINDS
def test_the_gradient_is_that_of_a_small_replacement(kind: str) -> None:
    """With a good run that is close to the bad one, exact effects are first-order effects."""
    found = model(kind)
    image = scene(found)
    near = Scene(image.bad, image.bad + 1e-3 * (image.good - image.bad), image.weight)
    patcher = Patcher(found, found, found.card.outputs[0].name)
    effects = patcher.effects(near)
    first = effects.effect["encoder.1"]
    exact = np.array(list(patcher.margins(near, [{"encoder.1": [c]} for c in range(len(first))]))) - effects.bad
    np.testing.assert_allclose(exact, first, rtol=0.1, atol=0.05 * np.abs(first).max())


def test_late_replacements_are_the_same_without_running_the_encoder_again() -> None:
    found = model("smp")
    patcher = Patcher(found, found, "object")
    image = scene(found)
    stem = patcher.bad.net.get_submodule(patcher.taps["encoder.1"].module)
    runs: list[int] = []
    handle = stem.register_forward_hook(lambda *_: runs.append(1))
    late = list(patcher.margins(image, [{"skip.1": [0, 2]}] * 5))
    assert len(runs) == 2  # both runs once
    whole = list(patcher.margins(image, [{"skip.1": [0, 2], "encoder.2": []}] * 5))
    assert len(runs) == 2 + 2 + 5
    handle.remove()
    assert late == pytest.approx(whole, rel=1e-6)


def test_two_models_of_one_architecture_lend_to_each_other() -> None:
    one, other = model("unet 2-D", 0), model("unet 2-D", 1)
    patcher = Patcher(one, other, "object")
    image = scene(one)
    same = Scene(image.bad, image.bad, image.weight)
    [all_replaced] = patcher.margins(same, [{"decoder.1": None, "encoder.1": None}])
    effects = patcher.effects(same)
    assert effects.bad != effects.good
    assert np.isfinite(all_replaced)


def test_models_of_different_architecture_are_refused() -> None:
    with pytest.raises(ModelError, match=r"have different architectures; give two models of one"):
        Patcher(model("unet 2-D"), model("smp"), "object")
