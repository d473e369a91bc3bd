"""An ablation sets one thing to its mean and leaves all else."""

from __future__ import annotations

import numpy as np
import torch

from napari_connecto.models.inspect.ablate import without_channel, without_direction, without_latent
from napari_connecto.models.inspect.sae import SaeParams, fit_sae


def activations(channels=6):
    """(2, channels, 5, 7) of sections, and the same as rows."""
    maps = torch.rand((2, channels, 5, 7), generator=torch.Generator().manual_seed(0)) * 3 + 1
    return maps, rows(maps)


def rows(maps):
    return maps.movedim(1, -1).reshape(-1, maps.shape[1]).numpy()


def test_nothing_is_left_along_a_direction_and_all_else_stays():
    maps, before = activations()
    mean, scale = before.mean(axis=0), before.std(axis=0)
    along = np.array([1, 2, 0, -1, 0, 0.5], np.float32)
    along /= np.linalg.norm(along)
    after = rows(without_direction(mean, scale, along)(maps))
    moved = (after - mean) / scale
    np.testing.assert_allclose(moved @ along, 0, atol=1e-5)
    across = np.array([2, -1, 0, 0, 0, 0], np.float32)  # at a right angle to it
    np.testing.assert_allclose(moved @ across, ((before - mean) / scale) @ across, atol=1e-5)


def test_a_channel_becomes_its_mean_and_the_others_stay():
    maps, before = activations()
    after = rows(without_channel(2, 1.5)(maps))
    assert (after[:, 2] == 1.5).all()
    np.testing.assert_array_equal(np.delete(after, 2, axis=1), np.delete(before, 2, axis=1))
    np.testing.assert_array_equal(rows(maps), before)


def test_a_latent_that_is_at_its_mean_changes_nothing_and_another_moves_along_its_row():
    maps, before = activations()
    sae = fit_sae(before, SaeParams(expansion=2, active=2, steps=10))
    codes = sae.encode(before)
    index = int(codes.sum(axis=0).argmax())
    moved = rows(without_latent(sae, index, 0.25)(maps)) - before
    expected = -(codes[:, index] - 0.25)[:, None] * sae.dictionary[index] * sae.scale
    np.testing.assert_allclose(moved, expected, atol=1e-5)
