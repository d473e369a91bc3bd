"""Activations at pixels are those of the maps that a network would enlarge; untrained copies change nothing else."""

from __future__ import annotations

import numpy as np
import torch

from napari_connecto.models.files import new_model
from napari_connecto.models.inspect.features import features_at, sampled, unfolded, untrained
from napari_connecto.models.inspect.taps import network
from tests.models.cards import card

SCORER = card({"kind": "scorer", "dims": 2, "width": 4, "stride": [1, 4, 4]}, (2, 16, 16), (1, 8, 8), stride=(1, 4, 4))


def test_sampling_equals_enlarging():
    maps = torch.rand((1, 3, 2, 4, 5), generator=torch.Generator().manual_seed(0))
    shape = (4, 16, 20)
    whole = torch.nn.functional.interpolate(maps, shape, mode="trilinear", align_corners=False)[0]
    points = np.stack(np.unravel_index(np.arange(0, 1280, 7), shape), axis=1)
    expected = whole[:, points[:, 0], points[:, 1], points[:, 2]].T.numpy()
    np.testing.assert_allclose(sampled(maps, points, shape), expected, atol=1e-6)


def test_sections_of_a_tile_come_back_in_their_order():
    volume = torch.arange(2 * 3 * 4 * 2 * 2.0).reshape(2, 3, 4, 2, 2)  # tiles, channels, sections
    flat = volume.transpose(1, 2).reshape(8, 3, 2, 2)  # as `Sections` gives it to a 2-D network
    torch.testing.assert_close(unfolded(flat, 2), volume)


def test_an_untrained_network_is_another_and_its_model_is_unchanged():
    opened = network(new_model(SCORER, 0, device="cpu"))
    patch = np.random.default_rng(0).random((1, 4, 32, 32), np.float32)
    points = np.array([[0, 8, 8], [1, 20, 9]])
    before = features_at(opened, ["encoder.1"], patch, points)[0]["encoder.1"]
    first, again, other = (untrained(opened, seed, [patch[None]]) for seed in (1, 1, 2))
    values = [features_at(net, ["encoder.1"], patch, points)[0]["encoder.1"] for net in (first, again, other, opened)]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 0
    assert np.abs(values[0] - before).max() > 0
    np.testing.assert_array_equal(values[3], before)


def test_batch_norm_of_an_untrained_network_has_the_statistics_of_the_patches():
    opened = network(new_model(SCORER, 0, device="cpu"))
    patch = 5 + np.random.default_rng(0).random((1, 1, 4, 32, 32), np.float32)
    fresh = untrained(opened, 1, [patch])
    norm = next(m for m in fresh.net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        fresh.logits(patch)
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-3)
