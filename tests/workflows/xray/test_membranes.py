"""Where passes of a translator disagree about membranes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.xray.membranes import membranes, membranes_job
from napari_connecto.workflows.xray.translate import translate
from napari_connecto.workflows.xray.translate_params import TranslateParams
from tests import translate_parts as parts

SHAPE = (16, 20, 20)
SCALED = Normalisation("percentile")


class Threshold:
    """A boundary model of known answers: 1 where the scaled image is dark, else 0."""

    card = ModelCard(
        "dark",
        "boundary",
        parts.EM_NM,
        (1, 32, 32),
        (0, 0, 0),
        (Output("boundary"),),
        digest="dark",
        normalisation=SCALED,
    )

    def __call__(self, batch, seeds):
        return {"boundary": (batch[:, 0] < 0.5).astype(np.float32)}


def whole(volume: Volume) -> np.ndarray:
    return np.asarray(volume.levels[0].read(volume.levels[0].box))


def test_each_pass_is_segmented_by_itself_and_their_spread_told(tmp_path):
    translator, xray = parts.untrained(3), parts.xray(SHAPE)
    found = membranes(xray, translator, Threshold(), out=tmp_path / "m")
    each = []
    for member in translator.members:
        alone = replace(translator, members=(member,), recalibration={})
        image = translate(xray, alone, TranslateParams(uncertainty="single")).mean
        each.append(Threshold.card.normalisation.resolve(image)(whole(image)) < 0.5)
    shares = np.mean(each, axis=0)
    assert len(np.unique(shares)) > 2
    np.testing.assert_allclose(whole(found.probability), shares, atol=1e-6)
    np.testing.assert_allclose(whole(found.sd), np.std(each, axis=0), atol=1e-6)
    assert found.sd.levels[0].voxel_nm == parts.EM_NM
    assert sorted(p.name for p in (tmp_path / "m").glob("*.zarr")) == ["membrane.zarr", "membrane_sd.zarr"]
    assert not (tmp_path / "m" / "passes").exists()


def test_passes_that_agree_leave_no_doubt():
    one = parts.untrained(1)
    found = membranes(parts.xray(SHAPE), replace(one, members=one.members * 2), Threshold())
    assert whole(found.sd).max() == 0
    assert set(np.unique(whole(found.probability))) == {0, 1}


def test_a_region_is_that_part_and_is_scaled_by_itself(tmp_path):
    translator, xray = parts.untrained(2), parts.xray((18, 28, 28))
    found = membranes(xray, translator, Threshold(), region=Box((4, 4, 4), (14, 24, 24)))
    level = found.sd.levels[0]
    assert level.shape == (20, 40, 40)
    np.testing.assert_allclose(level.origin_nm, (80, 80, 80))
    images = translate(xray, replace(translator, members=translator.members[:1], recalibration={})).mean
    cut = Volume.from_array(whole(images)[8:28, 8:48, 8:48], parts.EM_NM)
    first = Threshold.card.normalisation.resolve(cut)(whole(cut)) < 0.5
    agreed = whole(found.sd) == 0
    np.testing.assert_array_equal(whole(found.probability)[agreed], first[agreed])


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path):
    translator, xray = parts.untrained(2), parts.xray((20, 12, 12))
    expected = whole(membranes(xray, translator, Threshold()).sd)
    job = membranes_job(xray, translator, Threshold(), out=tmp_path / "m")
    for progress in job:
        if progress.stage.startswith("pass 2"):
            break
    job.close()
    stages = []
    again = membranes_job(xray, translator, Threshold(), out=tmp_path / "m")
    try:
        while True:
            stages.append(next(again))
    except StopIteration as end:
        found = end.value
    first = next(p for p in stages if p.stage == "pass 1 of 2: translating")
    assert first.done == first.total > 0
    np.testing.assert_array_equal(whole(found.sd), expected)
    assert [p.stage for p in membranes_job(xray, translator, Threshold(), out=tmp_path / "m")] == []


@pytest.mark.parametrize(("members", "kind"), [(1, "ensemble"), (2, "single")])
def test_one_pass_cannot_disagree(members, kind):
    with pytest.raises(InputError, match=r"translator 'tiny' makes one pass; .*use an ensemble, flips or dropout"):
        membranes(parts.xray(SHAPE), parts.untrained(members), Threshold(), TranslateParams(uncertainty=kind))
