"""Training a translator: what is kept apart, that it learns, resumes, stops, repeats itself, and what it refuses."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import Cancelled, InputError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.recipes.parts import translator_folder
from napari_connecto.workflows.shared.stop_file import STOP
from napari_connecto.workflows.xray.params import PairParams, XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray
from napari_connecto.workflows.xray.training import train
from napari_connecto.workflows.xray.training.design import SHARES, crop_shape, middle, parts, translator_card
from napari_connecto.workflows.xray.training.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.training.train import train_translator_job
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from napari_connecto.workflows.xray.translator import load_translator
from tests.translate_parts import EM_NM, PARAMS, texture
from tests.workflows.watched import watched

PAIRING = PairParams(affine=False)
SECTIONS = ModelCard(
    "sections",
    "boundary",
    (40.0, 8.0, 8.0),
    (1, 32, 32),
    (0, 8, 8),
    (Output("boundary"),),
    network={"kind": "unet", "dims": 2},
)


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    return simulated((96, 32, 32))


def simulated(shape: tuple[int, int, int]) -> tuple[Volume, Volume]:
    em = Volume.from_array(texture(shape, 3), EM_NM, name="EM")
    return simulate_xray(em, XrayParams(voxel_nm=(20, 20, 20), fwhm_nm=(30, 30, 30))), em


def test_parts_lie_apart_by_what_the_network_sees():
    card = translator_card(TranslatorParams(), EM_NM)
    assert card.halo == (20, 20, 20)
    assert card.tile == (96, 96, 96)
    boxes = list(parts((100, 400, 90), card.halo).values())
    for before, after in itertools.pairwise(boxes):
        assert after.start[1] - before.stop[1] == 20
        assert before.shape[0] == 100
        assert before.shape[2] == 90
    room = 400 - 3 * 20
    assert [b.shape[1] for b in boxes] == [int(room * s) for s in SHARES.values()]
    with pytest.raises(InputError, match=r"too small for separate parts.*at least 127 voxels"):
        parts((90, 100, 90), card.halo)


@pytest.mark.parametrize(("weight", "has"), [(1.0, True), (0.0, False)])
def test_membranes_without_weight_are_no_output(pair, monkeypatch, weight, has):
    """An output that nothing teaches would be taken for the translator's own membranes."""
    seen = []

    def prepared(blocks, em, box, card, params, segmenter, *_):
        seen.append(("membrane" in [output.name for output in card.outputs], segmenter is not None))
        raise Cancelled("enough")

    monkeypatch.setattr(train, "prepared_job", prepared)
    params, segmenter = replace(PARAMS, membrane=weight, through=1.0), new_model(SECTIONS, 0, device="cpu")
    with pytest.raises(Cancelled):
        run(train_translator_job(*pair, params, pairing=PAIRING, segmenter=segmenter))
    assert seen == [(has, has)]


def test_the_halo_is_all_that_the_network_sees():
    """A change outside of tile and halo changes nothing, one just inside the halo may."""
    cells = replace(PARAMS, depth=2, fold=2, residual=2, width=8)
    for params, voxel in itertools.product((replace(PARAMS, depth=3), cells), (EM_NM, (40.0, 8.0, 8.0))):
        card = replace(translator_card(params, voxel), tile=(8, 8, 8))
        model = new_model(card, 0, device="cpu")
        halo = card.halo
        shape = [8 + 2 * (h + 4) for h in halo]
        x = np.random.default_rng(0).random((1, 1, *shape), np.float32)
        own = tuple(slice(h + 4, h + 12) for h in halo)
        before = model(x, [0])["mean"][0][own]
        for axis in range(3):
            for reach, differs in ((halo[axis] + 1, False), (1, True)):
                changed = x.copy()
                here = [slice(None)] * 5
                here[axis + 2] = slice(0, halo[axis] + 4 - reach + 1)
                changed[tuple(here)] += 1
                assert (np.abs(model(changed, [0])["mean"][0][own] - before).max() > 0) == differs, (voxel, axis, reach)


