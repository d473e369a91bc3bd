from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import ChunkError, ModelError
from napari_connecto.core.model import ModelCard, Normalisation, Output, Scaling
from napari_connecto.core.views.sampled import sampled
from napari_connecto.core.volume import Level, Volume
from tests.compute.parts import Chunked, noise

NM = (1.0, 1.0, 1.0)
CARD = ModelCard(
    "mito", "detect", (40.0, 8.0, 8.0), (8, 64, 64), (4, 16, 16),
    (Output("foreground"), Output("object", (2, 4, 4), (4, 0, 0))),
    channels=2, normalisation=Normalisation("percentile", 0.5, 99.5), network={"kind": "unet", "width": 8},
    digest="ab", training="phantom", licence="MIT", parent="cd", metrics={"f1": 0.9},
)  # fmt: skip


def test_card_survives_json():
    assert ModelCard.from_json(json.loads(json.dumps(CARD.to_json()))) == CARD


def damaged(**changes):
    return {**CARD.to_json(), **changes}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (damaged(tile=[8, 0, 64]), r"tile \(8, 0, 64\), halo"),
        (damaged(tile=[8, 64.5, 64]), "not three whole numbers"),
        (damaged(tile=[8, float("inf"), 64]), "damaged"),
        (damaged(tile=[8, 64]), "damaged"),
        (damaged(tile=None), "damaged"),
        (damaged(halo=[-1, 0, 0]), r"halo \(-1, 0, 0\)"),
        (damaged(voxel_nm=[40, float("nan"), 8]), "not three positive numbers"),
        (damaged(voxel_nm=[40, -8, 8]), "not three positive numbers"),
        (damaged(voxel_nm="nm"), "damaged"),
        (damaged(channels=0), "0 channels"),
        (damaged(channels="two"), "two channels"),
        (damaged(outputs=[]), "at least one"),
        (damaged(outputs=[CARD.to_json()["outputs"][0]] * 2), "of different names"),
        (damaged(outputs=[{"name": "a", "stride": [0, 1, 1], "trimmed": [0, 0, 0]}]), "output 'a' of stride"),
        (damaged(outputs=[{"name": "a", "stride": [1, 1, 1], "trimmed": [5, 0, 0]}]), "0 to the halo"),
        (damaged(outputs=["a"]), "damaged"),
        (damaged(outputs=[{"name": "a"}]), "damaged.*stride"),
        (damaged(normalisation={"kind": "zscore"}), "normalisation 'zscore'"),
        (damaged(normalisation={"kind": "percentile", "low": 99, "high": 1}), "from 99 to 1 %"),
        (damaged(normalisation={"colour": 1}), "damaged.*colour"),
        (damaged(normalisation={"kind": "percentile", "finest": [1]}), r"finest \[1\]"),
        (damaged(colour="red"), "damaged.*colour"),
        ({k: v for k, v in CARD.to_json().items() if k != "tile"}, "damaged.*tile"),
        ([1, 2], "damaged"),
        (None, "damaged"),
    ],
)
def test_damaged_cards_are_refused_in_one_line(data, match):
    with pytest.raises(ModelError, match=match) as error:
        ModelCard.from_json(data)
    assert "\n" not in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["voxel_nm", "tile", "halo", "outputs", "normalisation", "channels"]), json_values)
def test_whatever_stands_in_a_card_gives_a_card_or_a_model_error(field, value):
    try:
        card = ModelCard.from_json(damaged(**{field: value}))
    except ModelError:
        return
    assert min(card.tile) >= 1
    assert min(card.halo) >= 0


def test_output_by_name():
    assert CARD.output("object").stride == (2, 4, 4)
    with pytest.raises(ModelError, match=r"'mito' has outputs \['foreground', 'object'\], not 'centre'"):
        CARD.output("centre")


def test_scaling():
    got = Scaling(10, 4)(np.array([10, 12, 14], np.uint8))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [0, 0.5, 1])


