"""Translating: the same whatever the tiles, resumable, honest about what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import ChunkError, InputError, ModelError, StoreError, VoxelSizeError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.training.design import translator_card
from napari_connecto.workflows.xray.translate import translate, translate_job
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator, load_translator
from tests import translate_parts as parts


def whole(volume: Volume) -> np.ndarray:
    return np.asarray(volume.levels[0].read(volume.levels[0].box))


def retiled(translator: Translator, tile) -> Translator:
    """The same weights, other tiles."""
    from napari_connecto.models.inference.predictor import TorchPredictor

    return replace(
        translator,
        members=tuple(TorchPredictor(replace(m.card, tile=tile), m.net, "cpu") for m in translator.members),
    )


def test_the_result_is_what_the_networks_say_of_the_interpolated_whole(tmp_path):
    translator, xray = parts.untrained(), parts.xray()
    found = translate(xray, translator, out=tmp_path / "t")
    level = fitting_level(xray, translator.card)
    assert found.mean.levels[0].shape == (40, 48, 56)
    assert found.mean.levels[0].voxel_nm == parts.EM_NM
    scaled = translator.card.normalisation.resolve(xray)(level.read(level.box))
    single = [answers(m, scaled) for m in translator.members]
    means = np.array([s["mean"] for s in single])
    noise = np.sqrt(np.exp(np.clip([s["log_variance"] for s in single], -10, 2)).mean(axis=0))
    np.testing.assert_allclose(whole(found.mean), means.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(whole(found.aleatoric), 2 * noise, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(whole(found.epistemic), 2 * means.std(axis=0), rtol=2e-3, atol=2e-4)


def cells() -> Translator:
    """Untrained, of the kind that computes on cells of voxels, taught and with membranes."""
    params = replace(parts.PARAMS, width=6, fold=2, residual=2)
    card = replace(translator_card(params, parts.EM_NM, membrane=True, taught=True), tile=(32, 32, 32))
    return Translator("cells", (new_model(card, 0, device="cpu"),))


def test_membranes_are_a_fourth_image_and_tiles_are_no_larger_than_needed(tmp_path):
    translator, xray = cells(), parts.xray()
    assert translator.fitted((40, 48, 56)).card.tile == (20, 24, 28)
    assert parts.untrained().fitted((40, 48, 56)).card.tile == (32, 32, 32), "results that were begun are resumed"
    found = translate(xray, translator, out=tmp_path / "t")
    level = fitting_level(xray, translator.card)
    scaled = translator.card.normalisation.resolve(xray)(level.read(level.box))
    whole_answer = answers(translator.predictor(), scaled)
    for name, volume in (("mean", found.mean), ("membrane", found.membrane), ("epistemic", found.epistemic)):
        there, want = whole(volume), whole_answer[name]
        assert np.abs(there - want).max() < 0.02 * (np.abs(want).max() + 0.1), "half precision, other tiles"
        np.testing.assert_allclose(whole(open_volume(tmp_path / "t" / f"{name}.zarr")), there)
    assert 0 < whole(found.membrane).min() < whole(found.membrane).max() < 1
    assert translate(xray, parts.untrained()).membrane is None


def test_tiles_of_another_size_change_nothing(tmp_path):
    """The halo is the network's whole field of view."""
    saved, xray, tiles = parts.untrained().save(tmp_path / "saved"), parts.xray(), ((48, 48, 48), (32, 16, 24))
    loaded = [load_translator(saved, backend="torch", tile=tile) for tile in tiles]
    assert [translator.card.tile for translator in loaded] == list(tiles)
    found = [whole(translate(xray, translator).mean) for translator in loaded]
    assert np.ptp(found[0]) > 0.01
    assert np.abs(found[0] - found[1]).max() < 1e-4 * np.ptp(found[0]) + 2**-14


def test_what_is_written_is_an_ome_zarr_that_says_what_it_is(tmp_path):
    found = translate(parts.xray(), parts.untrained(), out=tmp_path / "t")
    again = open_volume(tmp_path / "t" / "mean.zarr")
    np.testing.assert_array_equal(whole(again), whole(found.mean))
    assert found.mean.metadata["label"] == "EM-like (simulated from X-ray)"
    assert found.mean.levels[0].dtype == np.float32
    assert set(found.report["seams"]) <= set("zyx")
    assert found.report["recalibrated"]


