"""What can be read from a network: what its input shows at once, what is not there never, and what its answer uses."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import napari_connecto as nc
from napari_connecto.core.errors import InputError
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.inspect.concepts.measure import concepts_job
from tests.models.cards import card

NET = {"kind": "scorer", "dims": 2, "width": 4, "stride": [1, 2, 2]}
CARD = card(NET, (2, 32, 32), (0, 8, 8), stride=(1, 2, 2))
SHAPE, VOXEL = (4, 128, 128), (40.0, 4.0, 4.0)
PARAMS = nc.ConceptParams(pixels=2500, block=32, steps=20, untrained=2, sections=4)


def scene():
    """Bright discs in noise; their mask, and one that has nothing to do with the image."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE[1:])
    discs = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2 < 16) & (np.indices(SHAPE)[0] >= 0)
    image = np.clip(rng.normal(80, 10, SHAPE) + 120 * discs, 0, 255).astype(np.uint8)
    nothing = np.roll((np.indices(SHAPE)[1:] // 5).sum(axis=0) % 7 == 0, 3, axis=2) & (rng.random(SHAPE) < 0.5)
    return nc.Volume.from_array(image, VOXEL), {"discs": discs.astype(np.uint8), "nothing": nothing}


def blind():
    """A network whose first layer sees nothing: all its activations are constant."""
    model = new_model(CARD, 0, device="cpu")
    first = next(m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d))
    with torch.no_grad():
        first.weight.zero_()
    return TorchPredictor(CARD, model.net, "cpu")


@cache
def answer():
    """Two checkpoints: a blind network, and one that is not."""
    volume, masks = scene()
    return nc.concepts({10: blind(), 200: new_model(CARD, 0, device="cpu")}, volume, masks, PARAMS)


def test_what_the_input_shows_is_read_and_what_it_does_not_show_is_not():
    for reading in answer().last("discs"):
        assert reading.probe > 0.6 > 1.5 * reading.prevalence
        assert reading.low <= reading.probe <= reading.high
    for reading in answer().last("nothing"):
        assert reading.probe < reading.prevalence + 0.1


def test_a_blind_network_reads_nothing():
    for stage in answer().stages:
        first = answer().along("step", "discs", stage)[0]
        assert (first.at, first.probe) == (10, pytest.approx(first.prevalence))
        assert first.channel == first.latent == pytest.approx(first.prevalence)


def test_the_control_of_shuffled_masks_is_near_chance():
    """The discs lie on a grid of 16 in blocks of 32: another block has the same mask, so only noise tells the two."""
    assert all(abs(reading.shuffled) < 0.1 for reading in answer().last("nothing"))
    assert np.isnan(answer().along("step", "nothing", answer().stages[0])[0].shuffled)


def test_a_concept_that_any_network_reads_has_no_threshold():
    """Random weights read bright discs, too, so training is not what made them readable."""
    stage = answer().stages[0]
    assert all(len(r.untrained) == 2 and min(r.untrained) > 0.5 for r in answer().last("discs"))
    assert answer().since("discs", stage) is None
    assert answer().table("discs").shape == (len(answer().stages), 2)


def test_autoencoders_are_measured_beside_random_dictionaries():
    for reading in answer().last("discs"):
        assert reading.fvu >= 0
        assert 0 < reading.l0 <= 4
        assert 0 <= reading.dead < 1
        assert reading.prevalence < reading.random_latent <= 1
    assert any("autoencoder" in line and "random dictionary" in line for line in answer().lines())


def test_places_are_where_the_concept_is():
    _, masks = scene()
    z, y, x = np.floor(answer().places["discs"] / VOXEL).astype(int).T
    assert masks["discs"][z, y, x].mean() > 0.8


def test_result_files_have_a_row_for_each_reading(tmp_path):
    answer().save(tmp_path)
    rows = (tmp_path / "concepts.csv").read_text().splitlines()
    told = json.loads((tmp_path / "concepts.json").read_text())
    assert len(rows) - 1 == len(told["readings"]) == len(answer().readings) == 2 * 2 * len(answer().stages)
    assert told["readings"][0]["shuffled"] is None


def test_every_ablation_has_random_ones_beside_it():
    found = [u for u in answer().used if u.concept == "discs" and u.stage == answer().stages[-1]]
    assert {u.what for u in found} == {"probe", "channel", "latent"}
    assert all(len(u.controls) > 2 for u in found)


def test_what_the_answer_is_made_of_is_used():
    """The head of a network set to a probe's direction: without that the margin is gone, without others it is not."""
    volume, masks = scene()
    params = replace(PARAMS, autoencoder=False, untrained=0)
    wide = card(NET | {"width": 16}, (2, 32, 32), (0, 8, 8), stride=(1, 2, 2))
    model = new_model(wide, 0, device="cpu")
    stage = nc.concepts(model, volume, {"discs": masks["discs"]}, params).stages[-1]
    drawn = 1 + masks["discs"]
    weights = nc.probe(model, volume, drawn, nc.ProbeParams(stages=stage))._matrices[stage]
    head = [m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        head.weight.copy_(weights[:, :, None, None])
    found = nc.concepts(TorchPredictor(wide, model.net, "cpu"), volume, {"discs": masks["discs"]}, params)
    [own] = [u for u in found.used if (u.stage, u.what) == (stage, "probe")]
    assert own.margin > 1
    assert own.effect < -0.5 * own.margin
    assert own.used


def test_sizes_have_a_smallest_and_their_own_control():
    volume, masks = scene()
    wide = card(NET | {"width": 6}, (2, 32, 32), (0, 8, 8), stride=(1, 2, 2))
    params = nc.ConceptParams(pixels=2500, block=32, autoencoder=False, untrained=1, ablation=False, sections=4)
    sizes = {6: new_model(wide, 0, device="cpu"), 4: blind()}
    found = nc.concepts(blind(), volume, {"discs": masks["discs"]}, params, sizes=sizes)
    by_width = {r.at: r for r in found.readings if r.axis == "width" and r.stage == found.stages[0]}
    assert by_width[4].probe < 0.4 < by_width[6].probe
    assert found.smallest_width("discs") in (None, 6)
    assert found.smallest_width("discs", "latent") is None


def test_masks_may_be_volumes_on_a_grid_of_their_own():
    volume, masks = scene()
    coarse = nc.Volume.from_array(masks["discs"][:, ::2, ::2], (40.0, 8.0, 8.0), name="discs", kind="labels")
    params = nc.ConceptParams(pixels=2500, block=32, autoencoder=False, untrained=0, ablation=False, stages="encoder.1")
    found = nc.concepts(new_model(CARD, 0, device="cpu"), volume, coarse, params)
    assert found.concepts == ("discs",)
    assert found.stages == ("encoder.1",)
    assert found.readings[0].probe > 0.6


@pytest.mark.parametrize(
    ("masks", "stages", "message"),
    [
        ({}, "", "got no mask"),
        ({"a": np.zeros((2, 3, 4))}, "", "mask 'a' of shape \\(2, 3, 4\\)"),
        (None, "encoder.9", "got stage 'encoder.9'.*has encoder.1"),
    ],
)
def test_what_does_not_fit_is_refused(masks, stages, message):
    volume, own = scene()
    params = nc.ConceptParams(pixels=2500, block=32, stages=stages)
    with pytest.raises(InputError, match=message):
        nc.concepts(new_model(CARD, 0, device="cpu"), volume, own if masks is None else masks, params)


def test_no_checkpoint_is_refused():
    volume, masks = scene()
    with pytest.raises(InputError, match="got no model"):
        nc.concepts([], volume, masks)


def test_it_reports_each_network_and_can_be_closed():
    volume, masks = scene()
    job = concepts_job(new_model(CARD, 0, device="cpu"), volume, masks, PARAMS)
    assert next(job).stage == "untrained 1"
    job.close()


def test_the_summary_says_where_a_reading_is_no_better_than_its_controls():
    lines = list(answer().lines())
    worse = replace(answer().readings[0], low=0.2, prevalence=0.3, untrained=())
    better = replace(worse, low=0.4)
    for reading, odd in ((worse, True), (better, False), (replace(better, untrained=(0.5,)), True)):
        [line] = [s for s in nc.Concepts((reading,), (), {}).lines() if "read best in" in s]
        assert line.endswith("no better than its controls") is odd
    assert any("read best in" in line for line in lines)
