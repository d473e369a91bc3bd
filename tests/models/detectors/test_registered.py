"""Registered detectors: a tile is the same as in the whole, answers are checked, cards name what is installed."""

from __future__ import annotations

import json
from dataclasses import replace

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import Output
from napari_connecto.core.predict import predict
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.models.detectors.answers import GAP, label_map, point_map
from napari_connecto.models.detectors.blobs import Blobs
from napari_connecto.models.detectors.chosen import ChosenOutput
from napari_connecto.models.detectors.registered import registered
from napari_connecto.models.detectors.registry import registered_names
from napari_connecto.models.files import load_model, save_model
from napari_connecto.workflows.cascade.search.coarser import with_coarser
from tests import own_detectors
from tests.contracts.predictor import PredictorContract

NM = (2.0, 1.0, 1.0)
EMPTY = Volume.from_array(np.zeros((8, 64, 64), np.float32), NM)
MAPS = [("likely", {}), ("bright", {}), ("spots", {}), ("blobs", {"diameter_nm": 6})]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    own_detectors.register(monkeypatch)


class TestProbability(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return registered("likely", EMPTY)


class TestLabels(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return registered("bright", EMPTY, {"threshold": 0.8})


class TestPoints(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return registered("spots", EMPTY)


def scene(shape=(6, 70, 90)):
    """Blobs of 6 nm, some touching, in faint noise."""
    rng = np.random.default_rng(0)
    image, grids = rng.normal(0.05, 0.02, shape).astype(np.float32), np.indices(shape)
    for _ in range(25):
        centre = rng.uniform(0, shape)
        r2 = sum((((g - c) * v) / 3) ** 2 for g, c, v in zip(grids, centre, NM, strict=True))
        image = np.maximum(image, np.exp(-(r2**2)))
    return np.ascontiguousarray(image, np.float32)


def map_of(image, predictor, tile=None):
    """Its map of a whole image, tile by tile; ``tile``: in tiles of this shape."""
    card = predictor.card
    plan = TilePlan(image.shape, tile or card.tile, card.halo)
    level, out = Volume.from_array(image, NM).levels[0], np.zeros(image.shape, np.float32)
    for tile, blocks in predict(level, plan, predictor):
        out[tile.write.slices] = blocks["object"][tuple(slice(n) for n in tile.write.shape)]
    return out


@pytest.mark.parametrize(("name", "options"), MAPS)
def test_a_map_is_the_same_tiled_and_whole(name, options):
    image = scene()
    predictor = registered(name, Volume.from_array(image, NM), options)
    deep = image.shape[0] if predictor.card.tile[0] > 1 else 1
    small = map_of(image, predictor, (min(4, deep), 16, 16))
    np.testing.assert_allclose(small, map_of(image, predictor, (deep, 80, 96)), atol=1e-6)
    assert 10 < np.count_nonzero(small >= 0.5) < small.size / 2


@given(arrays(np.int32, (3, 5, 6), elements=st.integers(0, 3)))
def test_touching_instances_stay_apart_and_nothing_else_changes(labels):
    made = label_map("x", labels, labels.shape)
    parts = cc3d.connected_components(made > 0.5, connectivity=6)
    for part in range(1, parts.max() + 1):
        assert len(np.unique(labels[parts == part])) == 1
    assert ((made > 0) == (labels > 0)).all()
    assert set(np.unique(made)) <= {0, np.float32(GAP), 1}
    shuffled = np.array([0, 9, 4, 7])[labels]
    np.testing.assert_array_equal(label_map("x", shuffled, labels.shape), made)


def test_a_gap_between_objects_of_low_score_is_no_object():
    labels = np.repeat([[[1, 1, 2, 2]]], 2, axis=1)
    made = label_map("d", (labels, np.array([0.0, 0.1, 0.9], np.float32)), labels.shape)
    np.testing.assert_allclose(made[0, 0], [0.1, 0.1, 0.9, 0.9])
    made = label_map("d", (labels, np.array([0.0, 0.9, 0.1], np.float32)), labels.shape)
    np.testing.assert_allclose(made[0, 0], [0.9, GAP, 0.1, 0.1])


def test_points_reach_their_score_at_the_voxel_that_holds_them():
    made = point_map("x", [[0.4, 3, 4.2, 1.0], [1, 0, 0, 0.5]], (2, 6, 8), np.array([0.3, 1.0, 1.0]))
    assert made[0, 3, 4] == pytest.approx(1, abs=0.03)
    assert made[1, 0, 0] == pytest.approx(0.5)
    assert made[1, 5, 7] < 0.01
    assert not point_map("x", np.empty((0, 3)), (2, 6, 8), np.ones(3)).any()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("odd", {"kind": "shape"}, "of shape"),
        ("odd", {"kind": "negative"}, "negative labels"),
        ("odd", {"kind": "float"}, "integer labels"),
        ("odd", {"kind": "raises"}, "RuntimeError: no luck"),
        ("oddpoints", {"kind": "outside"}, "outside its image"),
        ("oddpoints", {"kind": "nan"}, "not numbers"),
        ("oddpoints", {"kind": "flat"}, "points of shape"),
        ("oddpoints", {"kind": "text"}, "points of shape"),
        ("oddchance", {"value": 2.0}, "values from 2 to 2"),
        ("oddchance", {"value": -1.0}, "NaN"),
    ],
)
def test_a_wrong_answer_is_told_in_one_line(name, options, told):
    predictor = registered(name, EMPTY, options)
    with pytest.raises(ModelError, match=told) as caught:
        predictor(np.full((1, 1, 1, 48, 48), 0.7, np.float32), [0])
    assert f"'{name}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_no_file_can_hold_are_refused():
    with pytest.raises(ModelError, match="cannot be saved"):
        registered("oddchance", EMPTY, {"value": float("nan")})


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    model = registered("bright", EMPTY, {"threshold": "0.7"})
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.card == model.card
    batch = np.random.default_rng(0).random((2, 1, 3, 48, 48), np.float32)
    np.testing.assert_array_equal(again(batch, [0, 1])["object"], model(batch, [0, 1])["object"])
    assert model.card.digest != registered("bright", EMPTY).card.digest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "gone", "package": "their-tools"}, "pip install their-tools"),
        ({"name": "os:system", "package": "x; rm -rf /"}, "install the package that registers it"),
        ({"options": {"threshold": "soft"}}, "must be float"),
        ({"options": {"__class__": 1}}, "no option"),
        ({"options": {"threshold": {"a": 1}}}, "must be float"),
        ({"options": [1]}, "does not describe"),
        ({"version": "0"}, "version 0"),
        ({"answers": "points"}, "gives labels now"),
        ({"diameter_nm": -1}, "does not describe"),
        ({"diameter_nm": "x"}, "does not describe"),
    ],
)
def test_a_card_that_was_tampered_with_is_refused(tmp_path, change, told):
    card = save_model(registered("bright", EMPTY), tmp_path)
    text = replace(card, network={**card.network, **change}).to_json()
    (tmp_path / "card.json").write_text(json.dumps(text))
    with pytest.raises((ModelError, InputError), match=told):
        load_model(tmp_path)