def volume(array, coarse=None):
    levels = [Level(array, (1, 1, 1))] + ([Level(coarse, (2, 2, 2))] if coarse is not None else [])
    return Volume(tuple(levels))


def test_normalisation_by_range():
    kind = Normalisation("range")
    assert kind.resolve(volume(np.zeros((1, 2, 2), np.uint8))) == Scaling(0, 255)
    assert kind.resolve(volume(np.zeros((1, 2, 2), np.int16))) == Scaling(-32768, 65535)
    assert kind.resolve(volume(np.zeros((1, 2, 2), np.float32))) == Scaling()
    assert Normalisation("none").resolve(volume(np.full((1, 2, 2), 7))) == Scaling()


def test_normalisation_by_percentiles_of_the_coarsest_level():
    coarse = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    got = Normalisation("percentile", 5, 95).resolve(volume(np.zeros((2, 2, 202), np.float32), coarse))
    assert (got.offset, got.scale) == pytest.approx((5, 90))
    coarse[0, 0, 50] = np.nan
    assert Normalisation("percentile", 0, 100).resolve(volume(coarse)) == Scaling(0, 100)


@pytest.mark.parametrize("kind", ["percentile", "standard"])
def test_normalisation_leaves_out_what_cannot_be_read(kind):
    data = noise((16, 64, 64))
    data[:, :32, :32] = 255
    broken = volume(Chunked(data, (16, 32, 32), broken=[(0, 0, 0)]))
    with pytest.raises(ChunkError, match="is damaged"):
        Normalisation(kind).resolve(broken)
    rest = np.concatenate([data[:, :32, 32:].ravel(), data[:, 32:].ravel()])
    got, want = Normalisation(kind).resolve(broken, damaged=True), Normalisation(kind).resolve(volume(rest[None, None]))
    assert (got.offset, got.scale) == pytest.approx((want.offset, want.scale))
    nothing = volume(Chunked(data, (16, 64, 64), broken=[(0, 0, 0)]))
    with pytest.raises(ModelError, match="holds no finite value that can be read"):
        Normalisation(kind).resolve(nothing, damaged=True)


def test_normalisation_of_flat_empty_and_thin_volumes():
    kind = Normalisation("percentile", 1, 99)
    assert kind.resolve(volume(np.full((2, 2, 2), 9, np.uint8))) == Scaling(9, 1)
    with pytest.raises(ModelError, match="holds no finite value"):
        kind.resolve(volume(np.full((2, 2, 2), np.nan)))
    thin = np.broadcast_to(np.arange(64, dtype=np.uint8), (2, 64, 64))
    got = Normalisation("percentile", 0, 100).resolve(volume(thin), max_voxels=2 * 32 * 32)
    assert 0 < got.offset < 32 < got.offset + got.scale < 63


def test_percentiles_of_the_finest_level_depend_on_no_coarse_one():
    image = np.random.default_rng(0).normal(100, 10, (1, 256, 256)).astype(np.float32)
    fine, coarse = Volume.from_array(image, NM), image.reshape(1, 16, 16, 16, 16).mean((2, 4))
    both = Volume((*fine.levels, Volume.from_array(coarse, (1.0, 16.0, 16.0)).levels[0]))
    finest, usual = (Normalisation("percentile", 1, 99, finest=finest) for finest in (True, False))
    assert finest.resolve(both) == finest.resolve(fine) == usual.resolve(fine)
    assert usual.resolve(both) != usual.resolve(fine)


@given(st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)), st.integers(1, 2000))
def test_values_spread_over_a_level_are_of_all_its_parts_and_not_too_many(shape, most):
    level = Volume.from_array(np.arange(np.prod(shape)).reshape(shape), NM).levels[0]
    values = sampled(level, most, spread=True)
    assert 0 < len(np.unique(values)) == values.size <= max(most, 8 * 64)
    if level.box.size > most >= 640:  # from both halves of every axis
        for axis, at in enumerate(np.unravel_index(values.ravel(), shape)):
            assert (at < (shape[axis] + 1) / 2).any()
            assert (at >= shape[axis] // 2).any()
