"""Adapting a translator to a small pair: what is kept, what gets better on the held-out part, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.xray.params import PairParams, XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray
from napari_connecto.workflows.xray.training.adapt import adapt_translator
from napari_connecto.workflows.xray.translate_params import AdaptParams
from napari_connecto.workflows.xray.translator import load_translator
from tests.translate_parts import EM_NM, texture, untrained

PAIRING = PairParams(affine=False)


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    em = Volume.from_array(texture((112, 40, 40), 3), EM_NM, name="EM")
    return simulate_xray(em, XrayParams(voxel_nm=(20, 20, 20), fwhm_nm=(30, 30, 30))), em


def test_without_steps_only_the_uncertainty_changes(pair):
    before = untrained(1)
    found = adapt_translator(before, *pair, AdaptParams(steps=0), pairing=PAIRING)
    assert [m.card.digest for m in found.members] == [m.card.digest for m in before.members]
    assert found.recalibration != before.recalibration
    told = found.about["adapted"]
    assert told["before"] is told["after"] is None
    coverage = told["coverage"]
    assert coverage["parts"] == 8
    assert coverage["share"] == pytest.approx(0.9, abs=0.03)
    assert abs(coverage["before"] - 0.9) > 0.05, "random networks know nothing"
    assert coverage["low"] < coverage["share"] < coverage["high"]


def test_adapting_gains_on_the_held_out_part(pair, tmp_path):
    before = untrained(1)
    found = adapt_translator(before, *pair, AdaptParams(steps=60, crop=16, batch=2), pairing=PAIRING)
    told = found.about["adapted"]
    gained = [told[when]["translated"]["psnr"] for when in ("before", "after")]
    assert gained[1] > gained[0] + 1
    assert abs(told["after"]["calibration"]["coverage"]["0.9"] - 0.9) < 0.08
    again = load_translator(found.save(tmp_path / "t"), device="cpu", backend="torch")
    assert again.about["adapted"]["coverage"] == told["coverage"]
    assert again.members[0].card.digest != before.members[0].card.digest
    assert again.about["metrics"] == told["after"]


def test_a_pair_of_other_voxels_or_too_small_is_refused(pair):
    xray, em = pair
    coarse = Volume.from_array(np.asarray(em.levels[0].array), (40.0, 40.0, 40.0), name="coarse")
    with pytest.raises(VoxelSizeError, match="40"):
        adapt_translator(untrained(1), xray, coarse, AdaptParams(steps=0), pairing=PAIRING)
    small = Volume.from_array(np.asarray(em.levels[0].array)[:60], EM_NM, name="small")
    with pytest.raises(InputError, match="too small for separate parts"):
        adapt_translator(untrained(1), xray, small, AdaptParams(steps=2), pairing=PAIRING)


def test_from_the_shell_it_says_what_to_expect(pair, tmp_path):
    for volume, name in zip(pair, ("xray", "em"), strict=True):
        save_volume(volume, tmp_path / f"{name}.zarr")
    untrained(1).save(tmp_path / "tiny")
    words = ["adapt-translator", tmp_path / "xray.zarr", tmp_path / "em.zarr", "--translator", tmp_path / "tiny"]
    words += ["--steps", "0", "--out", tmp_path / "out"]
    done = CliRunner().invoke(cli, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "on 8 parts, each left out once; expect" in done.output
    assert load_translator(tmp_path / "out" / "translator").about["adapted"]["xray"] == pair[0].name
