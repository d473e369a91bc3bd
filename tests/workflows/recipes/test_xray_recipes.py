"""simulate-xray and pair from the shell: what they write, and that it repeats."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.xray.params import XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray


def invoke(*arguments: object) -> str:
    """Output of a command that must succeed."""
    done = CliRunner().invoke(cli, [str(a) for a in (*arguments, "--progress", "none")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def em(tmp_path_factory):
    """A TIFF of neuropil, which states no voxel size."""
    path = tmp_path_factory.mktemp("em") / "em.tif"
    tifffile.imwrite(path, phantom("neuropil-isotropic", (96, 96, 96), seed=31).image.levels[0].array)
    return path


def test_simulating_and_pairing_from_the_shell(em, tmp_path):
    size = ("--voxel-nm", 10, 10, 10)
    options = ("--xray-voxel-nm", 24, 24, 24, "--fwhm-nm", 50, 50, 55.5, "--seed", 4)
    said = invoke("simulate-xray", em, "--out", tmp_path / "made", *size, *options)
    assert "level 0: 40 x 40 x 40 voxels of 24 x 24 x 24 nm" in said
    assert "simulated, not measured" in said
    made = open_volume(tmp_path / "made/xray.ome.zarr")
    assert made.name == "X-ray (simulated from em)"
    assert made.metadata["simulated"]["fwhm_nm"] == [50.0, 50.0, 55.5]
    params = XrayParams(voxel_nm=(24.0, 24.0, 24.0), fwhm_nm=(50.0, 50.0, 55.5), seed=4)
    again = simulate_xray(open_volume(em, voxel_nm=(10, 10, 10)), params)
    np.testing.assert_array_equal(made.levels[0].read(made.levels[0].box), again.levels[0].array)

    said = invoke("pair", tmp_path / "made/xray.ome.zarr", em, "--out", tmp_path / "pair", "--em-voxel-nm", 10, 10, 10)
    report = json.loads((tmp_path / "pair/pair.json").read_text())
    assert report["lines"] == said.splitlines()[:-1]
    np.testing.assert_allclose(report["affine_nm"], np.eye(4), atol=3)
    assert max(np.abs(block["residual_nm"]).max() for block in report["blocks"]) < 12
    parts = [open_volume(tmp_path / f"pair/{name}.ome.zarr") for name in ("xray", "em", "valid")]
    assert len({(p.levels[0].shape, p.levels[0].voxel_nm, p.levels[0].origin_nm) for p in parts}) == 1
    assert parts[0].metadata["simulated_from"] == "em"
    assert parts[2].kind == "labels"

    recipe = yaml.safe_load((tmp_path / "made/recipe.yaml").read_text())
    assert recipe["workflow"] == "simulate-xray"
    invoke("run", tmp_path / "made/recipe.yaml", "--out", tmp_path / "twice")
    twice = open_volume(tmp_path / "twice/xray.ome.zarr").levels[0]
    np.testing.assert_array_equal(twice.read(twice.box), again.levels[0].array)


def test_a_region_and_the_look_of_another(em, tmp_path):
    sized = ("--voxel-nm", 10, 10, 10)
    invoke("simulate-xray", em, "--out", tmp_path / "noisy", *sized, "--photons", 300)
    like = ("--like", tmp_path / "noisy/xray.ome.zarr", "--region", 0, 0, 30, 90, 90, 96)
    invoke("simulate-xray", em, "--out", tmp_path / "part", *sized, *like)
    part = open_volume(tmp_path / "part/xray.ome.zarr")
    assert part.levels[0].shape == (30, 30, 22)
    assert part.levels[0].origin_nm == (0.0, 0.0, 300.0)
    assert part.metadata["simulated"]["like"] == "X-ray (simulated from em)"


def test_nothing_is_overwritten(em, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        invoke("simulate-xray", em, "--out", tmp_path, "--voxel-nm", 10, 10, 10)
