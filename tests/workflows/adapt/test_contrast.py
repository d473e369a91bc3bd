"""Inverted contrast: which lines an image has, which a model looks for, and that users are told and helped."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.phantoms import phantom
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.adapt.contrast import Contrast, contrast_job, notices_job, thin
from napari_connecto.workflows.shared.spec import open_spec

VOXEL = (40.0, 8.0, 8.0)


class Follows:
    """Calls boundary what is darker (1) or brighter (-1) than its surroundings."""

    def __init__(self, sign: int, kind: str = "percentile") -> None:
        self.sign = sign
        self.card = ModelCard(
            "dark lines" if sign > 0 else "bright lines",
            "boundary",
            VOXEL,
            (1, 64, 64),
            (0, 16, 16),
            (Output("boundary"),),
            normalisation=Normalisation(kind, 1.0, 99.0),
        )

    def __call__(self, batch, seeds):
        hats = [thin(block[0, 0]) for block in batch]
        return {"boundary": np.stack([[d if self.sign > 0 else b] for d, b in hats])}


@pytest.fixture(scope="module")
def neuropil():
    return phantom("neuropil", (8, 192, 192), seed=3).image


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("invert", [False, True])
def test_only_an_image_of_the_other_lines_looks_inverted(neuropil, sign, invert):
    found = run(contrast_job(inverted(neuropil) if invert else neuropil, Follows(sign)))
    assert np.sign(found.lines) == (-1 if invert else 1)
    assert np.sign(found.follows) == sign
    assert found.inverted is (invert is (sign > 0))


def test_inverting_turns_the_sign_and_nothing_else(neuropil):
    plain, turned = (run(contrast_job(v, Follows(1))) for v in (neuropil, inverted(neuropil)))
    assert turned.lines == pytest.approx(-plain.lines, abs=1e-6)
    assert plain.lines > 0.3


def test_a_faint_sign_takes_no_side():
    values = {"name": "v", "model": "m", "dtype": "uint8", "low": 0.0, "high": 255.0, "scaled": (0.0, 1.0)}
    assert Contrast(**values, lines=-0.1, follows=0.3).inverted
    assert not Contrast(**values, lines=-0.01, follows=0.3).inverted
    assert not Contrast(**values, lines=-0.1, follows=0.01).inverted


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 16), ("float32", 1 / 255)])
def test_other_types_are_told_where_a_model_scales_by_the_type_and_nowhere_else(neuropil, dtype, scale):
    values = np.asarray(neuropil.levels[0].array).astype(np.float64) * scale
    volume = Volume.from_array(values.astype(dtype), VOXEL, name="em")
    by_values, by_type = (run(contrast_job(volume, Follows(1, kind))) for kind in ("percentile", "range"))
    assert (by_values.narrow, by_values.inverted) == (False, False)
    assert by_type.narrow is (dtype == "uint16")
    if by_type.narrow:
        (said,) = by_type.notices()
        assert "'em' (uint16, values" in said
        assert "rescale the image to the full range of its type first" in said


def test_resin_says_nothing_and_stops_nothing():
    resin = Volume.from_array(np.full((4, 128, 128), 9, np.uint8), VOXEL, name="resin")
    assert run(notices_job(resin, Follows(1))) == []
    with pytest.raises(InputError, match="with tissue in 'resin'"):
        run(contrast_job(resin, Follows(1)))


@pytest.fixture(scope="module")
def file(tmp_path_factory, neuropil):
    path = tmp_path_factory.mktemp("contrast") / "bright.ome.zarr"
    save_volume(inverted(neuropil), path, levels=1)
    return path


def test_a_recipe_opens_a_volume_inverted(file, neuropil):
    seen = open_spec({"path": str(file), "invert": True}).levels[0]
    np.testing.assert_array_equal(seen.read(seen.box), neuropil.levels[0].read(seen.box))
    assert open_spec({"path": str(file), "invert": False}).fingerprint() == open_volume(file).fingerprint()
    with pytest.raises(InputError, match="got invert='yes'; it must be true or false"):
        open_spec({"path": str(file), "invert": "yes"})
    shown = CliRunner().invoke(cli, ["info", str(file), "--invert"])
    assert "intensities are inverted on read" in shown.output


@pytest.mark.slow
def test_the_shell_says_so_and_invert_is_what_helps(file, tmp_path):
    model = str(list_models()["synthetic-neuropil"])
    asked = ["segment", str(file), "--model", model, "--region", "0", "0", "0", "1", "192", "192", "--progress", "none"]
    told = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "plain")])
    assert told.exit_code == 0, told.output
    assert "the contrast of 'neuropil' looks inverted" in told.stdout.splitlines()[0]
    helped = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "inverted"), "--invert"])
    assert helped.exit_code == 0, helped.output
    assert "looks inverted" not in helped.stdout
    assert "invert: true" in (tmp_path / "inverted/recipe.yaml").read_text()
    assert "invert" not in (tmp_path / "plain/recipe.yaml").read_text()
    ranked = CliRunner().invoke(cli, ["rank", str(file), "--patches", "20", "--patch", "64", "--progress", "none"])
    assert "looks inverted" in ranked.stdout.splitlines()[-1], ranked.output


REAL = {
    "flyem_medulla/image.tif": ((10, 10, 10), "fly-medulla"),
    "isbi2012/image.tif": ((50, 4, 4), "fly-medulla"),
    "epfl_ca1/image.tif": ((5, 5, 5), "synthetic-neuropil"),
    "snemi_crop/image.tif": ((30, 6, 6), "fly-medulla"),
    "rat_sem_axons/sub-rat4_sample-data12_SEM.tif": ((100, 100, 100), "rat-axons"),
}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_images_are_right_as_they_are_and_wrong_when_inverted(real_data, name):
    from napari_connecto.models.files import load_model

    voxel_nm, domain = REAL[name]
    volume, model = open_volume(real_data / name, voxel_nm=voxel_nm), load_model(list_models()[domain])
    assert [run(contrast_job(v, model)).inverted for v in (volume, inverted(volume))] == [False, True]
