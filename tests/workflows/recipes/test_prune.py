"""What the command prune leaves behind: a model that the other commands take, a domain if the old one was one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import napari_connecto as nc
from napari_connecto.cli import cli
from napari_connecto.models.files import new_model, read_card, save_model
from napari_connecto.workflows.adapt.domains import Domain, save_about
from napari_connecto.workflows.recipes.parts import model_folder, tuned_params
from napari_connecto.workflows.recipes.prune import FIGURES
from tests.workflows.inspect.prune.test_prune import CARD


@pytest.fixture
def image(tmp_path):
    z, y, x = np.indices((10, 128, 128))
    array = (127 + 120 * np.sin((y + z) / 5) * np.sin(x / 7)).astype(np.uint8)
    nc.save_volume(nc.Volume.from_array(array, CARD.voxel_nm), tmp_path / "image.ome.zarr")
    return tmp_path / "image.ome.zarr"


def test_a_pruned_model_keeps_thresholds_and_domain(tmp_path, image):
    save_model(new_model(CARD, 0, device="cpu"), tmp_path / "domain")
    features = np.random.default_rng(0).random((12, 6), np.float32)
    save_about(tmp_path / "domain", {"encoder": "e", "segment": {"boundary_threshold": 0.3}}, features)
    words = f"prune {image} --model {tmp_path / 'domain'} --out {tmp_path / 'small'} --places 2 --size 32 --steps 1"
    done = CliRunner().invoke(cli, [*words.split(), "--progress", "none"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "weights remain" in done.output
    folder = model_folder(tmp_path / "small")
    assert folder == tmp_path / "small" / "model"
    assert read_card(folder).parent == read_card(tmp_path / "domain").digest
    assert tuned_params(tmp_path / "small").boundary_threshold == 0.3
    domain = Domain.load(folder)
    assert domain.about["pruned_from"] == "domain"
    np.testing.assert_allclose(domain.features, features, atol=1e-3)
    told = json.loads((tmp_path / "small" / FIGURES).read_text())
    assert told["digest"] == read_card(folder).digest