def test_a_card_whose_map_has_another_stride_is_refused(tmp_path):
    card = save_model(registered("bright", EMPTY), tmp_path)
    coarse = replace(card, outputs=(Output("object", (1, 2, 2)),))
    (tmp_path / "card.json").write_text(json.dumps(coarse.to_json()))
    with pytest.raises(ModelError, match="does not describe a registered detector"):
        load_model(tmp_path)


def test_built_in_ones_come_first_and_registered_ones_are_listed():
    assert registered_names()[:2] == ("blobs", "cellpose")
    assert {"likely", "bright", "spots"} <= set(registered_names())
    with pytest.raises(InputError, match="diameter_nm"):
        registered("blobs", EMPTY)


class TestChosen(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return ChosenOutput(registered("bright", EMPTY), "object", "inverse")


def test_a_chosen_output_is_saved_with_its_model(tmp_path):
    inner = registered("likely", EMPTY)
    model = ChosenOutput(inner, "object", "inverse")
    batch = np.random.default_rng(0).random((1, 1, 1, 48, 48), np.float32)
    np.testing.assert_allclose(model(batch, [0])["object"], 1 - inner(batch, [0])["object"])
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.card == model.card
    np.testing.assert_array_equal(again(batch, [0])["object"], model(batch, [0])["object"])
    told = json.loads((tmp_path / "card.json").read_text())
    told["network"]["shown"] = "as it is"
    (tmp_path / "card.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="it was changed"):
        load_model(tmp_path)


@pytest.mark.parametrize("side", [256, 400])
def test_blobs_in_noise_are_found_however_few_they_are(side):
    """Whatever share of the image they fill, and in whatever coarse levels they are averaged away."""
    image, grids = np.random.default_rng(0).normal(30, 4, (1, side, side)), np.indices((side, side))
    for centre in ((40, 40), (120, 60), (80, 200)):
        image[0][sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) <= 16] = 200
    volume = with_coarser(Volume.from_array(image.astype(np.uint8), (1.0, 1.0, 1.0)))
    predictor = registered("blobs", volume, {"diameter_nm": 8})
    scaling = predictor.card.normalisation.resolve(volume)
    found = map_of(scaling(np.array(volume.levels[0].array)).astype(np.float32), predictor)
    assert cc3d.connected_components(found >= 0.5).max() == 3


@pytest.mark.parametrize(("places", "radius"), [((), 4), (((50, 60), (300, 250), (400, 90)), 2)])
def test_noise_holds_no_blobs(places, radius):
    """However small a share of the image objects are, so that its range is that of the noise."""
    side = 480
    image, grids = np.random.default_rng(0).normal(30, 4, (1, side, side)), np.indices((side, side))
    for centre in places:
        image[0][sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) <= radius**2] = 200
    volume = Volume.from_array(image.astype(np.uint8), (1.0, 1.0, 1.0))
    predictor = registered("blobs", volume, {"diameter_nm": np.float64(2 * radius)})
    scaling = predictor.card.normalisation.resolve(volume)
    found = map_of(scaling(np.array(volume.levels[0].array)).astype(np.float32), predictor)
    assert cc3d.connected_components(found >= 0.5).max() == len(places)


