"""Agreement of segmentations as a ranking: the rule, degenerate answers, and places on a common grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.agreement.answers import Answers, answers_job, between, triviality
from napari_connecto.workflows.adapt.agreement.places import Places, common_grid, draw_places, view
from napari_connecto.workflows.adapt.agreement.rule import decide, nearest_two, rank_sum
from napari_connecto.workflows.segment.params import SegmentParams

NM = (40.0, 8.0, 8.0)


def card(name="lines", voxel_nm=NM):
    norm = Normalisation("percentile", 1.0, 99.0)
    return ModelCard(name, "boundary", voxel_nm, (1, 64, 64), (0, 8, 8), (Output("boundary"),), normalisation=norm)


class Answering:
    """A boundary model made of a function of the scaled image."""

    def __init__(self, function, voxel_nm=NM):
        self.card, self.function = card(voxel_nm=voxel_nm), function

    def __call__(self, batch, seeds):
        return {"boundary": np.stack([self.function(block[0]) for block in batch]).astype(np.float32)}


@pytest.fixture(scope="module")
def neuropil():
    return phantom("neuropil", (8, 192, 192), seed=3).image


# ---------------------------------------------------------------- the rule


def test_the_rule_adds_the_ranks_of_consensus_and_consistency():
    apart = np.array([[0, 1, 3, 9], [1, 0, 2, 9], [3, 2, 0, 9], [9, 9, 9, 0]], float)
    found = decide(np.tile([0.5, 0.2, 0.3, 0.1], (4, 1)), np.tile(apart, (4, 1, 1)), np.full((4, 4), 2.0))
    assert [s.value for s in found.instability] == [0.25, 0.1, 0.15, 0.05]
    # consensus 2, 1.5, 2.5, 9: ranks 2 1 3 4; consistency: ranks 4 2 3 1; sums 6 3 6 5, and 2.5 is less than 2.8
    assert [score.value for score in found.consensus] == [2, 1.5, 2.5, 9]
    assert found.order == (1, 3, 0, 2)
    assert [(s.low, s.high) for s in found.consistency] == [(v, v) for v in (0.5, 0.2, 0.3, 0.1)]


def test_the_consensus_of_two_is_equal_and_of_one_there_is_none():
    assert nearest_two(np.array([[0.0, 0.7], [0.7, 0.0]])).tolist() == [0.7, 0.7]
    assert decide(np.tile([0.4, 0.1], (3, 1)), np.tile([[0.0, 0.7], [0.7, 0.0]], (3, 1, 1)), np.ones((3, 2))).order == (
        1,
        0,
    )
    alone = decide(np.full((3, 1), 0.4), np.zeros((3, 1, 1)), np.ones((3, 1)))
    assert alone.order == (0,)
    assert np.isnan(alone.consensus[0].value)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_depends_neither_on_the_order_of_models_nor_on_the_scale(k, places, seed, random):
    rng = np.random.default_rng(seed)
    own, apart = rng.random((places, k)), rng.random((places, k, k))
    apart = (apart + apart.transpose(0, 2, 1)) * (1 - np.eye(k))
    names = list(range(k))
    random.shuffle(names)
    plain, turned = decide(own, apart, own), decide(own[:, names], apart[:, names][:, :, names], own)
    scaled = decide(3 * own, 3 * apart, own)
    assert scaled.order == plain.order
    score = rank_sum(nearest_two(apart.mean(0)), own.mean(0))
    assert np.allclose(score[list(plain.order)], np.sort(score))
    assert np.allclose(score[[names[i] for i in turned.order]], np.sort(score))


# ---------------------------------------------------------------- degenerate answers


def test_one_segment_and_specks_are_degenerate_and_cells_are_not():
    whole = np.ones((100, 100), np.uint32)
    whole[:5] = 2
    specks = np.kron(np.arange(400).reshape(20, 20), np.ones((5, 5), int))
    cells = np.kron(np.arange(25).reshape(5, 5), np.ones((20, 20), int))
    assert [triviality(labels) for labels in (whole, specks, cells)] == ["whole", "dust", ""]
    assert (
        Answers(whole, whole, np.zeros((2, 3)), np.zeros(2), ("whole", "")).degenerate == "one segment fills the place"
    )
    assert Answers(whole, whole, np.zeros((3, 3)), np.zeros(3), ("whole", "", "")).degenerate == ""


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_model_that_says_one_thing_everywhere_is_consistent_and_degenerate(neuropil, value):
    model = Answering(lambda image: np.full(image.shape, value))
    places = draw_places(neuropil, [model.card], 2, 96)
    found = run(answers_job(model, neuropil, places, SegmentParams()))
    assert found.inconsistency.max() == 0
    assert found.degenerate == "one segment fills the place"


# ---------------------------------------------------------------- answers and places


def test_answers_of_one_model_on_itself_agree_and_noise_changes_those_of_a_threshold(neuropil):
    model = Answering(lambda image: (image < 0.35).astype(float))
    places = draw_places(neuropil, [model.card], 2, 96)
    found = run(answers_job(model, neuropil, places, SegmentParams()))
    assert found.labels.shape == found.boundary.shape == (2, 96, 96)
    flip, noise, blur = found.inconsistency.mean(axis=0)
    assert flip < 0.2  # a threshold flips with the image; only the watershed's ties do not
    assert min(noise, blur) > flip
    assert np.abs(between({"a": found, "b": found})).max() == 0


def test_a_model_of_other_voxels_answers_on_the_grid_of_the_image():
    ramp = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32), (2, 128, 128)).copy()
    volume = Volume((Level(ramp, NM),), name="ramp")
    places = Places(volume.levels[0], (Box((1, 16, 16), (2, 112, 112)),), 0)
    for factor in (0.5, 1.0, 2.0):
        here = view(volume, card(voxel_nm=(40.0, 8 * factor, 8 * factor)), places, 0)
        back = here.on_grid(here.image, places, 0)
        np.testing.assert_allclose(back, ramp[1, 16:112, 16:112], atol=0.01)


def test_the_grid_is_the_image_or_the_finest_model():
    volume = Volume.from_array(np.zeros((2, 64, 64), np.uint8), (40.0, 4.0, 4.0), name="fine")
    assert common_grid(volume, [card(voxel_nm=(40.0, 8.0, 8.0)), card()]).voxel_nm == (40.0, 8.0, 8.0)
    assert common_grid(volume, [card(voxel_nm=(40.0, 2.0, 2.0))]) is volume.levels[0]


def test_a_place_too_small_for_a_model_says_what_would_do(neuropil):
    places = draw_places(neuropil, [card()], 1, 96)
    with pytest.raises(InputError, match=r"24 x 24 voxels of this model, at least 32 are needed: choose places of 128"):
        view(neuropil, card(voxel_nm=(40.0, 32.0, 32.0)), places, 0)
    with pytest.raises(InputError, match=r"places would need 256 voxels, and the image has 192: use a larger image"):
        view(neuropil, card(voxel_nm=(40.0, 64.0, 64.0)), places, 0)  # no place in this image would do


def test_an_image_without_tissue_names_the_option_for_smaller_places():
    flat = Volume.from_array(np.full((2, 128, 128), 7, np.uint8), NM, name="flat")
    with pytest.raises(
        InputError, match=r"'flat' has no places of tissue of 96 x 96 voxels .*smaller places \(--place"
    ):
        draw_places(flat, [card()], 2, 96)
