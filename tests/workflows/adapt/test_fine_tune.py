"""What a model answers on a patch, and how it learns from few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.fine_tune import fine_tune, learnt_share, skill
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.shared.whole import boundary_of
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


class Dark(fakes.Filter):
    """Calls what is dark boundary, or what is bright."""

    def __init__(self, sign):
        super().__init__((40.0, 8.0, 8.0), (1, 128, 128))
        self.sign = sign

    def answer(self, tile):
        return (self.sign * (0.5 - tile) + 0.5).astype(np.float32)


def test_few_patches_go_half_way_and_many_nearly_all_of_it():
    four, model = patches(4, side=128), Dark(1)
    assert learnt_share(model, four, 4.0) == 0.5
    assert learnt_share(model, four[:1], 4.0) == pytest.approx(1 / 5)
    assert learnt_share(model, four * 9, 4.0) == pytest.approx(36 / 40)
    assert learnt_share(model, four, 0.0) == 1
    half = [replace(e, labels=np.where(np.arange(128) < 64, e.labels, 0)) for e in four]
    assert learnt_share(model, half, 4.0) == pytest.approx(2 / 6)


def test_what_the_old_model_is_worth_goes_by_how_it_ranks_voxels():
    known = patches(1, side=128)
    assert (skill(Dark(1), known), skill(Dark(-1), known), skill(Dark(0), known)) == (1, 0, 0)
    assert learnt_share(Dark(-1), known, 4.0) == 1  # it has bright and dark the wrong way round: nothing to keep
    noise = [replace(e, image=np.random.default_rng(0).integers(0, 255, e.image.shape, np.uint8)) for e in known]
    assert skill(Dark(1), noise) < 0.05
    labels = np.array([[[1, 3, 1, 3]]], np.uint32)
    image = np.array([[[0, 10, 10, 20]]], np.uint8)
    # of four pairs of a boundary and another voxel three are ranked rightly and one is a tie: AUC 3.5 / 4
    assert skill(Dark(1), [Example(image, labels)]) == pytest.approx(0.75)


def test_what_was_learnt_is_taken_as_far_as_patches_carry():
    start = new_model(tiny_card("x"), 0, device="cpu")
    params = FineTuneParams(preset="full", steps=3, crop=64, batch=2, device="cpu", parent_worth=0.0)
    known = patches(2, side=64)
    bold = fine_tune(start, known, params)
    mild = fine_tune(start, known, replace(params, parent_worth=0.5))
    old, new, got = (m.net.state_dict() for m in (start, bold, mild))
    share = learnt_share(start, known, 0.5)
    assert 0.5 <= share <= 1
    for name, value in got.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, old[name].lerp(new[name], share))
    assert mild.card.parent == start.card.digest
    quick = replace(params, preset="quick")
    assert fine_tune(start, known, quick).weights == fine_tune(start, known, replace(quick, parent_worth=9.0)).weights
