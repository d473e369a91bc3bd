"""What a model answers on a patch, and how it learns from few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.models.files import new_model
from napari_connecto.models.predictor import TorchPredictor
from napari_connecto.workflows.fine_tune import boundary_of
from tests.adapt_parts import tiny_card
from tests.workflows import fakes


class Watched(TorchPredictor):
    """Remembers what shapes it was asked for."""

    def __call__(self, batch, seeds):
        self.seen = [*getattr(self, "seen", []), batch.shape[2:]]
        return super().__call__(batch, seeds)


@pytest.mark.parametrize(("shape", "reads"), [((2, 50, 64), (1, 152, 160)), ((1, 300, 9), (1, 352, 112))])
def test_a_patch_costs_no_more_than_itself_and_a_halo_and_its_values_stay(shape, reads):
    card = replace(tiny_card("x"), tile=(1, 256, 256), halo=(0, 48, 48))
    model = Watched(card, new_model(card, 3, device="cpu").net, "cpu")
    image = np.random.default_rng(0).random(shape, np.float32)
    expected = _by_whole_tiles(model, image)
    assert np.ptp(expected) > 0.05
    model.seen = []
    np.testing.assert_allclose(boundary_of(model, image), expected, atol=1e-3)
    assert set(model.seen) == {reads}


def _by_whole_tiles(model, image):
    """As tiles of 256 with 48 around, edges repeated."""
    padded = np.pad(image, [(0, 0), *((48, -n % 256 + 48) for n in image.shape[1:])], mode="edge")
    out = np.zeros(image.shape, np.float32)
    for y in range(0, image.shape[1], 256):
        for x in range(0, image.shape[2], 256):
            answer = model(padded[:, None, None, y : y + 352, x : x + 352], [0])["boundary"][:, 0]
            here = out[:, y : y + 256, x : x + 256]
            here[:] = answer[:, 48 : 48 + here.shape[1], 48 : 48 + here.shape[2]]
    return out


def test_other_peoples_models_are_asked_for_their_own_tile():
    model = fakes.Blur((40.0, 8.0, 8.0), (1, 32, 32))
    image = np.random.default_rng(1).random((1, 20, 40), np.float32)
    reads = []
    answer = model.answer
    model.answer = lambda tile: reads.append(tile.shape) or answer(tile)
    boundary_of(model, image)
    assert {shape[-1] for shape in reads} == {32 + 2 * model.card.halo[2]}
