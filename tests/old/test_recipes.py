"""Law: a recipe that an older version wrote is read, and does what it did then."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from click.testing import CliRunner

import napari_connecto as nc
from napari_connecto.cli import cli
from napari_connecto.workflows.recipes.recipe import read_recipe, recipe_job
from tests.old.home import V0_1, restored

RECIPES = sorted(path.relative_to(V0_1) for path in V0_1.rglob("recipe.yaml"))


@pytest.fixture
def home(tmp_path):
    return restored(tmp_path / "home")


def one(home, pattern):
    """The one path of a pattern."""
    (found,) = home.glob(pattern)
    return found


def repeated(home, folder) -> None:
    """Run a result's recipe into ``home/again``, as a user does."""
    words = ["run", str(folder / "recipe.yaml"), "--out", str(home / "again"), "--progress", "none"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def labels(folder, path) -> np.ndarray:
    level = nc.open_volume(folder / path).levels[0]
    return np.asarray(level.read(level.box))


def test_there_are_recipes_of_every_kind():
    kinds = {read_recipe(V0_1 / path)["workflow"] for path in RECIPES}
    assert kinds == {"detect", "fine-tune", "segment", "suggest", "train-cascade", "train-translator", "translate"}


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_a_recipe_begins(home, path, tmp_path):
    """Its entries and parameters are known: it reports before it is closed, or what it trained on is gone."""
    recipe = read_recipe(home / path) | {"out": str(tmp_path / "out")}
    if "training" in str(recipe["volume"]):
        with pytest.raises(nc.ConnectoError, match=r"no file or folder at '.*training.*ome.zarr'"):
            next(recipe_job(recipe))
        return
    job = recipe_job(recipe)
    assert next(job).stage
    job.close()


def test_a_search_finds_the_same(home):
    before = one(home, "results/blobs*")
    repeated(home, before)
    then, now = (nc.Detections.load(folder) for folder in (before, home / "again"))
    assert len(then) == 7
    np.testing.assert_allclose(now.centre_nm, then.centre_nm, atol=1000)
    np.testing.assert_allclose(now.score, then.score, atol=0.02)


def test_a_segmentation_is_the_same(home):
    before = home / "results/adapt-em/segments-1"
    repeated(home, before)
    then, now = (labels(folder, "labels/labels.zarr") for folder in (before, home / "again"))
    assert then.max() == 26
    assert nc.variation_of_information(now, then).total < 0.02


def test_a_translation_is_the_same(home):
    before = one(home, "results/em-like-xray*")
    repeated(home, before)
    for part in ("mean", "aleatoric", "epistemic"):
        then, now = (labels(folder, f"{part}.zarr") for folder in (before, home / "again"))
        assert then.std() > 0
        np.testing.assert_allclose(now, then, atol=2e-3)


@pytest.mark.slow
def test_a_fine_tuning_trains_the_same(home):
    before = home / "results/adapt-em/tuned-1"
    repeated(home, before)
    networks = [nc.load_model(folder / "model", device="cpu", backend="torch") for folder in (before, home / "again")]
    then, now = (network.card.metrics["fine_tune"] for network in networks)
    assert {**now, "version": ""} == {**then, "version": ""}
    assert networks[0].card.parent == networks[1].card.parent != ""


def test_a_review_is_a_table(home):
    """The columns that other programs read."""
    with one(home, "results/blobs*/review.csv").open() as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    assert rows[0] == ["id", "z_nm", "y_nm", "x_nm", "status"]
