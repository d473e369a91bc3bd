"""A model's outputs as dask arrays are what `predict` and `translate` write, computed where they are asked for."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.core.errors import InputError, ModelError, VoxelSizeError
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.imported.predictor import ImportedPredictor
from napari_connecto.workflows.shared.filling import STEP
from tests import packages, translate_parts
from tests.models import cards
from tests.workflows import fakes


def stored(values: np.ndarray) -> np.ndarray:
    """As `predict` writes it: 255 is 1."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def whole(volume: Volume) -> np.ndarray:
    return volume.levels[0].read(volume.levels[0].box)


def imported() -> ImportedPredictor:
    network = {
        "kind": "imported", "format": "torchscript", "axes": "bcyx", "answer": "bcyx", "before": [],
        "after": [{"id": "sigmoid"}],
        "architecture": "", "kwargs": {},
    }  # fmt: skip
    card = ModelCard("imported", "boundary", (40.0, 4.0, 4.0), (1, 24, 24), (0, 4, 4), (Output("p"),), network=network)
    return ImportedPredictor(card, packages.script(packages.net()), "cpu")


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: new_model(cards.UNET_2D, 0, device="cpu"), (5, 70, 50)),
        (lambda: new_model(cards.UNET_3D, 0, device="cpu"), (20, 40, 50)),
        (lambda: new_model(cards.SMP_25D, 0, device="cpu"), (5, 64, 50)),
        (imported, (3, 50, 70)),
    ],
    ids=["2-D, two outputs", "3-D", "2.5-D", "imported"],
)
@pytest.mark.parametrize("voxel_nm", [(40.0, 4.0, 4.0), (40.0, 5.0, 4.0)], ids=["as it is", "resampled"])
def test_it_is_what_predict_writes(model, shape, voxel_nm, tmp_path):
    """Bit for bit, every output, on the grid that the card names."""
    volume, model = Volume.from_array(translate_parts.texture(shape), voxel_nm), model()
    nc.predict(volume, model, out=tmp_path / "out")
    [found] = dask.compute(nc.lazy(volume, model))
    found = found if isinstance(found, dict) else {model.card.outputs[0].name: found}
    assert list(found) == [output.name for output in model.card.outputs]
    for name, values in found.items():
        written = nc.open_volume(tmp_path / "out" / f"{name}.zarr")
        assert np.ptp(whole(written)) > 0
        np.testing.assert_array_equal(stored(values), whole(written))
        level = model.card.level_in(volume)
        assert values.shape == level.shape
        assert level.voxel_nm == written.levels[0].voxel_nm
        assert level.origin_nm == written.levels[0].origin_nm


def test_a_translator_gives_a_mean_and_both_uncertainties(tmp_path):
    translator, xray = translate_parts.untrained(), translate_parts.xray((12, 14, 10))
    written = nc.translate(xray, translator, out=tmp_path / "out")
    out = nc.lazy(xray, translator)
    assert list(out) == ["mean", "aleatoric", "epistemic"]
    for name, values in dask.compute(out)[0].items():
        np.testing.assert_allclose(values, whole(getattr(written, name)), atol=STEP)
    other = nc.lazy(xray, translator.predictor(nc.TranslateParams(uncertainty="single")), "epistemic")
    assert not other[:4].compute().any(), "one pass does not disagree with itself"


def test_a_stage_of_a_cascade_is_a_model():
    volume, stage = fakes.pyramid(fakes.spots()), fakes.cascade().stages[0]
    np.testing.assert_array_equal(stored(nc.lazy(volume, stage).compute()), fakes.dense(fakes.spots()))


def test_building_runs_no_model_and_a_section_runs_its_tiles_alone():
    image, model = fakes.spots(), fakes.Blur(fakes.NM)
    sure = (nc.lazy(fakes.pyramid(image), model) > 0.5).astype(np.float32)
    part = sure[5].sum()
    assert model.tiles == 0
    assert part.compute() == (fakes.dense(image)[5] > 127).sum()
    assert model.tiles == fakes.grid((1, *image.shape[1:]))


def test_one_output_is_an_array_several_are_named():
    volume = Volume.from_array(fakes.spots((4, 40, 40)), cards.UNET_2D.voxel_nm)
    two = new_model(cards.UNET_2D, 0, device="cpu")
    assert list(nc.lazy(volume, two)) == ["object", "centre"]
    np.testing.assert_array_equal(nc.lazy(volume, two, "centre"), nc.lazy(volume, two)["centre"])
    assert nc.lazy(volume, imported()).shape == (4, 40, 40)


def test_errors_say_what_there_is():
    volume, model = fakes.pyramid(fakes.spots()), fakes.Blur(fakes.NM)
    with pytest.raises(ModelError, match=r"has outputs \['p'\], not 'mask'"):
        nc.lazy(volume, model, "mask")
    with pytest.raises(InputError, match=r"got a Cascade; give a model.*cascade\.stages\[0\]"):
        nc.lazy(volume, fakes.cascade())
    with pytest.raises(VoxelSizeError, match="allowed are 4 times too coarse"):
        nc.lazy(Volume.from_array(fakes.spots(), (400.0, 200.0, 200.0)), model)
