"""A run as a document, here and in a process of its own."""

from __future__ import annotations

import errno
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import ConnectoError, InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.recipes.document import run_of
from napari_connecto.workflows.recipes.entries.adapt import Rank
from napari_connecto.workflows.recipes.own_process import run_in_subprocess
from napari_connecto.workflows.recipes.paths import check_inputs
from napari_connecto.workflows.recipes.recipe import read_recipe, read_run, recipe_job, write_recipe
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests import tiny


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    volume = tiny.volume(folder)
    return volume, tiny.cascade(volume, folder / "cascade", head="centres")


def recipe(parts, out):
    return {
        "workflow": "detect",
        "volume": {"path": str(parts[0]), "voxel_nm": [2000, 1000, 1000]},
        "cascade": parts[1],
        "backend": "torch",
        "params": {"audit": 3, "seed": 1},
        "region": (0, 0, 0, 16, 96, 96),
        "out": str(out),
    }


def invoke(*arguments):
    """A command in this process: what it does is the law, not that it starts."""
    done = CliRunner().invoke(cli, [*map(str, arguments), "--progress", "none"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_what_is_written_is_read_back(tmp_path, parts):
    asked = run_of(recipe(parts, tmp_path / "out"))
    write_recipe(asked, tmp_path / "recipe.yaml")
    again = read_recipe(tmp_path / "recipe.yaml")
    assert (again["cascade"], again["region"]) == (str(parts[1]), [0, 0, 0, 16, 96, 96])
    assert again["params"] == asdict(DetectParams(audit=3, seed=1))
    assert run_of(again) == asked


def test_relative_paths_are_those_of_where_the_recipe_was_written(tmp_path, parts, monkeypatch):
    home, other = tmp_path / "seg", tmp_path / "other"
    shutil.copytree(parts[1], home / "mine")
    shutil.copytree(parts[0], home / "em.ome.zarr")
    (home / "synthetic-neuropil").mkdir()  # a result folder that is called like a model that ships
    other.mkdir()
    monkeypatch.chdir(home)
    document = {**recipe(parts, "found"), "volume": {"path": "em.ome.zarr"}, "cascade": "mine"}
    run(recipe_job(document))
    assert document["out"] == "found"
    written = read_recipe("found/recipe.yaml")
    assert written["volume"] == {"path": str(home / "em.ome.zarr")}
    assert (written["cascade"], written["out"]) == (str(home / "mine"), str(home / "found"))
    monkeypatch.chdir(other)
    invoke("run", "../seg/found/recipe.yaml", "--out", "again")
    assert (other / "again/detections.csv").read_bytes() == (home / "found/detections.csv").read_bytes()


def test_urls_and_names_of_what_ships_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic-neuropil").mkdir()
    document = {"workflow": "segment", "volume": "https://a.org/em.zarr", "model": "synthetic-neuropil", "out": "b"}
    write_recipe(run_of(document), "recipe.yaml")
    written = run_of(document | {"out": str(tmp_path / "b")})
    assert read_run("recipe.yaml") == written


def test_a_recipe_whose_volume_is_gone_says_so_and_takes_another(tmp_path, parts):
    document = recipe(parts, tmp_path / "found")
    document["volume"]["path"] = "/gone/em.ome.zarr"
    write_recipe(run_of(document), tmp_path / "recipe.yaml")
    message = r"no file or folder at '/gone/em.*', which the recipe '.*' names \(volume\); correct .* --volume"
    with pytest.raises(InputError, match=message):
        check_inputs(read_run(tmp_path / "recipe.yaml"), tmp_path / "recipe.yaml")
    invoke("run", tmp_path / "recipe.yaml", "--volume", parts[0])
    again = read_recipe(tmp_path / "found/recipe.yaml")
    assert again["volume"] == {"path": str(parts[0]), "voxel_nm": [2000, 1000, 1000]}


def test_a_recipe_is_whole_or_as_it_was(tmp_path, monkeypatch):
    asked = Rank(volume=VolumeSpec("v"), out="a")
    write_recipe(asked, tmp_path / "recipe.yaml")

    def half(path, text, encoding):
        path.write_bytes(text.encode(encoding)[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(StoreError, match="No space left on device"):
        write_recipe(replace(asked, out="b"), tmp_path / "recipe.yaml")
    monkeypatch.undo()
    assert read_recipe(tmp_path / "recipe.yaml")["out"] == str(Path("a").absolute())
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_recipe_does_what_the_function_does_and_repeats_itself(tmp_path, parts):
    summary = run(recipe_job(recipe(parts, tmp_path / "a")))
    direct = detect(
        open_volume(parts[0]),
        load_cascade(parts[1], backend="torch"),
        DetectParams(audit=3, seed=1),
        region=Box((0, 0, 0), (16, 96, 96)),
    )
    saved = Detections.load(tmp_path / "a/detections.csv")
    np.testing.assert_array_equal(saved.centre_nm, direct.centre_nm)
    np.testing.assert_array_equal(saved.score, direct.score)
    assert (summary.figures["objects"], summary.out) == (len(direct), str(tmp_path / "a"))
    assert len(direct) > 3
    repeated = read_recipe(tmp_path / "a/recipe.yaml")
    run(recipe_job({**repeated, "out": str(tmp_path / "b")}))
    assert (tmp_path / "b/detections.csv").read_bytes() == (tmp_path / "a/detections.csv").read_bytes()


def test_a_recipe_of_an_earlier_version_is_read_by_its_present_names(tmp_path, parts):
    older = {**recipe(parts, tmp_path / "out"), "params": {"audit": 0, "gate": "off"}}
    run(recipe_job(older))
    assert "switched off" in Detections.load(tmp_path / "out").report["ood"]["sentence"]
    assert read_recipe(tmp_path / "out" / "recipe.yaml")["params"]["ood_check"] == "off"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regoin": 1}, "the recipe has unknown regoin; 'detect' takes"),
        ({"workflow": "dance"}, "got workflow 'dance'; there are: detect, train-cascade"),
        ({"params": {"recall": 1}}, r"unknown DetectParams \['recall'\]"),
        ({"region": [0, 0, 0]}, "six numbers: z0 y0 x0 z1 y1 x1"),
        ({"cascade": "nonsense"}, "got cascade 'nonsense'; give a folder made by train-cascade"),
    ],
)
def test_bad_recipes(tmp_path, parts, change, message):
    with pytest.raises(InputError, match=message):
        run(recipe_job({**recipe(parts, tmp_path / "out"), **change}))
    assert not (tmp_path / "out").exists()


def test_training_takes_labels_or_points(parts, tmp_path):
    base = {"workflow": "train-cascade", "volume": str(parts[0]), "out": str(tmp_path / "out")}
    for more in ({}, {"labels": str(parts[0]), "points": "t.csv"}):
        with pytest.raises(InputError, match=r"labels(,| or) points"):
            run(recipe_job({**base, **more}))


def test_points_need_a_diameter_and_their_columns(parts, tmp_path):
    (tmp_path / "t.csv").write_text("z_nm,y_nm\n1,2\n")
    base = {"workflow": "train-cascade", "volume": str(parts[0]), "out": "o", "points": str(tmp_path / "t.csv")}
    with pytest.raises(InputError, match="points need a diameter"):
        run(recipe_job(base))
    with pytest.raises(InputError, match="no column 'x_nm'; its columns are"):
        run(recipe_job({**base, "params": {"diameter_nm": 9000.0}}))


def test_a_process_of_its_own_reports_and_returns(tmp_path, parts):
    seen = []
    summary = run(run_in_subprocess(run_of(recipe(parts, tmp_path / "out")), tmp_path / "job"), seen.append)
    run(recipe_job(recipe(parts, tmp_path / "here")))
    assert (tmp_path / "out/detections.csv").read_bytes() == (tmp_path / "here/detections.csv").read_bytes()
    assert summary.figures["objects"] == len(Detections.load(tmp_path / "out/detections.csv"))
    stages = list(dict.fromkeys(p.stage for p in seen))
    assert stages[0] == "starting"
    assert {"level 1", "level 0"} & set(stages)


def test_its_own_line_of_explanation_comes_back(tmp_path, parts):
    with pytest.raises(ConnectoError, match=r"no file or folder at '.*absent', which the recipe '.*' names"):
        run(
            run_in_subprocess(
                run_of({**recipe(parts, tmp_path / "out"), "volume": str(tmp_path / "absent")}), tmp_path / "job"
            )
        )


def test_closing_it_ends_the_process(tmp_path, parts, monkeypatch):
    import subprocess

    started = []
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, _open=subprocess.Popen, **k: started.append(_open(*a, **k)) or started[-1]
    )
    job = run_in_subprocess(run_of(recipe(parts, tmp_path / "out")), tmp_path / "job")
    for _ in range(3):
        next(job)
    (process,) = started
    assert process.poll() is None
    job.close()
    assert process.poll() is not None
    assert not Path(tmp_path / "out/detections.csv").exists()
