"""Before any label: AdaBN and playback as tick boxes, images that look inverted, and what segmenting will cost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

pytest.importorskip("napari")

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.jobs import Progress
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.widgets.adapt import before as adapt_before
from napari_connecto.widgets.adapt import contrast as adapt_contrast
from napari_connecto.widgets.adapt import dock as adapt
from napari_connecto.widgets.adapt import segment as adapt_segment
from napari_connecto.widgets.adapt import tune as adapt_tune
from napari_connecto.widgets.adapt.jobs import Source
from napari_connecto.workflows.adapt.contrast import Contrast
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.recipes import own_process as subprocess
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.recipe import write_recipe
from napari_connecto.workflows.segment.estimate import SegmentEstimate
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests.widgets.adapt_steps import commit, half, settle

pytestmark = pytest.mark.gl
NEARER = "playback done: restyling the source changes its MMD^2 to 'neuropil' from 0.4000 to 0.1000"
ALIKE = "playback skipped: the source already looks like 'neuropil' (MMD^2 0.0100, p 0.40): nothing to restyle"


class Apart:
    """What runs in a process of its own, here without one: playback that is allowed or not."""

    def __init__(self, said: str) -> None:
        self.said, self.runs, self.closed = said, [], False

    def __call__(self, run, folder):
        self.runs.append(run)
        try:
            yield Progress(1, 60, "training")
            model = load_model(run.model, device="cpu", backend="torch")
            if self.said == NEARER:
                next(model.net.parameters()).data.mul_(1.5)
                model = TorchPredictor(replace(model.card, digest=""), model.net, "cpu")
            out = folder.parents[1] / folder.name
            out.mkdir(parents=True)
            save_model(model, out / "model")
            (out / "prepare.json").write_text(json.dumps({"lines": [self.said]}))
            return Summary(str(out), [self.said])
        finally:
            self.closed = True


@pytest.fixture
def played(monkeypatch, dock):
    """Playback is possible with every model, and "near" is chosen."""

    def answer(said):
        apart = Apart(said)
        monkeypatch.setattr(subprocess, "run_in_subprocess", apart)
        monkeypatch.setattr(adapt_before, "has_patches", lambda folder: True)
        dock.choose.choose("near")
        dock.choose.before.playback.setChecked(True)
        return apart

    return answer


def test_playback_is_not_offered_where_the_model_has_no_patches_and_it_is_said_why(dock):
    before = dock.choose.before
    before.playback.setChecked(True)
    dock.choose.choose("near")
    assert not before.playback.isEnabled()
    assert "has no labelled patches of its source domain" in before.told.text()
    assert dock.project.source == Source("near", dock.choose.folders["near"])
    dock.choose.choose("From scratch")
    assert not before.adabn.isEnabled()


def test_ticks_can_be_taken_back(played, dock):
    played(NEARER)
    dock.choose.before.adabn.setChecked(True)
    assert dock.headings[0].text() == "1 Choose: near + playback + AdaBN"
    assert dock.project.source.steps == ("playback", "adabn")
    dock.choose.before.playback.setChecked(False)
    assert dock.project.source.steps == ("adabn",)
    dock.choose.before.adabn.setChecked(False)
    assert dock.project.source == Source("near", dock.choose.folders["near"])


def test_a_session_begins_with_the_model_that_was_played_back(played, dock, qtbot):
    apart = played(NEARER)
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    (run,) = apart.runs
    near = str(dock.choose.folders["near"])
    assert (run.workflow, run.how, run.model) == ("prepare", "playback", near)
    work = dock.project.work
    assert work.base == work.session.path.parent / "near-playback" / "model"
    assert dock.choose.before.told.text() == NEARER[:1].upper() + NEARER[1:]
    dock.annotate.bar.button.click()  # more patches: the model is there already
    settle(dock.annotate.bar, qtbot)
    assert len(apart.runs) == 1


def test_the_preview_shows_each_effect_on_the_same_patch(played, dock, qtbot):
    played(NEARER)
    dock.choose.before.adabn.setChecked(True)
    dock.choose.preview.click()
    settle(dock.choose.bar, qtbot)
    names = [layer.name for layer in dock.choose.panels.layers]
    both = ["near + playback", "near + playback + AdaBN"]
    assert names == ["image", "far", "near", "far + AdaBN", "near + AdaBN", *both, "titles"]
    plain, changed = (dock.choose.panels.layers[names.index(name)] for name in ("near", "near + playback"))
    assert plain.data.shape == changed.data.shape
    assert not np.array_equal(plain.data, changed.data)
    assert NEARER[1:] in dock.choose.before.told.text()


def test_playback_that_is_not_allowed_is_left_out_and_said(played, dock, qtbot):
    played(ALIKE)
    dock.choose.preview.click()
    settle(dock.choose.bar, qtbot)
    assert [layer.name for layer in dock.choose.panels.layers] == ["image", "far", "near", "titles"]
    assert "nothing to restyle" in dock.choose.before.told.text()


def test_cancelling_ends_the_process(played, dock, monkeypatch, qtbot):
    apart = played(NEARER)

    def endless(recipe, folder):
        try:
            while True:
                yield Progress(1, 60, "training")
        finally:
            apart.closed = True

    monkeypatch.setattr(subprocess, "run_in_subprocess", endless)
    dock.annotate.bar.button.click()
    qtbot.waitUntil(lambda: dock.annotate.bar.status.text().startswith("training"), timeout=30000)
    dock.annotate.bar.button.click()
    qtbot.waitUntil(lambda: apart.closed and not dock.annotate.bar.worker.state.busy, timeout=5000)
    assert dock.project.work is None


# ---------------------------------------------------------------- inverted contrast


def seen(lines, scaled=(0.0, 1.0)):
    return Contrast("neuropil", "near", "uint8", lines, 0.4, 10.0, 20.0, scaled)


@pytest.fixture
def looked(monkeypatch, dock, qtbot):
    """The banner's answer is given: bright lines where the image is read as it is."""
    asked = []

    def contrast_job(volume, folder):
        asked.append(volume)
        yield Progress(0, 0)
        return seen(0.3 if volume.metadata.get("inverted") else -0.3)

    monkeypatch.setattr(adapt_contrast, "contrast_job", contrast_job)
    dock.choose.choose("near")
    qtbot.waitUntil(lambda: dock.contrast.found is not None, timeout=10000)
    return asked


