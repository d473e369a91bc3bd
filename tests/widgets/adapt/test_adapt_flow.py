"""The whole flow in a real viewer: an annotator who paints the truth, from the ranking to the segments."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.jobs import run
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.adapt import dock as adapt
from napari_connecto.widgets.adapt import project as adapt_project
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.adapt.params import FineTuneParams, RankParams, SuggestParams
from napari_connecto.workflows.recipes.recipe import read_recipe, recipe_job
from napari_connecto.workflows.segment.params import SegmentParams
from tests import adapt_parts
from tests.widgets.adapt_steps import commit

pytestmark = [pytest.mark.gl, pytest.mark.slow]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    path, truth = adapt_parts.image_and_truth(folder)
    return path, truth, adapt_parts.library(folder / "library", steps=60)  # of few patches the old model keeps most


@pytest.fixture
def dock(files, viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.setattr(adapt_project, "output_folder", lambda: tmp_path / "results")
    data, keywords, _ = layer_data(open_volume(files[0]))
    viewer.add_image(data, **keywords)
    widget = adapt.AdaptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Adapt to my data")
    qtbot.waitUntil(lambda: widget.image.full is not None, timeout=10000)
    widget.choose.use_library(files[2])
    qtbot.waitUntil(lambda: "near" in widget.choose.folders, timeout=10000)
    yield widget
    widget.close_jobs()


def wait(bar, qtbot, timeout=120_000):
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=timeout)
    assert bar.error.label.text() == ""


def paint_truth(dock, truth):
    """What a person does with the brush, in a few strokes: one per label of the patch."""
    state, layer = dock.annotate.opened, dock.annotate.patch.labels
    here = truth[state.box.slices]
    for value in np.unique(here):
        layer.data_setitem(np.nonzero(here == value), np.uint32(value))
    return here


def test_from_the_ranking_to_the_segments(dock, files, viewer, qtbot, tmp_path):
    truth = files[1]
    dock.choose.form.value = RankParams(places=2, place=96, patches=40, patch=64, permutations=100)
    dock.choose.bar.button.click()
    wait(dock.choose.bar, qtbot)
    ranked = [dock.choose.table.item(i, 0).text() for i in range(2)]
    assert sorted(ranked) == ["far", "near"]
    assert dock.project.source.name == (dock.choose.ranking.best or dock.choose.ranking.ranks[0]).name
    dock.choose.choose("near")
    assert "this volume" in dock.choose.tree.names
    assert dock.headings[0].text() == "1 Choose: near"

    dock.choose.before.adabn.setChecked(True)
    dock.choose.preview.click()
    wait(dock.choose.bar, qtbot)
    names = [layer.name for layer in dock.choose.panels.layers]
    assert names == ["image", *ranked, *(f"{name} + AdaBN" for name in ranked), "titles"]
    assert [layer.visible for layer in viewer.layers] == [False] + [True] * 6
    dock.choose.before.adabn.setChecked(False)

    dock.go_to(2)
    assert all(layer.visible for layer in viewer.layers)
    dock.annotate.form.value = SuggestParams(size=64, pool=20, random_arm=2)
    dock.annotate.count.setValue(4)
    dock.annotate.bar.button.click()
    wait(dock.annotate.bar, qtbot)
    assert dock.annotate.queue.count() == 4
    assert dock.annotate.summary == "0 of 4"

    dock.annotate.open()
    for n in range(1, 5):
        qtbot.waitUntil(lambda n=n: dock.annotate.opened is not None and dock.annotate.opened.id == n, timeout=30000)
        draft = np.asarray(dock.annotate.patch.labels.data[:])
        held = dock.annotate.opened.held_out
        assert set(np.unique(draft)) <= ({0} if held else {1, 2})  # empty, or the prediction
        painted = paint_truth(dock, truth)
        commit(dock, qtbot)
        assert dock.annotate.summary == f"{n} of 4"
        kept = open_volume(dock.project.work.session.path / "patches" / f"{n:04d}" / "labels-1.zarr").levels[0]
        np.testing.assert_array_equal(kept.read(kept.box), painted)
    assert dock.annotate.opened is None
    assert not any("patch" in layer.name for layer in viewer.layers)

    dock.go_to(3)
    learns = "Trains on 2 committed patches; 2 held-out patches only measure the gain. Labels: 2 edited ("
    assert dock.tune.learns_from.text().startswith(learns)
    assert dock.tune.learns_from.text().endswith("of voxels), 2 without pre-fill.")
    dock.tune.form.value = FineTuneParams(steps=12, crop=64, batch=4, device="cpu")
    dock.tune.estimate.click()
    qtbot.waitUntil(lambda: "measured on two steps" in dock.tune.time.text(), timeout=60000)
    dock.tune.bar.button.click()
    wait(dock.tune.bar, qtbot)
    steps = [step for step, _ in dock.tune.curve.loss]  # live reports may be dropped, the last ones too
    assert steps == sorted(set(steps))
    assert 10 <= steps[-1] <= 12
    assert dock.tune.curve.score == []  # of two patches none is spared to choose
    assert (dock.project.tuned / "model" / "card.json").exists()
    assert "workflow: fine-tune" in (dock.project.tuned / "recipe.yaml").read_text()

    dock.go_to(4)
    dock.compare.bar.button.click()
    wait(dock.compare.bar, qtbot)
    found = dock.compare.compared.comparison
    written = json.loads((dock.project.tuned / "comparison.json").read_text())
    assert found.after.total.total == pytest.approx(written["after"]["total"], abs=0.02)
    assert found.after.total.total < 2.5
    assert dock.compare.table.rowCount() == 3
    assert [layer.name for layer in dock.compare.panels.layers][:3] == ["image", "before", "after"]
    dock.compare.keep(True)
    assert dock.project.kept.params == found.after.params

    dock.go_to(5)
    assert dock.segment.form.value.boundary_threshold == found.after.params.boundary_threshold
    assert dock.segment.form.value.mode == SegmentParams().mode
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.bar.button.click()
    wait(dock.segment.bar, qtbot)
    layer = viewer.layers["segments-1"]
    labels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    assert labels.shape == adapt_parts.SHAPE
    assert len(np.unique(labels)) > 5
    np.testing.assert_allclose(layer.extent.world, viewer.layers[0].extent.world)

    recipe = read_recipe(dock.project.folder / "segments-1" / "recipe.yaml")
    again = run(recipe_job({**recipe, "out": str(tmp_path / "again")}))
    assert again.figures["segments"] == len(np.unique(labels))
    repeated = open_volume(tmp_path / "again" / "labels" / "labels.zarr").levels[0]
    np.testing.assert_array_equal(repeated.read(repeated.box), labels)
