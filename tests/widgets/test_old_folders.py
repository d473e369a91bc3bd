"""Law: a dock finds again what an older version left: earlier runs, verdicts, a session, a fine-tuning cut off."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("napari")

import napari_connecto as nc
from napari_connecto.widgets.adapt.annotate.session_jobs import resume_job
from napari_connecto.widgets.adapt.kept import Gain, default_model
from napari_connecto.widgets.adapt.train_jobs import unfinished
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.viewer.volumes import lasting
from napari_connecto.widgets.xray import dock as xray
from tests.old.home import HOME, SECONDS, restored

SEARCH = ("blobs-2-cells", "cells", "models/cells", ())
TRANSLATION = ("em-like-xray-translator", "xray", "models/em-like/translator", (nc.TranslateParams(),))


@pytest.fixture
def home(tmp_path):
    return restored(tmp_path / "home")


def folder_of(home, name):
    (found,) = home.glob(f"results/{name}-*")
    return found


def moved(home, name, image, model, params):
    """A dock's folder, renamed as if its image and model had always lain in ``home``."""
    volume, made = nc.open_volume(home / f"{image}.ome.zarr"), folder_of(home, name)
    return made.rename(made.with_name(f"{made.name.rsplit('-', 1)[0]}-{lasting(volume, home / model, *params)}"))


def shown(home, image, viewer, qtbot, make):
    """A dock in a viewer that shows an image."""
    data, keywords, _ = layer_data(nc.open_volume(home / f"{image}.ome.zarr"))
    viewer.add_image(data, **keywords)
    dock = make(viewer)
    viewer.window.add_dock_widget(dock)
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=20_000)
    return dock


@pytest.mark.parametrize("asked", [SEARCH, TRANSLATION], ids=lambda asked: asked[0])
def test_a_question_has_the_digits_that_it_had(home, asked):
    name, image, model, params = asked
    volume = replace(nc.open_volume(home / f"{image}.ome.zarr"), source=f"{HOME}/{image}.ome.zarr")
    assert folder_of(home, name).name.endswith(f"-{lasting(volume, Path(HOME, model), *params)}")


@pytest.mark.gl
@pytest.mark.slow
def test_the_dock_finds_a_search_and_its_review(home, viewer, qtbot, monkeypatch):
    out = moved(home, *SEARCH)
    monkeypatch.setattr(cascade, "output_folder", lambda: home / "results")
    dock = shown(home, "cells", viewer, qtbot, cascade.CascadeWidget)
    qtbot.waitUntil(lambda: dock.cascade.folder is not None, timeout=20_000)
    dock.cascade.use(home / "models/cells")
    assert dock.bar.status.text() == f"Resumes an earlier run in {out}"
    dock.options.form.change(ood_check="off", audit=8)
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=60_000)
    dock.bar.button.click()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=60_000)
    qtbot.waitUntil(lambda: dock.results.review is not None and dock.results.review.reviewed, timeout=10_000)
    assert dock.results.review.status.tolist() == nc.Detections.load(out).status.tolist()
    assert sorted(set(dock.results.review.status.tolist())) == ["accepted", "new", "rejected"]
    dock.close_jobs()


@pytest.mark.gl
def test_the_dock_finds_a_translation(home, viewer, qtbot, monkeypatch):
    out = moved(home, *TRANSLATION)
    monkeypatch.setattr(xray, "output_folder", lambda: home / "results")
    dock = shown(home, "xray", viewer, qtbot, xray.TranslateWidget)
    qtbot.waitUntil(lambda: dock.translator.folder is not None, timeout=20_000)
    dock.translator.use(home / "models/em-like/translator")
    assert dock.translating().out == out
    assert dock.bar.status.text() == f"Resumes an earlier run in {out}"
    dock.close_jobs()


def test_a_session_of_a_project_is_resumed(home):
    project = home / "results/adapt-em"
    work = nc.run(resume_job(project))
    assert work.base == home / "models/boundary"
    assert work.session.counts() == (5, 5)
    assert sorted(work.thumbnails) == [1, 2, 3, 4, 5, 6]
    work.session.close()


def test_the_model_that_was_tuned_is_known_by_its_gain(home):
    tuned = home / "results/adapt-em/tuned-1"
    gain = Gain.of(tuned)
    assert (gain.low, gain.high) == pytest.approx((-5.783, 8.415), abs=1e-3)
    assert default_model(home / "models/boundary", tuned, gain).name == "boundary (old)"


def test_a_fine_tuning_that_was_cut_off_is_offered(home):
    cut = home / "results/adapt-em/tuned-2"
    os.utime(cut / "job.json", (SECONDS + 60, SECONDS + 60))  # the last of the project to begin
    found = unfinished(cut.parent)
    assert found is not None
    assert found.out == str(cut)
    assert found.params.steps == 30
