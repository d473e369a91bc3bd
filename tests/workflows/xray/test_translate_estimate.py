"""What a translation will cost: counted exactly, timed here, refused as the translation would be."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference import mixture
from napari_connecto.workflows.shared import room
from napari_connecto.workflows.xray.estimate import estimate_translate
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import load_translator
from tests import translate_parts


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return load_translator(translate_parts.untrained().save(tmp_path_factory.mktemp("t") / "tiny"), backend="torch")


def xray(shape=(12, 12, 60), voxel_nm=translate_parts.XRAY_NM):
    return Volume.from_array(translate_parts.texture(shape), voxel_nm, name="xray")


def test_tiles_voxels_and_disk_are_counted(translator):
    found = estimate_translate(xray(), translator)
    assert found.shape == (24, 24, 120)
    assert found.tiles == 4  # of 32 along x
    assert found.voxels == 24 * 24 * 120
    assert found.disk_bytes == int(found.voxels * 4 / 3) * 4 * 3
    assert (found.voxel_nm, found.source_nm) == (translate_parts.EM_NM, translate_parts.XRAY_NM)
    assert found.fits
    assert found.seconds > 0
    assert (
        next(found.lines()) == "24 x 24 x 120 voxels of 10x10x10 nm from X-ray of 20x20x20 nm: 4 tiles, 2 passes each"
    )


@pytest.mark.parametrize(("kind", "passes"), [("ensemble", 2), ("flips", 8), ("dropout", 5), ("single", 1)])
def test_passes_follow_the_kind_of_uncertainty(translator, kind, passes):
    found = estimate_translate(xray((8, 8, 8)), translator, TranslateParams(uncertainty=kind, passes=5))
    assert found.passes == passes
    assert len(translator.predictor(TranslateParams(uncertainty=kind, passes=5)).mixture.passes) == passes


def test_few_of_many_passes_are_timed(translator, monkeypatch):
    run, passes = mixture.Dropped.__call__, []

    def slow(self, batch, seeds):
        passes.append(self.number)
        time.sleep(0.01)
        return run(self, batch, seeds)

    monkeypatch.setattr(mixture.Dropped, "__call__", slow)
    found = estimate_translate(xray((8, 8, 8)), translator, TranslateParams(uncertainty="dropout", passes=200))
    assert found.passes == 200
    assert set(passes) == {0}
    assert found.seconds > 100 * 0.01  # what one pass takes counts for each of them; clocks and shares round it


def test_a_region_counts_the_tiles_it_touches(translator):
    found = estimate_translate(xray(), translator, region=Box((0, 0, 50), (4, 4, 55)))
    assert (found.tiles, found.shape) == (1, (24, 24, 24))


def test_too_little_memory_is_said(translator, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda _: 10)
    found = estimate_translate(xray((8, 8, 8)), translator)
    assert not found.fits
    assert "of memory" in found.notes[0]
    assert "use a translator with smaller tiles" in found.notes[0]


def test_what_translating_refuses_is_refused(translator):
    with pytest.raises(VoxelSizeError, match="states no voxel size; give it in nm"):
        estimate_translate(replace(xray(), calibrated=False), translator)
    with pytest.raises(VoxelSizeError, match="has voxels of 100 x 100 x 100 nm, model 'tiny' needs 10 x 10 x 10 nm"):
        estimate_translate(xray(voxel_nm=(100.0, 100.0, 100.0)), translator)
    with pytest.raises(InputError, match="got 3 channels, the model 'tiny' takes 1"):
        estimate_translate(Volume.from_array(np.zeros((3, 8, 8, 8), np.uint8), (20,) * 3), translator)
    with pytest.raises(InputError, match="must hold voxels of the finest level"):
        estimate_translate(xray(), translator, region=Box((90, 0, 0), (91, 1, 1)))