def test_deep_voxels_are_not_halved_along_z():
    card = translator_card(TranslatorParams(depth=4), (40.0, 4.0, 4.0))
    assert card.network["strides"] == [[1, 2, 2], [1, 2, 2], [1, 2, 2]]
    assert "fold" not in card.network
    assert card.tile[1:] == (96, 96)
    assert card.tile[0] < 96
    cells = translator_card(TranslatorParams(depth=2, fold=2, residual=2), (40.0, 4.0, 4.0))
    assert cells.network["fold"] == [1, 2, 2], "nor taken together"
    assert translator_card(TranslatorParams(depth=2, fold=2, residual=2), EM_NM).halo == (24, 24, 24)
    assert crop_shape(TranslatorParams(crop=48), card, (60, 60, 60)) == (4, 48, 48)
    with pytest.raises(InputError, match="must fit"):
        crop_shape(TranslatorParams(), card, (60, 4, 60))


def test_the_middle_of_a_box():
    box = parts((400, 100, 90), (16, 16, 16))["test"]
    small = middle(box, 50_000)
    assert small.size <= 50_000
    assert np.abs(np.add(box.start, box.stop) - np.add(small.start, small.stop)).max() <= 1


def test_samples_repeat_themselves_and_turn_both_images_alike():
    em = np.random.default_rng(0).random((20, 24, 24)).astype(np.float32)
    samples = PairSamples(Scene(em, em, np.ones(em.shape, bool)), (8, 12, 12), 3, seed=5)
    xray, target, weight = samples.at(7)
    assert xray.shape == target.shape == weight.shape == (3, 1, 8, 12, 12)
    np.testing.assert_array_equal(samples.at(7)[0], xray)
    np.testing.assert_array_equal(next(samples.from_step(7))[1], target)
    for a, b in zip(xray, target, strict=True):
        slope, offset = np.polyfit(b.ravel(), a.ravel(), 1)
        assert np.abs(slope * b + offset - a).max() < 0.1, "the same place, but for brightness and noise"
        assert 0.85 < slope < 1.15
    plain = PairSamples(Scene(em, em, np.ones(em.shape, bool)), (8, 12, 12), 3, seed=5, changed=False).at(0)
    np.testing.assert_array_equal(plain[0], plain[1])


def test_crops_lie_where_the_pair_is_valid():
    valid = np.zeros((20, 40, 40), bool)
    valid[:, :12] = True
    image = np.zeros(valid.shape, np.float32)
    weight = PairSamples(Scene(image, image, valid), (8, 12, 12), 16, seed=0).at(0)[2]
    assert weight.mean(axis=(1, 2, 3, 4)).min() >= 0.3
    with pytest.raises(InputError, match="do not overlap in the training block"):
        PairSamples(Scene(image, image, ~valid & valid), (8, 12, 12), 16, seed=0)
    with pytest.raises(InputError, match="use smaller ones"):
        PairSamples(Scene(image, image, valid), (8, 12, 48), 16, seed=0)


def test_an_interrupted_training_ends_with_the_same_translator(pair, tmp_path):
    params = replace(PARAMS, steps=6)
    whole = run(train_translator_job(*pair, params, pairing=PAIRING))
    job = train_translator_job(*pair, params, pairing=PAIRING, folder=tmp_path)
    for progress in job:
        if progress.stage == "training member 2" and progress.done == 6 + 5:
            break
    job.close()
    assert (tmp_path / "member_0" / "card.json").exists()
    steps = []
    job = train_translator_job(*pair, params, pairing=PAIRING, folder=tmp_path)
    again = run(job, lambda p: steps.append(p.done) if p.stage.startswith("training member") else None)
    assert len(steps) <= 2, "five steps before the last checkpoint, one or two more"
    assert again.predictor().card.digest == whole.predictor().card.digest
    assert again.about["metrics"] == whole.about["metrics"]