def test_an_inverted_image_is_told_and_read_inverted_at_a_click(looked, dock, files, qtbot):
    banner, raw = dock.contrast, open_volume(files[0]).levels[0]
    assert "looks inverted: its thin structures are bright, 'near' expects dark membranes" in banner.text.text()
    assert banner.button.text() == "Invert"
    banner.button.click()
    assert dock.project.volume().levels[0].read(raw.box).tolist() == (255 - raw.read(raw.box)).tolist()
    assert dock.project.spec() == VolumeSpec(str(files[0]), invert=True)
    qtbot.waitUntil(lambda: dock.contrast.found is not None, timeout=10000)
    assert len(looked) == 2
    assert banner.text.text() == adapt_contrast.SEEN
    dock.choose.copy.click()
    assert QApplication.clipboard().text().startswith(f"napari-connecto rank {files[0]} --invert --out ")
    banner.button.click()
    assert dock.project.spec() == VolumeSpec(str(files[0]))


def test_a_session_keeps_how_its_image_is_read(looked, dock, viewer, files, qtbot):
    dock.contrast.button.click()
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    assert dock.project.work.spec.invert is True
    assert not dock.contrast.button.isEnabled()
    folder = dock.project.folder
    dock.close_jobs()
    other = adapt.AdaptWidget(viewer)
    try:
        other.annotate.resume_from(folder)
        settle(other.annotate.bar, qtbot)
        assert other.project.invert
        assert other.contrast.text.text() == adapt_contrast.SEEN
        assert other.project.work.volume.metadata["inverted"] is True
    finally:
        other.close_jobs()


def test_another_image_is_read_as_it_is(looked, dock, viewer, qtbot):
    dock.contrast.button.click()
    viewer.add_image(np.zeros((4, 64, 64), np.uint8), name="other", scale=(40, 8, 8), units="nm")
    dock.image.layers.setCurrentText("other")
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "other", timeout=10000)
    assert not dock.project.invert


# ---------------------------------------------------------------- what segmenting will cost


def cost(**changes):
    values = {"shape": (8, 256, 256), "voxel_nm": (40.0, 8.0, 8.0), "resampled": True, "tiles": 128, "blocks": 2}
    values |= {"labels": (8, 256, 256), "mode": "2d-linked", "reason": "mode 2d-linked, as requested"}
    values |= {"predict_s": 60.0, "segment_s": 30.0, "memory_bytes": 10**9, "disk_bytes": 2 * 10**9, "device": "CPU"}
    return SegmentEstimate(**{**values, "notes": (), "fits": True, **changes})


