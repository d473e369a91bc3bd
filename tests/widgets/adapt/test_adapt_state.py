"""All that "Adapt to my data" says is of the chosen image, its session and its jobs, and never of another image."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.utils.notifications import notification_manager

from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.adapt import dock as adapt
from napari_connecto.widgets.adapt import tune as adapt_tune
from napari_connecto.widgets.adapt.train_jobs import Compared
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.recipes.entries.run import Summary
from tests.widgets.adapt.test_adapt_dock import a_comparison
from tests.widgets.adapt_steps import commit, half, settle

VOXEL = (40.0, 8.0, 8.0)


def another(viewer):
    return viewer.add_image(
        np.random.default_rng(0).integers(0, 255, (8, 64, 64), np.uint8), name="other", scale=VOXEL, units="nm"
    )


def choose(dock, name, qtbot):
    dock.image.layers.setCurrentText(name)
    qtbot.waitUntil(lambda: dock.image.full is not None, timeout=10000)


def said(dock):
    """Everything that was said of a session."""
    return {
        "headings": [heading.text() for heading in dock.headings[1:]],
        "queue": dock.annotate.queue.count(),
        "time": dock.tune.time.text(),
        "about": dock.tune.about.text(),
        "points": len(dock.tune.curve.loss),
        "verdict": dock.compare.verdict.isVisibleTo(dock.compare),
        "table": dock.compare.details.isVisibleTo(dock.compare),
        "kept": dock.compare.kept.text(),
        "segments": dock.segment.about.text(),
    }


NOTHING = {
    "headings": ["2 Annotate", "3 Fine-tune", "4 Compare", "5 Segment"],
    "queue": 0,
    "time": "",
    "about": "",
    "points": 0,
    "verdict": False,
    "table": False,
    "kept": "Fine-tune in step 3 first, then compare.",
    "segments": "",
}


def fill(dock, tmp_path):
    """As after a training, a comparison and a segmentation."""
    dock.tune.time.setText("About 3 min")
    dock.tune._on_tuned(Summary(str(dock.project.folder / "tuned-1"), ["learnt"]))
    dock.tune.curve.add([{"step": 1, "loss": 1.0, "score": None}], 10)
    dock.compare._on_compared(Compared(a_comparison((0.1, 0.4)), ()))
    dock.segment.about.setText("12 segments")


@pytest.mark.gl
def test_another_image_has_a_session_of_its_own_and_the_first_comes_back(opened, viewer, qtbot, tmp_path):
    fill(opened, tmp_path)
    before, name, folder = said(opened), opened.image.layer.name, opened.project.work.session.path
    assert before["kept"].startswith("Step 5 segments with tuned-1 (new)")
    another(viewer)
    choose(opened, "other", qtbot)
    assert said(opened) == NOTHING
    assert not any("patch" in layer.name for layer in viewer.layers)
    assert f"is saved in {folder}" in opened.annotate.row.where.text()
    opened.tune.bar.button.click()
    assert "no session is open" in opened.tune.bar.error.label.text()
    opened.go_to(5)
    assert opened.segment.kept_model().name == "near"
    choose(opened, name, qtbot)
    assert opened.annotate.queue.count() == 3
    assert opened.project.work.session.path == folder
    assert opened.headings[2].text() == "3 Fine-tune: tuned-1"
    assert opened.compare.kept.text() == before["kept"]
    assert opened.tune.bar.error.label.text() == ""
    opened.annotate.open()
    qtbot.waitUntil(lambda: opened.annotate.opened is not None, timeout=20000)
    half(opened)
    commit(opened, qtbot)
    assert opened.annotate.summary == "1 of 3"


@pytest.mark.gl
@pytest.mark.parametrize("how", ["other", "deleted", "cleared"])
def test_an_image_chosen_while_a_job_runs_waits_until_it_has_ended(opened, viewer, monkeypatch, qtbot, how):
    end = []

    def tune_job(run):
        step = 0
        while not end:
            step += 1
            yield Progress(step, 500, "training", {"step": step, "loss": 1 / step, "score": None})
            time.sleep(0.01)
        return Summary(run.out, ["learnt well"])

    monkeypatch.setattr(adapt_tune, "tune_job", tune_job)
    half(opened)
    commit(opened, qtbot)
    qtbot.waitUntil(lambda: not opened.annotate.desk.busy, timeout=20000)
    name, session = opened.image.layer.name, opened.project.work.session.path
    opened.tune.form.value = FineTuneParams(preset="quick", steps=500)
    opened.tune.bar.button.click()
    qtbot.waitUntil(lambda: len(opened.tune.curve.loss) > 2, timeout=10000)
    if how != "cleared":
        another(viewer)
    if how == "other":
        choose(opened, "other", qtbot)
    elif how == "deleted":
        viewer.layers.remove(name)
    else:
        viewer.layers.clear()
    assert opened.project.work.session.path == session
    assert opened.headings[1].text() == "2 Annotate: 1 of 3"
    shown = len(opened.tune.curve.loss)
    qtbot.waitUntil(lambda: len(opened.tune.curve.loss) > shown, timeout=10000)
    opened.compare.bar.button.click()
    assert f"The job on '{name}' is still running" in opened.compare.bar.error.label.text()
    notification_manager.records.clear()
    end.append(True)
    qtbot.waitUntil(lambda: opened.project.settled, timeout=10000)
    assert said(opened) == NOTHING
    assert any(f"on '{name}' has ended" in str(r) for r in notification_manager.records)
    if how == "other":
        choose(opened, name, qtbot)
        assert opened.project.tuned == session.parent / "tuned-1"
        assert opened.headings[2].text() == "3 Fine-tune: tuned-1"


@pytest.mark.gl
def test_a_dock_opened_again_goes_on_with_the_session(opened, viewer, qtbot):
    path = opened.project.work.session.path
    opened.close_jobs()
    other = adapt.AdaptWidget(viewer)
    try:
        assert other.project.work.session.path == path
        assert other.annotate.queue.count() == 3
        assert other.project.source.name == "near"
    finally:
        other.close_jobs()


@pytest.mark.gl
def test_a_new_session_on_the_same_image_starts_in_a_folder_of_its_own(opened, viewer, qtbot, tmp_path):
    fill(opened, tmp_path)
    first = opened.project.work.session.path
    opened.annotate.row.fresh.click()
    assert said(opened) == NOTHING
    assert not any("patch" in layer.name for layer in viewer.layers)
    opened.annotate.bar.button.click()
    settle(opened.annotate.bar, qtbot)
    second = opened.project.work.session.path
    assert second != first
    assert opened.annotate.summary == "0 of 3"
    opened.annotate.resume_from(first)
    settle(opened.annotate.bar, qtbot)
    assert opened.project.work.session.path == first


@pytest.mark.gl
def test_figures_of_one_training_are_not_shown_for_the_next(opened, tmp_path):
    fill(opened, tmp_path)
    assert opened.compare.details.isVisibleTo(opened.compare)
    opened.tune._on_tuned(Summary(str(opened.project.folder / "tuned-2"), []))
    assert not opened.compare.details.isVisibleTo(opened.compare)
    assert opened.headings[3].text() == "4 Compare"
    assert opened.compare.compared is None


@pytest.mark.gl
def test_a_ranking_of_the_image_before_is_not_shown(opened, viewer, monkeypatch, qtbot):
    from napari_connecto.widgets.adapt import choose as adapt_choose
    from tests.widgets.adapt.test_adapt_dock import ranking

    end = []

    def rank_job(volume, library, params):
        while not end:
            yield Progress(0, 1)
            time.sleep(0.01)
        return ranking()

    monkeypatch.setattr(adapt_choose, "rank_job", rank_job)
    opened.choose.bar.button.click()
    another(viewer)
    choose(opened, "other", qtbot)
    end.append(True)
    qtbot.waitUntil(lambda: not opened.choose.bar.worker.state.busy, timeout=10000)
    assert opened.choose.ranking is None
    assert not opened.choose.details.isVisibleTo(opened.choose)
    assert not opened.choose.bar.status.isVisibleTo(opened)
    end.append(True)
    opened.choose.bar.button.click()
    settle(opened.choose.bar, qtbot)
    assert opened.choose.ranking is not None