def test_stopping_keeps_the_members_so_far(pair):
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 5

    found = run(train_translator_job(*pair, replace(PARAMS, members=3), pairing=PAIRING, stop=stop))
    assert 1 <= len(found.members) < 3
    assert 0 <= found.about["metrics"]["calibration"]["coverage"]["0.9"] <= 1


def test_what_is_told_of_a_translator(pair):
    found = watched(train_translator_job(*pair, PARAMS, pairing=PAIRING))
    assert found.about["simulated"]["voxel_nm"] == [20.0, 20.0, 20.0]
    assert set(found.recalibration) == {"ensemble", "flips", "dropout", "single"}
    assert found.about["metrics"]["interpolated"]["psnr"] > 10
    json.dumps(found.about)


def test_a_pair_that_says_nothing_is_refused():
    xray, em = simulated((96, 64, 64))
    black = np.asarray(em.levels[0].array).copy()
    black[:44] = 7
    black[:44, 0, 0] = 8  # sections of one value would count as missing, and shorten the pair
    with pytest.raises(InputError, match="has only one brightness in the training part"):
        run(train_translator_job(xray, replace(em, levels=(Level(black, EM_NM),)), PARAMS, pairing=PAIRING))


def shell(*arguments: object) -> str:
    """Output of a command that must succeed, in this process."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_a_translation_is_nearer_to_the_em_than_the_xray_and_covered_as_stated(tmp_path):
    """From the shell: simulated X-ray of a texture, learnt, translated, and training done twice is done once."""
    from napari_connecto.io.tables.tables import read_table
    from napari_connecto.io.volumes.read import open_volume
    from napari_connecto.io.volumes.write import save_volume

    for volume, name in zip(simulated((96, 64, 64)), ("xray", "em"), strict=True):
        save_volume(volume, tmp_path / f"{name}.zarr")
    options = ["--steps", "150", "--members", "2", "--width", "8", "--depth", "2", "--crop", "16", "--device", "cpu"]
    command = ["train-translator", tmp_path / "xray.zarr", tmp_path / "em.zarr", "--shift-only", *options]
    shell(*command, "--out", tmp_path / "t")
    about = load_translator(translator_folder(tmp_path / "t")).about
    metrics = about["metrics"]
    assert metrics["translated"]["psnr"] > metrics["interpolated"]["psnr"] + 0.5
    assert 0.8 < metrics["calibration"]["coverage"]["0.9"] < 0.97
    assert "was trained before" in shell(*command, "--out", tmp_path / "t")
    translating = ["translate", tmp_path / "xray.zarr", "--translator", tmp_path / "t"]
    assert "least certain at z y x" in shell(*translating, "--out", tmp_path / "o")
    worst = json.loads((tmp_path / "o" / "worst.json").read_text())
    assert worst[0]["entropy"] == max(row["entropy"] for row in worst)
    ids = read_table(tmp_path / "o" / "segments" / "segments.csv")[0]["label"]
    labels = open_volume(tmp_path / "o" / "segments" / "labels" / "labels.zarr").levels[0]
    np.testing.assert_array_equal(ids, np.unique(labels.read(labels.box)))
    with_membranes = ["--membranes", "synthetic-neuropil", "--disagreement", "--out", tmp_path / "m"]
    with_membranes += ["--region", 0, 0, 0, 16, 32, 32]
    assert "passes disagree about membranes" in shell(*translating, *with_membranes)
    sd = open_volume(tmp_path / "m" / "membranes" / "membrane_sd.zarr").levels[0]
    assert 0 < sd.read(sd.box).max() <= 0.5
    assert "passes disagree about membranes" in shell("run", tmp_path / "m" / "recipe.yaml")
    assert not (tmp_path / "t" / STOP).exists()
