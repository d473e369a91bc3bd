from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard
from napari_connecto.models.files import new_model
from napari_connecto.models.transfer.encoder import BATCH, TorchEncoder, encoder_parts
from tests.models.cards import ALL, SCORER_25D, SMP_25D, UNET_2D, UNET_3D


def _patches(card: ModelCard, n: int) -> np.ndarray:
    shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    return np.random.default_rng(3).random((n, card.channels, *shape), np.float32)


@pytest.mark.parametrize("name", ALL)
def test_is_mean_and_spread_of_the_deepest_activations(name: str) -> None:
    """Seen by a hook in the whole network: the deepest is what the last part of the way down gives."""
    card = ALL[name]
    model = new_model(card, 1, device="cpu")
    seen: list[torch.Tensor] = []
    last = encoder_parts(model.net, card.network)[-1]
    last.register_forward_hook(lambda _m, _i, y: seen.append(y[-1] if isinstance(y, list) else y))
    encoder = TorchEncoder(model)
    batch = _patches(card, 3)
    seen.clear()
    with torch.inference_mode():
        model.net(torch.from_numpy(batch))
    deep = seen[0]
    if deep.dim() == 4:  # a 2-D network got the sections as a batch; to the encoder they are space
        deep = deep.reshape(3, -1, *deep.shape[1:]).transpose(1, 2)
    flat = deep.flatten(2).numpy().astype(np.float64)
    expected = np.concatenate([flat.mean(2), flat.std(2)], axis=1)
    vectors = encoder(batch)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, encoder.dim) == (3, 2 * deep.shape[1])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_the_deepest_of_a_unet_is_its_coarsest() -> None:
    net = new_model(UNET_3D, 0, device="cpu").net
    x, sizes = torch.rand(1, 1, 8, 16, 16), []
    for part in encoder_parts(net, UNET_3D.network):
        x = part(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(4, 8, 8, 8), (8, 4, 4, 4), (16, 4, 4, 4)]


def test_a_vector_does_not_depend_on_its_neighbours_nor_on_how_often_it_is_asked_for() -> None:
    encoder = TorchEncoder(new_model(UNET_2D, 1, device="cpu"))
    batch = _patches(UNET_2D, BATCH + 3)
    vectors = encoder(batch)
    np.testing.assert_array_equal(vectors, encoder(batch))
    np.testing.assert_allclose(vectors[-1], encoder(batch[-1:])[0], atol=1e-6)
    assert np.ptp(vectors, axis=0).max() > 1e-3
    assert encoder(batch[:0]).shape == (0, encoder.dim)


def test_travels_to_another_process() -> None:
    encoder = TorchEncoder(new_model(SMP_25D, 1, device="cpu"))
    again = pickle.loads(pickle.dumps(encoder))  # noqa: S301 (just made)
    batch = _patches(SMP_25D, 2)
    assert again.dim == encoder.dim
    assert again.card == encoder.card
    np.testing.assert_array_equal(again(batch), encoder(batch))


def test_other_patches_and_models_are_refused() -> None:
    encoder = TorchEncoder(new_model(SCORER_25D, 1, device="cpu"))
    with pytest.raises(InputError, match=r"got patches of shape \(1, 1, 3, 16, 16\); need \(n, 2, z, y, x\)"):
        encoder(np.zeros((1, 1, 3, 16, 16), np.float32))
    with pytest.raises(ModelError, match="cannot be trained"):
        TorchEncoder(object())  # type: ignore[arg-type]
    odd = replace(UNET_2D, network={"kind": "other"})
    with pytest.raises(ModelError, match="kind 'other', which has no encoder"):
        encoder_parts(torch.nn.Identity(), odd.network)
