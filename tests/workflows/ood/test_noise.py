"""What is no tissue is told apart from it: noise of every kind, one value; and tissue that is inverted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.jobs import run
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import load_model
from napari_connecto.phantoms import phantom
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.ood.check import gate_check
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.recipes.entries.segment import Predict
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

NAME = "synthetic-neuropil"
SHAPE = (8, 320, 320)


def noise(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "white":
        return rng.integers(0, 256, SHAPE).astype(np.uint8)
    if kind == "normal":
        return rng.normal(0.5, 0.1, SHAPE).astype(np.float32)
    if kind == "constant":
        return np.full(SHAPE, 77, np.uint8)
    if kind == "salt and pepper":
        return rng.choice(np.array([0, 128, 255], np.uint8), SHAPE, p=[0.05, 0.9, 0.05])
    smooth = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (0, float(kind), float(kind)))
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def domain():
    folder = list_models()[NAME]
    return load_model(folder, device="cpu", backend="torch"), load_gate(folder)


@pytest.mark.parametrize("nm", [2.0, 3.0, 5.0, 8.0, 11.0, 16.0, 30.0])
@pytest.mark.parametrize("kind", ["white", "normal", "salt and pepper"])
def test_white_noise_is_no_tissue_at_any_voxel_size(domain, kind, nm):
    volume = Volume((Level(noise(kind), (40.0, nm, nm)),))
    found = candidates(fitting_level(volume, domain[0].card), (1, 64, 64), 12, 0)
    assert found.boxes == ()
    assert found.skipped_empty > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["white", "constant", "salt and pepper", "1", "4", "16"])
def test_the_gate_warns_of_what_is_no_tissue(domain, kind):
    check = gate_check(Volume((Level(noise(kind), (40.0, 8.0, 8.0)),)), *domain)
    assert check.warns
    assert check.to_json()["warns"]
    assert "before relying on" in check.sentence


@pytest.mark.slow
def test_predict_says_that_an_image_looks_inverted(tmp_path):
    image = phantom("neuropil", (8, 256, 256), seed=5).image
    for name, volume in (("as it is", image), ("inverted", inverted(image))):
        save_volume(volume, tmp_path / f"{name}.zarr", levels=1)
        asked = Predict(
            volume=VolumeSpec(str(tmp_path / f"{name}.zarr")), model=NAME, out=str(tmp_path / f"{name} out")
        )
        lines = run(asked.job(None)).lines
        assert any("looks inverted" in line and "--invert" in line for line in lines) is (name == "inverted")
