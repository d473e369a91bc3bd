"""Networks that compute on cells of voxels: nothing is lost on the way in and out, and half precision is not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.models.files import new_model
from napari_connecto.models.nets.nets import build, divisor
from napari_connecto.models.nets.subpixel import Exact, Fold, Unfold
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.xray.training.design import translator_card
from tests.translate_parts import EM_NM, PARAMS

CELLS = replace(PARAMS, depth=2, fold=2, residual=2, width=4)


def test_what_is_folded_unfolds_to_the_same():
    x = torch.rand(2, 3, 4, 6, 8)
    cells = Fold((2, 3, 4))(x)
    assert cells.shape == (2, 3 * 24, 2, 2, 2)
    torch.testing.assert_close(Unfold((2, 3, 4))(cells), x, rtol=0, atol=0)
    torch.testing.assert_close(cells[1, :24, 1, 0, 1].reshape(2, 3, 4), x[1, 0, 2:4, :3, 4:], rtol=0, atol=0)


def test_extents_are_multiples_of_cells_and_strides():
    card = translator_card(CELLS, EM_NM)
    assert divisor(card.network) == (4, 4, 4)
    with pytest.raises(ModelError, match="multiples of"):
        new_model(replace(card, tile=(6, 8, 8)), 0, device="cpu")


def test_cells_are_for_volumes():
    with pytest.raises(ModelError, match="cells of voxels"):
        build({"kind": "unet", "dims": 2, "width": 2, "depth": 2, "fold": [1, 2, 2]}, 1, 1)


def test_a_constant_comes_out_without_a_pattern():
    """Neither the enlarging layer nor the voxels of a cell leave a grid away from the borders."""
    torch.manual_seed(0)
    net = build(dict(translator_card(CELLS, EM_NM).network), 1, 2).eval()
    with torch.no_grad():
        inner = net(torch.ones(1, 1, 64, 64, 64))[..., 26:38, 26:38, 26:38]
    assert inner.std((2, 3, 4)).max() < 1e-5


def test_the_last_layer_is_exact_under_half_precision():
    head = Exact(torch.nn.Conv3d(2, 1, 1))
    x = torch.rand(1, 2, 4, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half = head(x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, head.head(x), rtol=0, atol=0)


def test_a_model_answers_in_any_precision_alike():
    """Of the processor's own bfloat16, if it has it, less than a hundredth of the answer's spread is seen."""
    model = new_model(replace(translator_card(CELLS, EM_NM), tile=(32, 32, 32)), 0, device="cpu")
    x = np.random.default_rng(0).random((1, 1, 64, 64, 64), np.float32)
    answer = model(x, [0])["mean"]
    with torch.no_grad():
        plain = model.net.eval()(torch.from_numpy(x))[:, 0].numpy()
    assert np.abs(answer - plain).mean() < 0.02 * plain.std()


def test_its_encoder_begins_with_the_cells():
    encoder = TorchEncoder(new_model(replace(translator_card(CELLS, EM_NM), tile=(16, 16, 16)), 0, device="cpu"))
    assert encoder.dim == 2 * 8
    assert np.isfinite(encoder(np.random.default_rng(0).random((2, 1, 16, 16, 16), np.float32))).all()
