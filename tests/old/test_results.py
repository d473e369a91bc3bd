"""Law: a result folder that an older version left is opened, read, reported and resumed, and not computed anew."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.cascade.search.descent import Scores
from napari_connecto.workflows.recipes.recipe import read_recipe, recipe_job
from tests.old.home import files, restored


@pytest.fixture
def home(tmp_path):
    return restored(tmp_path / "home")


@pytest.fixture
def search(home):
    (found,) = home.glob("results/blobs*")
    return found


@pytest.fixture
def translation(home):
    (found,) = home.glob("results/em-like-xray*")
    return found


@pytest.fixture
def project(home):
    return home / "results/adapt-em"


@pytest.fixture
def calls(monkeypatch):
    """Tiles that networks are asked for, by the name in their card."""
    asked, call = [], TorchPredictor.__call__

    def counted(self, batch, seeds):
        asked.extend([self.card.name] * len(batch))
        return call(self, batch, seeds)

    monkeypatch.setattr(TorchPredictor, "__call__", counted)
    return asked


def voxels(path) -> np.ndarray:
    level = nc.open_volume(path).levels[0]
    return np.asarray(level.read(level.box))


def chunks(folder) -> dict:
    """Every file of voxels, tables and scores, and what is in it."""
    return {p: p.read_bytes() for p in files(folder) if "/c/" in p.as_posix() or p.suffix in (".csv", ".bin")}


def kept(report) -> dict:
    """The figures of a report: not its sentences, the version, nor the out-of-distribution check ("gate" in 0.1)."""
    words = ("gate", "ood", "version", "reason", "sentence")
    figures = {name: value for name, value in report.items() if name not in words}
    return {name: kept(value) if isinstance(value, dict) else value for name, value in figures.items()}


def known_then(now, then) -> dict:
    """Of a report of today, what an older one has."""
    return {k: known_then(now[k], v) if isinstance(v, dict) else now[k] for k, v in then.items()}


def resumed(folder, **changes):
    """Run a result's own recipe again, into the same folder."""
    before = chunks(folder)
    summary = nc.run(recipe_job({**read_recipe(folder / "recipe.yaml"), **changes}))
    assert chunks(folder) == before
    return summary


def test_a_finished_search_is_not_searched_again(search, calls):
    recipe, report = read_recipe(search / "recipe.yaml"), json.loads((search / "report.json").read_text())
    summary = resumed(search, params={**recipe["params"], "gate": "off"})
    assert calls == []
    now = json.loads((search / "report.json").read_text())
    assert summary.figures["objects"] == report["objects"] == 7
    assert known_then(kept(now), kept(report)) == kept(report)


def test_a_finished_segmentation_is_not_made_again(project, calls):
    assert resumed(project / "segments-1").figures["segments"] == 26
    assert len(calls) < 24  # tiles that show the contrast of membranes; there are 24 to predict


def test_a_finished_translation_is_not_made_again(translation, calls):
    """What is checked in it today is added beside it, by a boundary model, and said; `none` leaves even that out."""
    recipe = read_recipe(translation / "recipe.yaml")
    before = json.loads((translation / "translation.json").read_text())
    resumed(translation, membranes="none")
    assert calls == []
    assert not (translation / "segments").exists()
    there = chunks(translation)
    summary = nc.run(recipe_job(recipe))
    now = chunks(translation)
    assert {path: now[path] for path in there} == there
    assert all(path.is_relative_to(translation / "segments") for path in now.keys() - there.keys())
    assert set(calls) == {"fly-medulla"}
    assert any("segments by boundary model 'fly-medulla'" in line for line in summary.lines)
    assert kept(json.loads((translation / "translation.json").read_text())) == kept(before)


def test_detections_are_read_with_their_verdicts(search):
    found = nc.Detections.load(search)
    assert found.status.tolist() == ["accepted", "rejected", "new", "new", "accepted", "new", "new"]
    assert found.id.tolist() == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(found.centre_nm[0], [7240, 40204, 70644])
    assert found.labels is not None
    ids = voxels(search / "labels/objects.zarr")
    assert np.unique(ids).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert 0 < voxels(search / "map/probability.zarr").max() <= 255


def test_segments_are_read(project):
    ids = voxels(project / "segments-1/labels/labels.zarr")
    assert ids.shape == (24, 64, 64)
    assert np.unique(ids).tolist() == list(range(1, 27))
    assert voxels(project / "segments-1/boundary/boundary.zarr").std() > 0