def test_one_channel_is_an_image_and_more_are_one_line():
    image = np.stack([scene()] * 2)
    plain, one, two = (Volume.from_array(part, NM) for part in (image[0], image[:1], image))
    fitted = [registered("blobs", volume, {"diameter_nm": 6}).card.network["options"] for volume in (plain, one)]
    assert fitted[0] == fitted[1]
    with pytest.raises(InputError, match="got 2 channels, detector 'blobs' takes 1"):
        registered("blobs", two, {"diameter_nm": 6})


def test_a_faint_speck_beside_a_bright_object_is_none():
    yy, xx = np.indices((96, 96))
    image = np.full((1, 96, 96), 0.1, np.float32)
    for centre, height in (((48, 40), 1.0), ((48, 51), 0.45)):
        image[0][(yy - centre[0]) ** 2 + (xx - centre[1]) ** 2 <= 16] += height
    for contrast, found in ((0.6, 1), (0.2, 2)):
        detector = Blobs(diameter_nm=8, contrast=contrast)
        assert len(np.unique(detector(image, (1.0, 1.0, 1.0))[0])) - 1 == found


def test_the_score_of_a_blob_grows_with_its_contrast_and_starts_at_a_half():
    yy, xx = np.indices((96, 220))
    image, heights = np.full((1, 96, 220), 0.1, np.float32), (0.25, 0.4, 0.7, 1.0)
    for k, height in enumerate(heights):
        image[0][(yy - 48) ** 2 + (xx - 30 - 50 * k) ** 2 <= 25] += height
    predictor = registered("blobs", Volume.from_array(image, NM), {"diameter_nm": 10, "contrast": 0.2})
    made = map_of(image, predictor)
    at = made[0, 48, 30::50]
    np.testing.assert_allclose(at, [h / (h + 0.2) for h in heights], atol=0.03)
    assert (np.diff(at) > 0.05).all()
    assert made[made > 0].min() >= 0.5


def test_scores_fill_their_labels_and_others_are_refused():
    labels = np.array([[[0, 1, 1, 0, 2]]])
    made = label_map("x", (labels, np.array([0.0, 0.75, 0.5])), labels.shape)
    np.testing.assert_array_equal(made, np.array([[[0, 0.75, 0.75, 0, 0.5]]], np.float32))
    for scores in ([0.0, 0.75], [0.0, 0.75, 1.5], [0.0, np.nan, 0.5], [[0.0, 0.75, 0.5]]):
        with pytest.raises(ModelError, match="one of 0 to 1 for each of labels 0 to 2"):
            label_map("x", (labels, np.array(scores)), labels.shape)
