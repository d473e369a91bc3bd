"""A classifier from scribbles is a model: it finds what was scribbled, it is lazy, it is saved without pickles."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.ranking import average_precision
from napari_connecto.models.files import new_model
from napari_connecto.models.inspect.features import features_at
from napari_connecto.models.inspect.probe import ProbePredictor
from napari_connecto.models.inspect.taps import network
from napari_connecto.workflows.inspect.probe import probe_job
from tests.contracts.predictor import PredictorContract
from tests.models.cards import card

NET = {"kind": "scorer", "dims": 2, "width": 4, "stride": [1, 2, 2]}
CARD = card(NET, (2, 32, 32), (1, 8, 8), stride=(1, 2, 2))
SHAPE, VOXEL = (4, 96, 96), (40.0, 4.0, 4.0)


@cache
def scene():
    """Bright and dark discs in noise; 1 and 2 in the truth."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE[1:])
    discs = (y % 24 - 12) ** 2 + (x % 24 - 12) ** 2 < 40
    truth = np.broadcast_to(np.where(discs, 1 + (y // 24) % 2, 0), SHAPE)
    image = rng.normal(100, 8, SHAPE) + np.choose(truth, [0, 80, -60])
    return nc.Volume.from_array(np.clip(image, 0, 255).astype(np.uint8), VOXEL), truth


def scribbles(classes=2):
    """A few strokes in the first section: background, and two discs of each class."""
    _, truth = scene()
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[0, 2:4, 10:40], drawn[0, 50:52, 50:80] = 1, 1
    for row, number in ((12, 2), (36, 3))[:classes]:
        drawn[0, row - 2 : row + 2, 10:14], drawn[0, row - 2 : row + 2, 34:38] = number, number
    assert ((truth > 0) == (drawn > 1))[drawn > 0].all()
    return drawn


@cache
def classifier():
    return nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], scribbles(), names=["bright", "dark"])


class TestContract(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return classifier()


def test_it_finds_what_was_scribbled_in_sections_that_were_not():
    image, truth = scene()
    for number, name in ((1, "bright"), (2, "dark")):
        score = nc.lazy(image, classifier(), name)[1:].compute()
        assert average_precision(score.ravel(), truth[1:].ravel() == number) > 0.7


def test_its_map_is_the_fitted_classifier_at_every_pixel():
    """What was fitted to single pixels is what the tiles give there."""
    model, rng = classifier(), np.random.default_rng(1)
    patch = rng.random((1, 4, 48, 48), np.float32)
    points = rng.integers(0, [2, 48, 48], (20, 3))
    stages = list(model.card.network["stages"])
    found, _ = features_at(network(model.model), stages, patch, points)
    logit = sum(found[stage] @ model._matrices[stage].numpy().T for stage in stages) + model._bias.numpy()
    mapped = model(patch[None], [0])["bright"][0][tuple(points.T)]
    np.testing.assert_allclose(mapped, 1 / (1 + np.exp(-logit[:, 0])), atol=1e-4)


def test_strokes_left_out_say_how_well_it_works():
    metrics = classifier().card.metrics
    assert metrics["pixels"] == {"bright": 32, "dark": 32}
    assert set(metrics["held_out_ap"]) == {"bright", "dark"}
    assert min(metrics["held_out_ap"].values()) > 0.7


def test_one_stroke_of_a_class_is_not_measured():
    drawn = scribbles(1)
    drawn[0, :, 24:][drawn[0, :, 24:] == 2] = 0
    found = nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], drawn)
    assert found.card.metrics["held_out_ap"] == {}
    assert [o.name for o in found.card.outputs] == ["object"]


def test_a_saved_classifier_gives_the_same(tmp_path):
    nc.save_model(classifier(), tmp_path / "probe")
    names = {str(path.relative_to(tmp_path / "probe")) for path in (tmp_path / "probe").rglob("*") if path.is_file()}
    assert names == {"card.json", "weights.safetensors", "model/card.json", "model/weights.safetensors"}
    again = nc.load_model(tmp_path / "probe", device="cpu", backend="torch")
    batch = np.random.default_rng(0).random((2, 1, 4, 48, 48), np.float32)
    assert again.card == classifier().card
    np.testing.assert_array_equal(again(batch, [0, 0])["dark"], classifier()(batch, [0, 0])["dark"])


def test_a_classifier_beside_another_model_is_refused(tmp_path):
    nc.save_model(classifier(), tmp_path / "probe")
    nc.save_model(new_model(CARD, 1, device="cpu"), tmp_path / "probe" / "model", overwrite=True)
    with pytest.raises(ModelError, match="another model than that beside it"):
        nc.load_model(tmp_path / "probe", device="cpu")


def test_changed_weights_are_refused(tmp_path):
    nc.save_model(classifier(), tmp_path / "probe")
    told = json.loads((tmp_path / "probe/card.json").read_text())
    (tmp_path / "probe/card.json").write_text(json.dumps(told | {"digest": "0" * 64}))
    with pytest.raises(ModelError, match="is not that of its model"):
        nc.load_model(tmp_path / "probe", device="cpu")


def test_weights_must_fit_the_stages():
    with pytest.raises(ModelError, match="got weights"):
        ProbePredictor(new_model(CARD, 0, device="cpu"), ["a"], {"encoder.1": np.zeros((1, 3))}, np.zeros(1))


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (lambda drawn: drawn * 0, None, "the scribbles are empty"),
        (lambda drawn: np.where(drawn == 1, 0, drawn), None, "paint 1 on background"),
        (lambda drawn: np.minimum(drawn, 1), None, "2 or more on what is wanted"),
        (lambda drawn: drawn, ["one"], "give one different name for each"),
    ],
)
def test_scribbles_that_do_not_fit_are_refused(change, names, message):
    with pytest.raises(InputError, match=message):
        nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], change(scribbles()), names=names)


def test_a_region_is_kept_to():
    """Scribbles outside of it do not count."""
    drawn = scribbles()
    drawn[2, 60:70, 60:70] = 3
    region = nc.Box((0, 0, 0), (1, 96, 96))
    found = nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], drawn, region=region)
    assert found.card.metrics["pixels"] == {"class 2": 32, "class 3": 32}


def test_scribbles_need_no_voxel_size():
    unstated = replace(nc.Volume.from_array(scribbles(), (1.0, 1.0, 1.0), kind="labels"), calibrated=False)
    found = nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], unstated)
    assert found.card.metrics["pixels"] == {"class 2": 32, "class 3": 32}


def test_looking_for_scribbles_can_be_cancelled():
    """It reports before each section is read."""
    job = probe_job(new_model(CARD, 0, device="cpu"), scene()[0], scribbles())
    looked = [p for p, _ in zip(job, range(SHAPE[0]), strict=False)]
    assert [(p.done, p.stage) for p in looked] == [(z, "looking for scribbles") for z in range(SHAPE[0])]
    job.close()


def test_one_class_may_have_one_name():
    found = nc.probe(new_model(CARD, 0, device="cpu"), scene()[0], scribbles(1), names="disc")
    assert [output.name for output in found.card.outputs] == ["disc"]