def test_a_translation_is_read(translation):
    for part in ("mean", "aleatoric", "epistemic"):
        volume = nc.open_volume(translation / f"{part}.zarr")
        assert volume.levels[0].voxel_nm == (10.0, 10.0, 10.0)
        assert voxels(translation / f"{part}.zarr").shape == (24, 32, 32)
        assert np.isfinite(voxels(translation / f"{part}.zarr")).all()


def test_a_session_goes_on_where_it_was(home, project):
    image, model = home / "em.ome.zarr", nc.load_model(home / "models/boundary", device="cpu", backend="torch")
    with nc.Session.open(project / "session", nc.open_volume(image), model.card) as session:
        states = session.patches
        assert [s.status for s in states] == ["committed"] * 3 + ["skipped"] + ["committed"] * 2
        assert [s.held_out for s in states] == [False] * 4 + [True] * 2
        assert [s.origin for s in states[:3]] == ["25 % of the pre-fill edited"] * 2 + ["without pre-fill"]
        learnt, held_out = session.examples(), session.examples(held_out=True)
        assert (len(learnt), len(held_out)) == (3, 2)
        assert {e.labels.shape for e in learnt + held_out} == {(1, 32, 32)}
        draft = session.open_patch(1)
        np.testing.assert_array_equal(draft.labels[:], learnt[0].labels)
        assert session.undo().id == 6
        assert session.patches[5].status == "waiting"


def words(page) -> str:
    """What a reader of a page sees."""
    body = page.read_text(encoding="utf-8").split("<main>")[1]
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("blobs*", "7 objects found"),
        ("em-like-xray*", "24 × 32 × 32 voxels, EM-like, by 'em-like'"),
        ("adapt-em/segments-1", "26 segments in 24 × 64 × 64 voxels"),
        ("adapt-em/tuned-1", "Trained on 3 patches: 2 edited (25 % of voxels), 1 without pre-fill."),
        ("adapt-em/session", "5 of 6 suggested patches are annotated"),
    ],
)
def test_the_report_of_a_result_is_written(home, folder, said):
    (result,) = home.glob(f"results/{folder}")
    found = words(nc.write_report(result))
    assert said in found
    assert "is not shown" not in found


def test_the_report_of_a_search_tells_its_out_of_distribution_check(search):
    sentence = json.loads((search / "report.json").read_text())["gate"]["sentence"]
    assert sentence in words(nc.write_report(search))


@pytest.mark.slow
def test_the_report_of_all_results_names_what_is_unfinished(home):
    text = nc.write_report(home / "results").read_text(encoding="utf-8")
    assert [text.count(said) for said in ("7 objects found", "26 segments in", "EM-like, by", "are annotated")] == [
        1
    ] * 4
    for folder in ("interrupted", "adapt-em/tuned-2"):
        assert f"{home / 'results' / folder}&#39; is not finished (no " in text
    assert "is damaged" not in text


def test_an_interrupted_search_goes_on_and_ends_as_the_other_did(home, search, calls):
    out, report = home / "results/interrupted", json.loads((search / "report.json").read_text())
    scored = [len(Scores.open(out / f"scores_{n}.bin").known) for n in range(2)]
    recipe = read_recipe(search / "recipe.yaml")
    params = {**recipe["params"], "gate": "off", "batch": 1}
    nc.run(recipe_job({**recipe, "out": str(out), "params": params, "backend": "torch"}))
    now = json.loads((out / "report.json").read_text())
    coarse, fine = (level["calls"] for level in report["levels"])
    assert [level["calls"] for level in now["levels"]] == [coarse, fine]
    assert scored[1] == coarse
    assert 0 < scored[0] < fine
    assert calls == ["cells-0"] * (fine - scored[0] + now["audit"]["sampled"])
    then, found = nc.Detections.load(search), nc.Detections.load(out)
    np.testing.assert_allclose(found.centre_nm, then.centre_nm, atol=1000)
    np.testing.assert_allclose(found.score, then.score, atol=0.02)


@pytest.mark.slow
def test_an_interrupted_fine_tuning_goes_on(project):
    recipe = read_recipe(project / "recipes/tuned-2/recipe.yaml")
    steps = [p.done for p in recipe_job(recipe) if p.stage == "training"]
    assert steps[0] == 0
    assert min(steps[1:]) > 10
    assert steps[-1] == 30
    made = nc.load_model(project / "tuned-2/model", device="cpu", backend="torch")
    assert made.card.metrics["fine_tune"]["patches"] == 3
    assert not (project / "tuned-2/training.safetensors").exists()
