"""What is done with a result, from the shell: it needs no more than the folder, and can be repeated from its recipe."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import read_table
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.measure import measure
from napari_connecto.workflows.cascade.verdicts import REJECTED, Verdicts, write_verdicts
from napari_connecto.workflows.recipes.entries.cascade import Detect
from napari_connecto.workflows.recipes.recipe import read_run, write_recipe
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests.workflows.cascade.results.scenes import blobs, found_in

VOXEL, ORIGIN = (40.0, 8.0, 10.0), (400.0, 80.0, 0.0)


def invoke(*words):
    done = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An image, and the result folder of a search for masks in it."""
    folder = tmp_path_factory.mktemp("made")
    labels = blobs(5)
    image = np.random.default_rng(0).integers(0, 255, labels.shape).astype(np.uint8)
    save_volume(Volume((Level(image, VOXEL, ORIGIN),)), folder / "image.ome.zarr")
    result = folder / "found"
    (result / "labels").mkdir(parents=True)
    save_volume(Volume((Level(labels, VOXEL, ORIGIN),), kind="labels"), result / "labels" / "objects.zarr")
    told = {"voxel_nm": VOXEL, "origin_nm": ORIGIN}
    found = found_in(labels, VOXEL, ORIGIN, levels=[told], image=told | {"shape": labels.shape})
    found.save(result / "detections.csv")
    (result / "report.json").write_text(json.dumps(dict(found.report)), encoding="utf-8")
    run = Detect(volume=VolumeSpec(str(folder / "image.ome.zarr")), cascade="cells", out=str(result))
    write_recipe(run, result / "recipe.yaml")
    return Volume((Level(image, VOXEL, ORIGIN),)), found, result


@pytest.fixture
def result(made, tmp_path):
    return shutil.copytree(made[2], tmp_path / "found")


def test_measure_reads_the_image_of_the_search_and_every_export_has_the_columns(made, result, tmp_path):
    image, found, _ = made
    write_verdicts(result, Verdicts(found.id[:1], found.centre_nm[:1], np.array([REJECTED]), 10.0))
    assert f"{len(found)} objects measured" in invoke("measure", result)
    expected = measure(found, image).measures
    table, _ = read_table(result / "detections.csv")
    for name, column in expected.items():
        np.testing.assert_array_equal(table[name], column)
    assert set(table["status"]) == {"new"}  # verdicts stay in their own file
    invoke("export", "points", result, tmp_path / "kept.parquet")
    np.testing.assert_array_equal(Detections.load(tmp_path / "kept.parquet").measures["sd"], expected["sd"][1:])
    assert read_run(result / "recipe.yaml").workflow == "detect"
    again = read_run(result / "detections.recipe.yaml")
    assert (again.workflow, again.result) == ("measure", str(result))


def test_a_recipe_repeats_what_was_written(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("measure", "found", "--out", "table.csv")
    before = (tmp_path / "table.csv").read_bytes()
    (tmp_path / "table.csv").unlink()
    monkeypatch.chdir(tmp_path.parent)
    invoke("run", tmp_path / "table.recipe.yaml")
    assert (tmp_path / "table.csv").read_bytes() == before


def test_without_the_image_the_shapes_are_measured_and_it_is_said(result):
    (result / "recipe.yaml").unlink()
    assert "Intensities are not measured: the image was not a file; give it with --image." in invoke("measure", result)
    table, _ = read_table(result / "detections.csv")
    assert "elongation" in table
    assert "mean" not in table


def test_what_is_no_search_or_no_table_is_refused_in_a_line(result, tmp_path):
    with pytest.raises(InputError, match="holds no finished search"):
        invoke("measure", tmp_path)
    with pytest.raises(InputError, match=r"allowed: names that end in \.csv"):
        invoke("measure", result, "--out", "table.docx")
    write_recipe(replace(read_run(result / "recipe.yaml"), volume=VolumeSpec("gone.tif")), result / "recipe.yaml")
    with pytest.raises(InputError, match=r"gone\.tif"):
        invoke("measure", result)


def test_fields_are_written_beside_the_result_with_the_recipe_that_repeats_them(made, result, tmp_path):
    said = invoke("fields", result, "--size", 0.15, 0.2, "--margin", 0.01, "--scale", 1, -1, 1)
    table, _ = read_table(result / "fields.csv")
    assert f"{len(table['field'])} fields of 0.15 x 0.2 um cover {len(made[1])} objects" in said
    assert (table["y"] < 0).all()
    before = (result / "fields.csv").read_bytes()
    invoke("run", result / "fields.recipe.yaml", "--out", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == before
    assert read_run(result / "recipe.yaml").workflow == "detect"


def test_a_result_has_no_image_to_replace_and_no_page(result):
    invoke("fields", result)
    for words in (("--volume", "a.tif"), ("--report",)):
        done = CliRunner().invoke(cli, ["run", str(result / "fields.recipe.yaml"), *words])
        assert done.exit_code != 0


def test_regions_are_counted_from_the_shell_and_each_object_says_its_own(made, result, tmp_path):
    _, found, _ = made
    atlas = np.array([[[4, 5]]], np.uint16)
    save_volume(Volume((Level(atlas, (800.0, 400.0, 220.0), ORIGIN),), kind="labels"), tmp_path / "atlas.ome.zarr")
    (tmp_path / "names.csv").write_text("id,name\n4,left\n", encoding="utf-8")
    invoke("measure", result)
    said = invoke("regions", result, "--regions", tmp_path / "atlas.ome.zarr", "--names", tmp_path / "names.csv")
    table, _ = read_table(result / "regions.csv")
    left = (found.centre_nm[:, 2] - ORIGIN[2] < 220).sum()
    rows = dict(zip(table["id"].tolist(), table["objects"].tolist(), strict=True))
    assert rows == {4: left, 5: len(found) - left}
    assert f"left: {left} objects" in said
    assert (
        Detections.load(result).measures["region"].tolist()
        == np.where(found.centre_nm[:, 2] - ORIGIN[2] < 220, 4, 5).tolist()
    )
    assert "mean" in Detections.load(result).measures
    assert read_run(result / "regions.recipe.yaml").names == str(tmp_path / "names.csv")
