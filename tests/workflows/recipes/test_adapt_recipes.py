"""rank, suggest, fine-tune and segment, one after the other, as the shell and the dock do them."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import load_model
from napari_connecto.models.transfer.adapter import load_adapter, merge
from napari_connecto.workflows.adapt.annotate.session import patch_states
from napari_connecto.workflows.recipes.parts import model_folder, tuned_params
from napari_connecto.workflows.recipes.recipe import read_recipe, recipe_job
from tests import adapt_parts
from tests.workflows.watched import watched

pytestmark = pytest.mark.slow
TUNE = {"preset": "quick", "steps": 12, "crop": 64, "batch": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A volume, its truth, a library, and a session with six suggestions of which two are held out."""
    folder = tmp_path_factory.mktemp("adapt")
    image, truth = adapt_parts.image_and_truth(folder)
    voxel = open_volume(image).levels[0].voxel_nm
    save_volume(Volume.from_array(truth, voxel, name="truth", kind="labels"), folder / "truth.zarr", levels=1)
    adapt_parts.library(folder / "library", steps=15)
    suggest(folder)
    return folder


def suggest(folder, session="session"):
    params = {"size": 64, "pool": 40, "random_arm": 2}
    recipe = {"workflow": "suggest", "volume": volume(folder), "model": str(folder / "library/near")}
    recipe |= {"out": str(folder / session), "n": 6, "params": params, "library": str(folder / "library")}
    return watched(recipe_job(recipe))


def volume(folder):
    return {"path": str(folder / "neuropil.ome.zarr")}


def tuning(folder, out, **more):
    recipe = {"workflow": "fine-tune", "volume": volume(folder), "model": str(folder / "library/near")}
    recipe |= {"session": str(folder / "session"), "labels": {"path": str(folder / "truth.zarr")}}
    return recipe | {"out": str(folder / out), "params": TUNE} | more


def test_a_ranking_is_written_and_repeated_by_its_recipe(work):
    params = {"places": 3, "place": 96, "patches": 40, "patch": 64, "permutations": 200}
    recipe = {"workflow": "rank", "volume": volume(work), "library": str(work / "library"), "params": params}
    found = watched(recipe_job(recipe | {"out": str(work / "ranking")}))
    by = {row["name"]: row for row in found.figures["ranks"]}
    assert sorted(by) == ["far", "near"]
    assert by["near"]["voxel_ratio"] == 1.0
    assert by["near"]["mmd2"] < 0.2 * by["far"]["mmd2"]
    assert by["far"]["p"] == pytest.approx(1 / 201)
    written = json.loads((work / "ranking/ranking.json").read_text())
    assert [row["name"] for row in written["ranks"]] == [row["name"] for row in found.figures["ranks"]]
    assert written["places"] == 3
    again = run(recipe_job(read_recipe(work / "ranking/recipe.yaml"))).figures["ranks"]
    assert json_text(again) == json_text(found.figures["ranks"])  # a score that is not known is NaN


def test_fine_tuning_learns_from_the_session_and_says_whether_it_helped(work, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    found = watched(recipe_job(tuning(work, "tuned")))
    parent = load_model(work / "library/near", backend="torch").card
    after = load_model(model_folder(work / "tuned"), backend="torch").card
    assert after.parent == parent.digest
    assert after.digest == found.figures["digest"] != parent.digest
    assert after.metrics["fine_tune"]["patches"] == 4
    assert "trained on 4 patches: 4 without pre-fill" in found.lines
    annotated = json.loads((work / "tuned/annotation.json").read_text())["patches"]
    assert [(p["held_out"], p["labels"], p["edited"], p["counted"]) for p in annotated] == [
        (s.held_out, "without pre-fill", None, True) for s in session_states(work)
    ]
    comparison = found.figures["comparison"]
    assert len(comparison["before"]["vi"]) == len(comparison["after"]["vi"]) == 2
    gains = [
        b["total"] - a["total"] for b, a in zip(comparison["before"]["vi"], comparison["after"]["vi"], strict=True)
    ]
    assert comparison["gain"] == pytest.approx(np.mean(gains))
    assert tuned_params(work / "tuned").boundary_threshold == comparison["after"]["params"]["boundary_threshold"]
    again = read_recipe(work / "tuned/recipe.yaml") | {"out": str(work / "again")}
    assert run(recipe_job(again)).figures["digest"] == found.figures["digest"]
    labels = watched(
        recipe_job(
            {"workflow": "segment", "volume": volume(work), "model": str(work / "tuned"), "out": str(work / "labels")}
        )
    )
    stored = open_volume(work / "labels/labels/labels.zarr")
    ids = np.unique(stored.levels[0].read(stored.levels[0].box))
    assert ids.tolist() == list(range(1, labels.figures["segments"] + 1))
    assert labels.figures["segments"] > 5


def session_states(folder):
    return patch_states(EventLog(folder / "session/events.jsonl").events())


def refuse(*_arguments):
    raise AssertionError("fine-tuning opened a socket")


def test_an_interrupted_fine_tuning_goes_on_and_ends_with_the_same_weights(work):
    whole = run(recipe_job(tuning(work, "whole")))
    job = recipe_job(tuning(work, "cut"))
    for progress in job:
        if progress.stage == "training" and progress.done == 8:
            break
    job.close()
    assert (work / "cut/training.safetensors").is_file()
    steps = [p.done for p in recipe_job(tuning(work, "cut")) if p.stage == "training"]
    assert steps == [0, 6, 7, 8, 9, 10, 11, 12]  # kept after the fifth
    assert load_model(model_folder(work / "cut"), backend="torch").card.digest == whole.figures["digest"]


def test_a_stop_file_ends_training_and_keeps_the_best(work):
    job, steps = recipe_job(tuning(work, "stopped", params={**TUNE, "steps": 400})), []
    for progress in job:
        if progress.stage == "training":
            steps.append(progress.done)
            if progress.done == 6:
                (work / "stopped/stop").touch()
    assert steps[-1] <= 7
    assert (work / "stopped/model/card.json").is_file()


def test_an_adapter_is_a_small_file_that_makes_the_model_of_its_base(work):
    found = run(recipe_job(tuning(work, "adapted", params={**TUNE, "preset": "adapter"})))
    base = load_model(work / "library/near", backend="torch")
    made = merge(base, load_adapter(work / "adapted/adapter.safetensors"))
    assert made.card.digest == found.figures["digest"]
    assert (work / "adapted/adapter.safetensors").stat().st_size < 0.5 * len(made.weights)


def test_bad_input_is_one_line_and_nothing_is_written(work):
    with pytest.raises(InputError, match="give a model's folder, or one of: "):
        run(recipe_job(tuning(work, "none", model="no-such-model")))
    empty = tuning(work, "none", session=str(work / "empty"))
    del empty["labels"]
    with pytest.raises(InputError, match="has no committed patch to learn from"):
        run(recipe_job(empty))
    with pytest.raises(StoreError, match="params"):
        run(recipe_job(tuning(work, "tuned", params={**TUNE, "seed": 3})))
    assert not (work / "none").exists()
