"""What the dock "Adapt to my data" is given and cannot use: one clear sentence each, and an unharmed session."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Progress
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.adapt import tune as adapt_tune
from napari_connecto.workflows.adapt.params import FineTuneParams, RankParams
from napari_connecto.workflows.recipes.own_process import why_ended
from tests.widgets.adapt_steps import commit, half, refused, settle, show

VOXEL = (40.0, 8.0, 8.0)
SMALL = RankParams(places=2, place=64, patches=20, patch=64, permutations=100)


def rank(dock):
    dock.choose.form.value = SMALL
    dock.choose.bar.button.click()


@pytest.mark.gl
def test_an_image_without_tissue(dock, viewer, files, qtbot):
    resin = np.full((2, 256, 256), 200, np.uint8)
    show(viewer, dock, qtbot, resin, "resin", scale=VOXEL, units="nm")
    rank(dock)
    said = refused(dock.choose.bar, qtbot)
    assert "has no places of tissue of 64 x 64 voxels" in said
    assert "choose another part of the image, or smaller places" in said
    assert dock.choose.ranking is None


@pytest.mark.gl
def test_a_volume_of_one_section_is_ranked_and_suggested_from(dock, viewer, files, qtbot):
    image = open_volume(files[0]).levels[0]
    show(viewer, dock, qtbot, image.read(image.box)[4], "one section", scale=VOXEL[1:], units="nm")
    rank(dock)
    settle(dock.choose.bar, qtbot)
    assert (len(dock.choose.ranking.places.boxes), dock.choose.ranking.patches) == (2, 15)
    dock.choose.choose("near")
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    assert dock.annotate.summary == "0 of 3"
    assert {patch.box.shape for patch in dock.project.work.session.patches} == {(1, 64, 64)}


@pytest.mark.gl
def test_a_missing_voxel_size_is_asked_for(dock, viewer, files, qtbot):
    image = open_volume(files[0]).levels[0]
    show(viewer, dock, qtbot, image.read(image.box), "no unit")
    assert dock.image.correct.isChecked()
    assert "this layer states no unit" in dock.image.correct.text()
    rank(dock)
    assert "'no unit' states no voxel size; enter it in nm" in refused(dock.choose.bar, qtbot)
    dock.image.voxel.boxes[0].setValue(40)
    for box in dock.image.voxel.boxes[1:]:
        box.setValue(8)
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.levels[0].voxel_nm == VOXEL, timeout=10000)
    rank(dock)
    settle(dock.choose.bar, qtbot)
    assert dock.choose.ranking.patches == 20


@pytest.mark.gl
def test_a_library_of_one_domain_says_what_cannot_be_said(dock, files, tmp_path, qtbot):
    for name in ("near", "encoder"):
        shutil.copytree(files[2] / name, tmp_path / "one" / name)
    dock.choose.use_library(tmp_path / "one")
    qtbot.waitUntil(lambda: list(dock.choose.folders) == ["near"], timeout=10000)
    rank(dock)
    settle(dock.choose.bar, qtbot)
    assert dock.choose.table.rowCount() == 1
    assert dock.choose.table.item(0, 1).text() == "–"
    assert "no other model gives answers to compare with" in dock.choose.evidence.text()
    assert dock.project.source.name == "near"


@pytest.mark.gl
def test_a_damaged_card_is_named_and_the_choice_stays(dock, files, tmp_path, qtbot):
    shutil.copytree(files[2], tmp_path / "library")
    dock.choose.choose("near")
    dock.choose.use_library(tmp_path / "library")
    qtbot.waitUntil(lambda: dock.choose.folders.get("far") == tmp_path / "library/far", timeout=10000)
    card = tmp_path / "library/far/card.json"
    card.write_text(card.read_text()[:100])
    dock.choose.choose("far")
    assert "choose a folder with card.json and weights.safetensors" in dock.choose.bar.error.label.text()
    assert dock.project.source.name == "near"
    rank(dock)
    qtbot.waitUntil(lambda: dock.choose.ranking is not None, timeout=60000)
    told = {one.name: one for one in dock.choose.ranking.ranks}
    assert (told["far"].compared, told["near"].compared) == (False, True)
    assert "copy the model again" in told["far"].note


@pytest.mark.gl
def test_labels_of_one_class_are_refused(opened, qtbot):
    annotate = opened.annotate
    labels = annotate.patch.labels
    for value, said in ((0, "all labels are 0"), (1, "only boundary (1)"), (2, "no boundary"), (7, "no boundary")):
        labels.data_setitem(np.nonzero(np.ones(labels.data.shape, bool)), np.uint32(value))
        commit(opened, qtbot)
        assert said in annotate.bar.error.label.text()
        assert (annotate.opened.id, annotate.summary) == (1, "0 of 3")
    half(opened)
    commit(opened, qtbot)
    assert (annotate.bar.error.label.text(), annotate.summary) == ("", "1 of 3")


@pytest.mark.gl
def test_labels_of_another_shape_are_refused_and_the_draft_is_kept(opened, qtbot):
    annotate = opened.annotate
    painted, draft = half(opened), annotate.patch.labels.data
    annotate.patch.labels.data = np.ones((1, 32, 32), np.uint32)
    commit(opened, qtbot)
    said = annotate.bar.error.label.text()
    assert "got labels of shape (1, 32, 32) for a patch of (1, 64, 64)" in said
    assert annotate.summary == "0 of 3"
    np.testing.assert_array_equal(np.asarray(draft[:]), painted)
    annotate.patch.labels.data = np.where(painted == 1, 1, 5).astype(np.uint32)  # of the right shape: it counts
    commit(opened, qtbot)
    assert annotate.summary == "1 of 3"
    (example,) = opened.project.work.session.examples() or opened.project.work.session.examples(held_out=True)
    assert np.unique(example.labels).tolist() == [1, 5]


@pytest.mark.gl
def test_no_memory_while_training_is_said_and_the_session_goes_on(opened, monkeypatch, qtbot):
    def tune_job(run):
        yield Progress(1, 10, "training", {"step": 1, "loss": 1.0, "score": None})
        raise ConnectoError(why_ended(["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"], 1))

    monkeypatch.setattr(adapt_tune, "tune_job", tune_job)
    half(opened)
    commit(opened, qtbot)
    opened.tune.form.value = FineTuneParams(batch=64)
    opened.tune.bar.button.click()
    assert "out of memory: use a smaller batch or crop" in refused(opened.tune.bar, qtbot)
    qtbot.waitUntil(lambda: getattr(opened.annotate.opened, "id", 0) == 2, timeout=30000)
    half(opened)
    commit(opened, qtbot)
    assert opened.annotate.summary == "2 of 3"


@pytest.mark.parametrize(
    ("errors", "code", "said"),
    [
        (["Traceback", "napari-connecto: got nothing; give something", " "], 2, "got nothing; give something"),
        ([], 3, "the process ended with code 3"),
        ([], -9, "out of memory: use a smaller batch"),
        (["RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory"], 1, "out of memory"),
        (["numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 TiB"], 1, "out of memory"),
    ],
)
def test_why_a_process_ended(errors, code, said):
    assert why_ended(errors, code).startswith(said)
