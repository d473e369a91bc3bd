"""Sparse autoencoders find directions that are planted where that is easy, and say how well they rebuild."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.models.inspect.sae import SaeParams, fit_sae, random_sae, recovered


def planted(features, channels, active, n=4000, seed=0):
    """Activations (n, channels), sparse sums of known unit directions (features, channels)."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((features, channels)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((n, features), np.float32)
    for row in codes:
        row[rng.choice(features, active, replace=False)] = rng.uniform(0.5, 1.5, active)
    return codes @ directions, directions


def scaled(directions, sae):
    """The directions as the autoencoder sees them: channels of unit variance."""
    rows = directions / sae.scale
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_planted_directions_are_recovered_where_they_are_few():
    """At most as many features as channels, at most three active: 80 % of them, and a random dictionary finds none."""
    activations, directions = planted(16, 16, 2)
    params = SaeParams(expansion=2, active=2, steps=200)
    sae, control = fit_sae(activations, params), random_sae(activations, params)
    assert recovered(scaled(directions, sae), sae.dictionary) >= 0.8
    assert recovered(scaled(directions, control), control.dictionary) == 0
    assert sae.quality(activations).fvu < 0.1 < 0.5 < control.quality(activations).fvu


def test_superposition_is_harder_than_explained_variance_tells():
    """Eight times as many features as channels: most variance is explained, and next to none of them are found."""
    activations, directions = planted(64, 8, 4)
    sae = fit_sae(activations, SaeParams(expansion=4, active=4, steps=150))
    quality, share = sae.quality(activations), recovered(scaled(directions, sae), sae.dictionary)
    assert quality.fvu < 0.2
    assert share < 0.2


def test_no_pixel_has_more_latents_than_allowed_and_none_is_negative():
    activations, _ = planted(16, 8, 3, n=500)
    sae = fit_sae(activations, SaeParams(active=3, steps=5))
    codes = sae.encode(activations)
    assert codes.shape == (500, 32)
    assert codes.min() == 0
    assert (codes > 0).sum(axis=1).max() <= 3
    assert sae.quality(activations).l0 == pytest.approx((codes > 0).sum(axis=1).mean())
    np.testing.assert_allclose(np.linalg.norm(sae.dictionary, axis=1), 1, rtol=1e-4)


def test_the_same_seed_gives_the_same_autoencoder():
    activations, _ = planted(16, 8, 3, n=500)
    first, second = (fit_sae(activations, SaeParams(steps=5), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.encoder, second.encoder)


def test_a_constant_channel_is_no_division_by_zero():
    activations, _ = planted(16, 8, 3, n=500)
    activations[:, 2] = 5.0
    assert np.isfinite(fit_sae(activations, SaeParams(steps=3)).encode(activations)).all()


@pytest.mark.parametrize("shape", [(1, 4), (4,)])
def test_too_few_activations_are_refused(shape):
    with pytest.raises(InputError, match="need \\(n, channels\\)"):
        fit_sae(np.zeros(shape, np.float32))