@pytest.mark.parametrize("kind", ["flips", "dropout", "single"])
def test_cheaper_uncertainties(kind):
    translator, xray = parts.untrained(), parts.xray((12, 12, 12))
    found = translate(xray, translator, TranslateParams(uncertainty=kind, passes=3))
    assert not found.report["recalibrated"]
    assert (whole(found.epistemic).max() > 0) == (kind != "single")
    if kind == "single":
        alone = translate(xray, replace(translator, members=translator.members[:1], recalibration={}))
        np.testing.assert_array_equal(whole(found.mean), whole(alone.mean))


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path):
    translator, xray = retiled(parts.untrained(), (16, 16, 16)), parts.xray((16, 32, 32))
    job = translate_job(xray, translator, out=tmp_path / "t")
    for progress in job:
        if progress.done >= 10:
            break
    job.close()
    kept = next(translate_job(xray, translator, out=tmp_path / "t")).done
    assert 10 <= kept < 32
    found, fresh = translate(xray, translator, out=tmp_path / "t"), translate(xray, translator)
    for name in ("mean", "aleatoric", "epistemic"):
        np.testing.assert_array_equal(whole(getattr(found, name)), whole(getattr(fresh, name)))
    with pytest.raises(StoreError, match="holds another job"):
        translate(xray, translator, TranslateParams(uncertainty="flips"), out=tmp_path / "t")


def test_only_the_region_is_computed_those_in_view_first():
    translator, xray = retiled(parts.untrained(), (16, 16, 16)), parts.xray((32, 32, 32))
    boxes = []
    job = translate_job(xray, translator, region=Box((0, 0, 0), (8, 32, 32)), first=Box((0, 24, 24), (8, 32, 32)))
    boxes = [p.payload for p in job if p.payload]
    assert len(boxes) == 16
    assert boxes[0] == Box((0, 48, 48), (16, 64, 64))


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    translator = parts.untrained()
    volume = parts.xray((20, 20, 20))
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        translate(replace(volume, calibrated=False), translator)
    with pytest.raises(VoxelSizeError, match="too coarse"):
        translate(Volume.from_array(parts.texture((20, 20, 20)), (50, 50, 50)), translator)
    with pytest.raises(InputError, match="got 2 channels"):
        translate(Volume.from_array(np.zeros((2, 20, 20, 20), np.uint8), parts.XRAY_NM), translator)
    spoilt = parts.texture((20, 20, 20)).astype(np.float32)
    spoilt[3, 3, 3] = np.nan
    with pytest.raises(ChunkError, match="NaN"):
        translate(Volume.from_array(spoilt, parts.XRAY_NM), translator)
    with pytest.raises(InputError, match="got uncertainty='guess'; allowed: ensemble, flips, dropout, single"):
        TranslateParams(uncertainty="guess")


def test_a_translator_in_a_folder_is_the_same_translator(tmp_path):
    translator, xray = parts.untrained(simulated={"fwhm_nm": 60}), parts.xray((12, 12, 12))
    translator.save(tmp_path / "t")
    again = load_translator(tmp_path / "t", backend="torch")
    assert again.about == translator.about
    assert again.predictor().card.digest == translator.predictor().card.digest
    np.testing.assert_array_equal(whole(translate(xray, again).mean), whole(translate(xray, translator).mean))
    with pytest.raises(StoreError, match="exists; choose another folder"):
        translator.save(tmp_path / "t")


@pytest.mark.parametrize(
    "damage",
    ['{"members": 1', "[]", '{"members": 0, "name": "x", "about": {}, "recalibration": {}}', '{"members": 1e9}'],
)
def test_a_damaged_translator_is_named(tmp_path, damage):
    parts.untrained().save(tmp_path / "t")
    (tmp_path / "t" / "translator.json").write_text(damage)
    with pytest.raises(ModelError, match=r"is damaged|not valid JSON"):
        load_translator(tmp_path / "t")


def test_no_translator_at_all(tmp_path):
    with pytest.raises(ModelError, match="is not a translator"):
        load_translator(tmp_path)
    with pytest.raises(ModelError, match="got no model"):
        Translator("none", ())
