"""A smaller model of a shipped one: what it is made of, where it is measured, and what its figures mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Normalisation
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.inspect.prune.measure import TILED, agreement, tile_gap
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.inspect.prune.places import Lessons, Places, answers_of, parts, places_of
from napari_connecto.workflows.inspect.prune.prune import ANSWERING, COMPARING, TIMING, prune_job
from napari_connecto.workflows.segment.params import SegmentParams
from tests.models.cards import SCORER_3D, UNET_3D, card

CARD = replace(
    card({"kind": "unet", "dims": 2, "width": 8, "depth": 2}, (1, 64, 64), (0, 32, 32), names=("boundary",)),
    task="boundary",
    normalisation=Normalisation("percentile", 1.0, 99.0),
)
SMALL = {"places": 3, "size": 32, "steps": 2, "batch": 2}


@pytest.fixture(scope="module")
def model() -> TorchPredictor:
    return new_model(CARD, 0, device="cpu")


@pytest.fixture(scope="module")
def image() -> Volume:
    """Cells between dark lines, 16 sections."""
    z, y, x = np.indices((16, 160, 160))
    rng = np.random.default_rng(0)
    lines = (np.sin((y + z) / 5) * np.sin(x / 7) > -0.2) * 120 + rng.normal(60, 8, z.shape)
    return Volume.from_array(np.clip(lines, 0, 255).astype(np.uint8), (40.0, 4.0, 4.0), name="cells")


@pytest.fixture(scope="module")
def labels() -> Volume:
    _, y, x = np.indices((16, 160, 160))
    return Volume.from_array((1 + (y // 20) * 8 + x // 20 + 2).astype(np.uint32), (40.0, 4.0, 4.0), kind="labels")


@pytest.fixture(scope="module")
def small(model, image, labels):
    return nc.prune(model, image, labels=labels, sparsity=0.5, **SMALL)


def test_a_smaller_model_states_its_parent_and_its_figures(small, model):
    assert small.model.card.parent == model.card.digest
    assert small.weights[1] < 0.35 * small.weights[0]
    assert small.stored == (len(model.weights), len(small.model.weights))
    told = small.model.card.metrics["prune"]
    assert told["speedup"] == small.speedup == small.seconds[0] / small.seconds[1]
    assert told["params"]["sparsity"] == 0.5
    assert "controls" not in told
    assert small.vi is not None
    assert small.model.card.metrics["vi"] == small.vi[1]


def test_the_original_is_not_changed(small, model):
    assert model.weights == new_model(CARD, 0, device="cpu").weights
    assert small.model.weights != model.weights


def test_it_is_a_model_like_any_other(small, image, tmp_path):
    save_model(small.model, tmp_path / "small")
    again = load_model(tmp_path / "small", device="cpu", backend="torch")
    found = nc.segment(image, model=again, out=tmp_path / "labels", region=Box((0, 0, 0), (2, 64, 64)))
    assert int(found.metadata["segments"]) >= 1
    lazily = nc.lazy(image, again)[0, :64, :64].compute()
    assert lazily.shape == (64, 64)
    assert 0 <= lazily.min() <= lazily.max() <= 1


@pytest.mark.parametrize("how", ["channels", "weights"])
def test_sparsity_0_gives_the_same_model(model, image, how):
    same = nc.prune(model, image, how=how, sparsity=0.0, **SMALL)
    assert same.model.weights == model.weights
    assert same.model.card.parent == model.card.digest
    assert (same.agreement.dice, same.agreement.difference, same.agreement.vi_between) == (1.0, 0.0, 0.0)


def test_a_number_is_the_sparsity(model, image):
    assert nc.prune(model, image, 0.0, **SMALL).params == PruneParams(sparsity=0.0, **SMALL)
    assert nc.prune(model, image, np.float32(0), **SMALL).params == PruneParams(sparsity=0.0, **SMALL)
    assert nc.prune(model, image, PruneParams(sparsity=0.9), **SMALL | {"sparsity": 0.0}).params.sparsity == 0.0


def test_experts_are_asked_for_by_their_number(model, image):
    found = nc.prune(model, image, sparsity=0.6, experts=2, **SMALL)
    names = ["magnitude", "one mask", "one mask, equal storage", "random experts", "clusters"]
    assert list(found.controls) == names
    assert [c.copies for c in found.controls.values()] == [1, 1, 1, 2, 2]
    assert found.controls["one mask, equal storage"].sparsity == pytest.approx(0.2)
    assert found.controls["one mask, equal storage"].layer_error < found.controls["one mask"].layer_error
    assert found.controls["one mask"].layer_error < found.controls["magnitude"].layer_error
    assert found.controls["clusters"].agreement.difference == pytest.approx(found.agreement.difference, rel=1e-4)
    assert set(found.model.card.network["experts"].values()) == {2}


def test_learning_and_measuring_happen_in_different_parts(model, image):
    level = image.levels[0]
    learn, held = parts(level, CARD, 0.3)
    assert learn == Box((0, 0, 0), (9, 160, 160))
    assert held == Box((11, 0, 0), (16, 160, 160))  # a gap of two sections of 40 nm: an eighth of 16
    thin = replace(level, array=level.array[:2, :, :96])
    learn, held = parts(thin, CARD, 0.3)
    assert learn.stop[1] <= held.start[1] - 20
    assert held.stop == (2, 160, 96)


def test_a_volume_of_one_voxel_has_no_part_to_hold_out():
    with pytest.raises(InputError, match="too small to hold out a part"):
        parts(Level(np.zeros((1, 1, 1), np.uint8), (40.0, 4.0, 4.0)), CARD, 0.3)


def test_a_pruned_models_tiles_agree_with_its_whole(small, image):
    """Of a network that sees no farther than its halo, tiled and whole are the same; so they are of a smaller one."""
    assert small.tiles == (0.0, 0.0)
    _, held = places_of(image, None, CARD, PruneParams(**SMALL))
    assert tile_gap(small.model, held, float(np.median(answers_of(small.model, held)))) < 1e-3
    blind = Places(held.images[..., 16:-16, 16:-16], None, (0, 16, 16))  # another halo than the card's
    assert np.isnan(tile_gap(small.model, replace(blind, images=blind.images[..., :34, :34]), 0.5))


def test_agreement_of_a_model_with_itself_and_with_its_opposite(model, image, labels):
    _, held = places_of(image, labels, CARD, PruneParams(**SMALL))
    own = np.zeros((len(held.images), 1, 1, 128, 128), np.float32)
    own[..., ::20, :] = own[..., ::20] = 1
    same = agreement(own, own, held, CARD, SegmentParams())
    assert (same.dice, same.difference, same.vi_between) == (1.0, 0.0, 0.0)
    assert all(before == after for before, after in same.vi)
    other = agreement(own, 1 - own, held, CARD, SegmentParams())
    assert (other.dice, other.difference) == (0.0, 1.0)


def test_lessons_are_the_same_places_of_image_and_target():
    """Whatever is cropped, flipped and turned: a target that is a function of the image stays that function of it."""
    images = np.random.default_rng(0).random((3, 1, 1, 40, 48), np.float32)
    made = Lessons(images, images**2, 16, 4, 0, square=True)
    for step in range(5):
        image, target, weight = made.at(step)
        assert image.shape == target.shape == weight.shape == (4, 1, 1, 16, 16)
        np.testing.assert_array_equal(target, image**2)
        np.testing.assert_array_equal(image, made.at(step)[0])


def test_a_three_dimensional_model_can_be_pruned():
    z, y, x = np.indices((48, 96, 96))
    volume = Volume.from_array(np.sin((y + z) / 5) * np.sin(x / 7), (40.0, 4.0, 4.0))
    found = nc.prune(new_model(UNET_3D, 0, device="cpu"), volume, sparsity=0.5, **SMALL)
    assert found.agreement.vi_between is None  # not a boundary model
    assert found.weights[1] < found.weights[0]


def test_what_cannot_be_pruned_is_refused(model, image):
    with pytest.raises(ModelError, match="gives no probabilities at the image's resolution"):
        nc.prune(new_model(SCORER_3D, 0, device="cpu"), image)
    with pytest.raises(InputError, match="got unknown PruneParams \\['sparsety'\\]"):
        nc.prune(model, image, sparsety=0.5)
    with pytest.raises(InputError, match="experts are for how='weights'"):
        nc.prune(model, image, how="channels", experts=2)
    empty = Volume.from_array(np.zeros((16, 160, 160), np.uint8), (40.0, 4.0, 4.0), name="resin")
    with pytest.raises(InputError, match=r"found no place with tissue .* of 'resin'"):
        nc.prune(model, empty)


def test_the_result_is_told_in_words(small):
    lines = small.lines()
    assert "weights remain" in lines[0]
    assert any("held-out places: Dice" in line for line in lines)
    assert any(line.startswith("VI on held-out labels") for line in lines)
    assert "weights remain" in repr(small)


def test_labels_need_no_voxel_size(model, image, labels):
    """Voxel for voxel on the image, as those of the same size; not in a corner of it."""
    unstated = replace(labels, levels=(replace(labels.levels[0], voxel_nm=(1.0, 1.0, 1.0)),), calibrated=False)
    params = PruneParams(**SMALL)
    for one, other in zip(
        places_of(image, labels, CARD, params), places_of(image, unstated, CARD, params), strict=True
    ):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.labels.any()


def test_measuring_can_be_cancelled_between_any_two_tiles(model, image, monkeypatch):
    """Between two reports of the measurement a model answers for one tile at most, so that closing is prompt."""
    calls = []
    asked = TorchPredictor.__call__
    monkeypatch.setattr(
        TorchPredictor, "__call__", lambda self, *args: calls.append(len(args[0])) or asked(self, *args)
    )
    seen: list[list[int]] = []
    for progress in prune_job(model, image, sparsity=0.5, **SMALL):
        if progress.stage in (TIMING, ANSWERING, COMPARING, TILED):
            seen.append(list(calls))
        calls.clear()
    assert len(seen) > 20
    assert max(sum(tiles) for tiles in seen) <= 2  # both models, when they are timed