def ask(dock, monkeypatch, qtbot, answer):
    def segment_cost_job(what):
        yield Progress(0, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(adapt_segment, "segment_cost_job", segment_cost_job)
    dock.choose.choose("near")
    dock.segment.where.setCurrentText("Everywhere")
    dock.go_to(5)
    card = dock.segment.card
    qtbot.waitUntil(lambda: card.estimate is not None or bool(card.error.label.text()), timeout=10000)
    return card


def test_the_card_says_what_it_will_cost(dock, monkeypatch, qtbot):
    card = ask(dock, monkeypatch, qtbot, cost())
    for said in ("8 × 256 × 256 voxels", "40 × 8 × 8 nm (resampled)", "128 tiles", "2 blocks", "1 min 30 s", "CPU"):
        assert said in card.text.text()
    assert "memory 1 GB, disk at most 2 GB" in card.text.text()
    assert card.fix.isHidden()
    dock.project.changed.emit()  # nothing that matters here: what was timed stays
    assert card.estimate is not None
    dock.segment.form.value = SegmentParams(mode="3d")
    assert card.estimate is None


def test_what_does_not_fit_is_red_and_mended_by_a_click(dock, monkeypatch, qtbot):
    note = "Needs about 9.0 GB of memory, 1.0 GB are free: use smaller blocks."
    card = ask(dock, monkeypatch, qtbot, cost(notes=(note,), fits=False))
    assert card.error.label.text() == note
    assert card.fix.text() == "Use smaller blocks"
    card.fix.click()
    assert dock.segment.form.value.block == (4, 256, 256)


def test_no_room_on_the_disk_offers_what_is_in_view(dock, monkeypatch, qtbot):
    note = "Needs up to 9.0 GB of disk, 1.0 GB are free: choose another folder."
    card = ask(dock, monkeypatch, qtbot, cost(notes=(note,), fits=False))
    assert card.fix.text() == "In view"
    card.fix.click()
    assert dock.segment.where.currentText() == "In view"


def test_voxels_the_model_cannot_read_lead_back_to_the_image(dock, monkeypatch, qtbot):
    card = ask(dock, monkeypatch, qtbot, VoxelSizeError("'neuropil' has voxels of 900 nm; correct the voxel size"))
    assert card.fix.text() == "Set the voxel size"
    card.fix.click()
    assert dock.step == 1
    assert dock.image.correct.isChecked()


# ---------------------------------------------------------------- a fine-tuning that was cut off


def begin_and_kill(opened, monkeypatch, qtbot):
    """A fine-tuning has begun in its folder, and napari is gone."""
    runs = []

    def tune_job(run):
        runs.append(run)
        yield Progress(0, 0)
        out = opened.project.folder / "tuned-1"
        (out.parent / "recipes/tuned-1").mkdir(parents=True, exist_ok=True)
        write_recipe(run, out.parent / "recipes/tuned-1/recipe.yaml")
        out.mkdir(exist_ok=True)
        (out / "job.json").write_text("{}")
        while True:
            yield Progress(1, 10, "training", {"step": 1, "loss": 1.0, "score": None})

    monkeypatch.setattr(adapt_tune, "tune_job", tune_job)
    half(opened)
    commit(opened, qtbot)
    opened.tune.form.value = FineTuneParams(preset="quick", steps=10, seed=3)
    opened.tune.bar.button.click()
    qtbot.waitUntil(lambda: len(opened.tune.curve.loss) > 0, timeout=30000)
    opened.close_jobs()
    return runs


def test_a_fine_tuning_that_was_cut_off_is_offered_again_after_a_restart(opened, viewer, monkeypatch, qtbot):
    runs, folder = begin_and_kill(opened, monkeypatch, qtbot), opened.project.folder
    other = adapt.AdaptWidget(viewer)
    try:
        other.annotate.resume_from(folder)
        settle(other.annotate.bar, qtbot)
        assert other.tune.bar.button.text() == "Resume"
        assert "tuned-1 was interrupted" in other.tune.about.text()
        assert other.tune.form.value == runs[0].params
        other.tune.bar.button.click()
        qtbot.waitUntil(lambda: len(runs) == 2, timeout=30000)
        assert runs[1] == runs[0]
    finally:
        other.close_jobs()


def test_what_was_begun_with_other_labels_or_other_parameters_is_not_gone_on_with(opened, viewer, monkeypatch, qtbot):
    runs, folder = begin_and_kill(opened, monkeypatch, qtbot), opened.project.folder
    other = adapt.AdaptWidget(viewer)
    try:
        other.annotate.resume_from(folder)
        settle(other.annotate.bar, qtbot)
        other.tune.form.value = FineTuneParams(preset="quick", steps=11, seed=3)
        assert other.tune.bar.button.text() == "Start"
        assert other.tune._run().out.endswith("tuned-2")
        other.tune.form.value = runs[0].params
        assert other.tune._run().out.endswith("tuned-1")
        other.project.work.session.skip(2)
        assert other.tune._run().out.endswith("tuned-2")
    finally:
        other.close_jobs()
