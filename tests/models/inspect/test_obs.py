"""Weights set to zero in one pass: exact without zeros, better than by magnitude where inputs are correlated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_connecto as nc
from napari_connecto.core.errors import ModelError
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inspect.obs import layer_error, magnitude_prune, obs_prune, rows_of
from napari_connecto.models.inspect.oneshot import centroids, one_shot, prunable
from napari_connecto.models.nets.nets import build
from napari_connecto.models.nets.routed import RandomlyRouted, Routed
from tests.models.cards import UNET_2D, UNET_3D
from tests.models.inspect.test_thin import tiles


def correlated(n: int, d: int, rank: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(n, rank, generator=generator) @ torch.randn(rank, d, generator=generator)
    return low + 0.1 * torch.randn(n, d, generator=generator)


def weights(rows: int, d: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed))


def test_without_zeros_the_weights_are_the_same_bit_by_bit():
    w = weights(5, 40)
    assert torch.equal(obs_prune(w, correlated(200, 40, 8), 0.0), w)


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_correlated_inputs_lose_less_than_by_magnitude(sparsity):
    x, w = correlated(2000, 150, 20), weights(12, 150)
    pruned = obs_prune(w, x[:1500], sparsity)
    assert float((pruned == 0).float().mean()) == pytest.approx(sparsity, abs=0.01)
    ours, control = (layer_error(w, p, x[1500:]) for p in (pruned, magnitude_prune(w, sparsity)))
    assert ours < 0.6 * control


def test_one_removed_weight_is_made_up_for_as_the_surgeon_says():
    """Against the closed form for a unit of two inputs: w1 + w0 H01 / H11."""
    x = correlated(500, 2, 1)
    w = torch.tensor([[0.1, 2.0]])
    pruned = obs_prune(w, x, 0.5, damp=1e-9)
    h = x.T @ x
    assert pruned[0, 0] == 0
    assert float(pruned[0, 1]) == pytest.approx(float(2.0 + 0.1 * h[0, 1] / h[1, 1]), rel=1e-3)


def test_inputs_that_are_always_zero_lose_their_weights():
    x = correlated(100, 6, 3)
    x[:, 2] = 0
    assert float(obs_prune(weights(3, 6), x, 0.3)[:, 2].abs().sum()) == 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_times_weights_are_the_convolution(dims, stride):
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    conv = kind(3, 4, 3, stride=stride, padding=1, bias=False)
    x = torch.rand(2, 3, *[6] * dims)
    with torch.inference_mode():
        rows = rows_of(conv, x, 300, torch.Generator().manual_seed(0)) @ conv.weight.flatten(1).T
        outputs = conv(x).movedim(1, -1).reshape(-1, 4)
        apart = (rows[:, None] - outputs[None]).abs().amax(2).min(1)[0]
        assert float(apart.max()) < 1e-5


def test_a_planted_mixture_is_pruned_better_by_cluster_than_at_random():
    """Inputs from four subspaces, of which a unit uses other weights each: clusters know, random splits do not."""
    generator = torch.Generator().manual_seed(3)
    parts = []
    for k in range(4):
        part = 0.02 * torch.randn(600, 32, generator=generator)
        part[:, 8 * k : 8 * k + 8] += 1 + torch.randn(600, 8, generator=generator)
        parts.append(part)
    x = torch.cat(parts)[torch.randperm(2400, generator=generator)]
    w, centres = weights(6, 32), centroids(x, 4, 0)
    mine = torch.argmax(x @ centres.T - centres.square().sum(1) / 2, dim=1)
    drawn = torch.randint(4, (len(x),), generator=generator)
    split = {}
    for name, owner in (("clusters", mine), ("random", drawn)):
        errors = [layer_error(w, obs_prune(w, x[owner == k], 0.7), x[owner == k]) for k in range(4)]
        split[name] = float(np.mean(errors))
    assert split["clusters"] < 0.2 * split["random"]


def test_every_place_is_answered_by_the_expert_of_its_nearest_centre():
    conv = nn.Conv2d(2, 3, 1, bias=True)
    layer = Routed(conv, 2)
    with torch.no_grad():
        centres = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        layer.router.weight.copy_(centres[:, :, None, None])
        layer.router.bias.copy_(-centres.square().sum(1) / 2)
        x = torch.rand(2, 2, 5, 5)
        y = layer(x)
        both = layer.experts(x).reshape(2, 2, 3, 5, 5)
        near = (x[:, 1] > x[:, 0]).long()
        for k in range(2):
            here = (near == k)[:, None].expand(-1, 3, -1, -1)
            assert torch.equal(y[here], both[:, k][here])


@pytest.mark.parametrize("card", [UNET_2D, UNET_3D], ids=["2-D", "3-D"])
def test_a_network_is_exact_without_zeros_and_has_the_zeros_asked_for(card):
    model, batch = new_model(card, 0, device="cpu"), tiles(card)
    same = nc.run(one_shot(model, batch, 0.0, "obs"))
    assert same.model(model).weights == model.weights
    found = nc.run(one_shot(model, batch, 0.5, "obs"))
    assert found.errors
    for name in found.errors:
        inner = getattr(found.net, "net", found.net)
        assert float((inner.get_submodule(name).weight == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_a_network_of_experts_is_saved_and_answers_the_same(tmp_path):
    model, batch = new_model(UNET_2D, 0, device="cpu"), tiles(UNET_2D)
    found = nc.run(one_shot(model, batch, 0.5, "clusters", experts=2)).model(model)
    assert set(found.card.network["experts"].values()) == {2}
    save_model(found, tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu", backend="torch")
    np.testing.assert_array_equal(again(batch, [0, 0])["object"], found(batch, [0, 0])["object"])


def test_random_experts_ignore_their_inputs():
    layer = RandomlyRouted(nn.Conv2d(1, 1, 1), 3)
    with torch.inference_mode():
        assert torch.equal(layer.choice(torch.zeros(1, 1, 8, 8)), layer.choice(torch.rand(1, 1, 8, 8)))


def test_the_first_and_last_layers_are_left_alone():
    model = new_model(UNET_2D, 0, device="cpu")
    inner = model.net.net
    names = [n for n, m in inner.named_modules() if isinstance(m, nn.Conv2d)]
    assert set(prunable(model.net, inner, torch.from_numpy(tiles(UNET_2D, 1)))) < set(names)


@pytest.mark.parametrize("experts", [{"nothing": 2}, {"0": 10**6}, {"0": True}, [3]])
def test_a_card_cannot_ask_for_other_experts(experts):
    network = {"kind": "scorer", "dims": 3, "width": 4, "stride": [2, 4, 4], "experts": experts}
    with pytest.raises(ModelError, match="cannot be built"):
        build(network, 1, 1)
