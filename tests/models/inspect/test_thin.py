"""Channels that are removed: which belong together, and that what remains is the same network with fewer of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inspect.channels import removable
from napari_connecto.models.inspect.thin import inner_input, inner_net, scores_of, thinned, width_left
from napari_connecto.models.nets.nets import build
from tests.models.cards import SCORER_3D, SCORER_25D, UNET_2D, UNET_3D, card

SMP = card({"kind": "smp", "encoder": "tu-resnet10t", "depth": 2, "width": 8}, (1, 32, 32), (0, 16, 16))
CARDS = {"3-D U-Net": UNET_3D, "2-D U-Net": UNET_2D, "residual encoder": SMP, "scorer": SCORER_3D, "2.5-D": SCORER_25D}


def tiles(card, n=2, seed=0) -> np.ndarray:
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    return np.random.default_rng(seed).random((n, card.channels, *read), np.float32)


class Joined(nn.Module):
    """A sum, a concatenation and a flip of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1), nn.Conv2d(1, 3, 1)
        self.d, self.e, self.out = nn.Conv2d(7, 5, 1), nn.Conv2d(5, 2, 1), nn.Conv2d(2, 1, 1)

    def forward(self, x):
        both = torch.cat([torch.relu(self.a(x) + self.b(x)), self.c(x)], 1)
        return self.out(self.e(torch.flip(self.d(both), [1])))


def test_channels_that_are_added_go_together_and_unknown_functions_hold_theirs():
    bundles = removable(Joined(), torch.rand(1, 1, 4, 4))
    found = {tuple(sorted({name for name, _, _ in bundle[0].makers})): len(bundle) for bundle in bundles}
    assert found == {("a", "b"): 4, ("c",): 3, ("e",): 2}  # d is flipped, out is the answer
    [third] = [b[2] for b in bundles if b[0].makers[0][0] == "c"]
    assert set(third.places) == {("c", "out", 2), ("d", "in", 6)}  # behind the four of the sum


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_removed_channel_is_one_whose_readers_see_nothing(card):
    """The smaller network gives what the whole one gives with zeros for weights that read removed channels."""
    model = new_model(card, 0, device="cpu")
    small = thinned(model, 0.5, [tiles(card)], order="magnitude")
    widths = small.card.network["narrow"]
    assert widths
    assert sum(p.numel() for p in small.net.parameters()) < sum(p.numel() for p in model.net.parameters())
    reference = new_model(card, 0, device="cpu")
    inner = inner_net(reference)
    bundles = removable(inner, inner_input(model))
    with torch.no_grad():
        for bundle, score in zip(bundles, scores_of(model, bundles, [], "magnitude", 0), strict=True):
            for at in np.argsort(-score, kind="stable")[width_left(len(bundle), 0.5) :]:
                for name, side, i in bundle[at].places:
                    if side == "in":
                        layer = inner.get_submodule(name)
                        transposed = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
                        layer.weight.select(0 if transposed else 1, i).zero_()
    with torch.inference_mode():
        x = torch.from_numpy(tiles(card, seed=3))
        torch.testing.assert_close(small.net(x), reference.net.eval()(x), atol=1e-5, rtol=1e-5)


def test_nothing_is_removed_by_a_share_of_nothing():
    model = new_model(UNET_2D, 0, device="cpu")
    assert thinned(model, 0.0, []) is model


@pytest.mark.parametrize(
    ("width", "share", "left"), [(4, 0.5, 2), (3, 0.9, 1), (24, 0.3, 16), (64, 0.5, 32), (16, 0.9, 8)]
)
def test_wide_layers_keep_a_multiple_of_eight(width, share, left):
    assert width_left(width, share) == left


def test_channels_without_effect_go_first():
    """Of a layer whose first channels are never read, these are the ones to go, however large their weights."""
    model = new_model(UNET_2D, 0, device="cpu")
    bundle = max(removable(inner_net(model), inner_input(model)), key=len)
    deaf = {place for channel in bundle[: len(bundle) // 2] for place in channel.places}
    with torch.no_grad():
        for name, side, i in deaf:
            layer = inner_net(model).get_submodule(name)
            if side == "in":
                axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
                layer.weight.select(axis, i).zero_()
            elif side == "out" and not isinstance(layer, nn.ConvTranspose2d):
                layer.weight[i] *= 100
    small = thinned(type(model)(UNET_2D, model.net, "cpu"), 0.5, [tiles(UNET_2D)])
    loud = thinned(type(model)(UNET_2D, model.net, "cpu"), 0.5, [tiles(UNET_2D)], order="magnitude")
    x = tiles(UNET_2D, seed=5)
    reference = type(model)(UNET_2D, model.net, "cpu")(x, [0, 0])["object"]
    wrong = [float(np.abs(m(x, [0, 0])["object"] - reference).mean()) for m in (small, loud)]
    assert wrong[0] < wrong[1]


def test_a_smaller_model_is_saved_loaded_and_cut_again(tmp_path):
    small = thinned(new_model(SMP, 0, device="cpu"), 0.5, [tiles(SMP)])
    save_model(small, tmp_path / "small")
    again = load_model(tmp_path / "small", device="cpu", backend="torch")
    x = tiles(SMP)
    np.testing.assert_array_equal(again(x, [0, 0])["object"], small(x, [0, 0])["object"])
    smaller = thinned(again, 0.5, [x])
    assert smaller.card.network["narrow"].keys() == small.card.network["narrow"].keys()
    assert len(smaller.weights) < len(small.weights)


@pytest.mark.parametrize(
    "narrow", [{"nothing": [1, 1]}, {"0": [1, 10**9]}, {"0": [0, 1]}, {"0": 3}, {"": [1]}, [1, 2], {"0": [True, 1]}]
)
def test_a_card_cannot_ask_for_other_layers(narrow):
    network = {"kind": "scorer", "dims": 3, "width": 4, "stride": [2, 4, 4], "narrow": narrow}
    with pytest.raises(ModelError, match="cannot be built"):
        build(network, 1, 1)


def test_a_share_is_less_than_all():
    with pytest.raises(InputError, match="allowed: 0 to below 1"):
        thinned(new_model(UNET_2D, 0, device="cpu"), 1.0, [])
