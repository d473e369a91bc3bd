"""What a model answers on a patch, and how it learns from few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.models.files import new_model
from napari_connecto.models.predictor import TorchPredictor
from napari_connecto.workflows.adapt_params import FineTuneParams
from napari_connecto.workflows.em_samples import Example
from napari_connecto.workflows.fine_tune import boundary_of, fine_tune, learnt_share
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


def patches(count, side):
    """Squares of two neurites with a dark wall between."""
    labels = np.full((1, side, side), 3, np.uint32)
    labels[:, :, side // 2 :], labels[:, :, side // 2 - 2 : side // 2 + 2] = 4, 1
    return [Example(np.where(labels == 1, 40, 200 + n).astype(np.uint8), labels) for n in range(count)]


def test_few_patches_go_half_way_and_many_nearly_all_of_it():
    card = tiny_card("x")
    four = patches(4, side=128)
    assert learnt_share(four, card, 4.0) == 0.5
    assert learnt_share(four[:1], card, 4.0) == pytest.approx(1 / 5)
    assert learnt_share(four * 9, card, 4.0) == pytest.approx(36 / 40)
    assert learnt_share(four, card, 0.0) == 1
    half = [replace(e, labels=np.where(np.arange(128) < 64, e.labels, 0)) for e in four]
    assert learnt_share(half, card, 4.0) == pytest.approx(2 / 6)


def test_what_was_learnt_is_taken_as_far_as_patches_carry():
    start = new_model(tiny_card("x"), 0, device="cpu")
    params = FineTuneParams(preset="full", steps=3, crop=64, batch=2, device="cpu", parent_worth=0.0)
    known = patches(2, side=64)
    bold = fine_tune(start, known, params)
    mild = fine_tune(start, known, replace(params, parent_worth=0.5))
    old, new, got = (m.net.state_dict() for m in (start, bold, mild))
    share = learnt_share(known, start.card, 0.5)
    assert share == pytest.approx(0.5, abs=1e-9)
    for name, value in got.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, old[name].lerp(new[name], share))
    assert mild.card.parent == start.card.digest
    quick = replace(params, preset="quick")
    assert fine_tune(start, known, quick).weights == fine_tune(start, known, replace(quick, parent_worth=9.0)).weights
