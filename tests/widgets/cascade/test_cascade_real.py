"""The dock, the shipped sample and the shipped cascade, with nothing made up: click, look, stop, go on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import ConnectoError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import new_model, read_card
from napari_connecto.models.inspect.pair import judge_card
from napari_connecto.sample_data import cascade_folder, open_sample
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.samples import cells
from napari_connecto.widgets.shared.error_map import ERROR
from napari_connecto.widgets.shared.run_on import CLUSTER, WORKERS
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.places import read_places
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER

pytestmark = [pytest.mark.gl, pytest.mark.slow]


@pytest.fixture
def dock(viewer, qtbot, monkeypatch, tmp_path):
    try:
        cascade_folder("cells")
    except ConnectoError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path)
    data, keywords, _ = cells()[0]
    viewer.add_image(data, **keywords)
    widget = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cascade detection")
    qtbot.waitUntil(lambda: widget.cascade.folder is not None, timeout=20_000)
    widget.cascade.use(cascade_folder("cells"))
    qtbot.waitUntil(lambda: widget.card.estimate is not None, timeout=120_000)
    yield widget
    widget.close_jobs()


def test_a_cluster_that_is_not_there_and_one_of_two_workers(dock, qtbot):
    dock.options.form.value = DetectParams(audit=0, ood_check="off")
    dock.options.run_on.where.setCurrentText(CLUSTER)
    dock.options.run_on.address.setText("tcp://127.0.0.1:9")
    dock.bar.button.click()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=60_000)
    assert dock.bar.error.label.text().startswith("cannot reach a Dask scheduler at 'tcp://127.0.0.1:9'")
    dock.options.run_on.where.setCurrentText(WORKERS)
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        dock.bar.button.click()
    expected = detect(
        open_sample("cells"),
        load_cascade(cascade_folder("cells"), backend="torch"),
        DetectParams(audit=0, ood_check="off"),
    )
    np.testing.assert_array_equal(dock.results.review.found.centre_nm, expected.centre_nm)
    np.testing.assert_array_equal(dock.results.review.found.score, expected.score)


def test_run_cancel_resume_end_in_what_a_script_finds(dock, viewer, qtbot):
    dock.options.form.value = DetectParams(audit=0)
    dock.bar.button.click()
    qtbot.waitUntil(lambda: dock.results.review is not None and len(dock.results.review.found) > 0, timeout=120_000)
    dock.bar.button.click()
    qtbot.waitUntil(lambda: dock.bar.button.text() == "Resume", timeout=20_000)
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        dock.bar.button.click()
    found = dock.results.review.found
    expected = detect(
        open_sample("cells"), load_cascade(cascade_folder("cells"), backend="torch"), DetectParams(audit=0)
    )
    np.testing.assert_allclose(found.centre_nm, expected.centre_nm)
    np.testing.assert_allclose(found.score, expected.score)
    points = viewer.layers["detections (cells)"]
    world = np.array([points.data_to_world(p) for p in points.data])
    np.testing.assert_allclose(world, expected.centre_nm)
    assert "level 0" in dock.results.report.text()
    recipe = next(dock.search().out.glob("recipe.yaml"))
    assert "workflow: detect" in recipe.read_text()


def test_a_review_goes_on_in_another_dock(dock, viewer, qtbot, tmp_path):
    dock.options.form.value = DetectParams(audit=0, ood_check="off")
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        dock.preview.click()
    dock.results.step(1)
    for status in (ACCEPTED, REJECTED, ACCEPTED):
        dock.results.judge(status)
    (out,) = tmp_path.glob("cells-cells-*")
    told, first = dock.results.review.status, dock.results.review.found
    places = {tuple(c): s for c, s in zip(first.centre_nm.round(3).tolist(), told.tolist(), strict=True) if s != NEW}
    viewer.window.remove_dock_widget(dock)
    viewer.layers.remove("detections (cells)")
    again = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(again, name="Cascade detection again")
    qtbot.waitUntil(lambda: again.cascade.folder is not None, timeout=20_000)
    again.cascade.use(cascade_folder("cells"))
    qtbot.waitUntil(lambda: again.card.estimate is not None, timeout=120_000)
    again.options.form.value = DetectParams(audit=0, ood_check="off")
    assert again.bar.status.text() == f"Resumes an earlier run in {out}"
    with qtbot.waitSignal(again.bar.worker.returned, timeout=240_000):
        again.bar.button.click()
    review = again.results.review
    qtbot.waitUntil(lambda: (review.status != NEW).sum() == 3, timeout=5000)
    assert len(review.found) > len(first)
    for i in np.flatnonzero(review.status != NEW):
        assert places[tuple(review.found.centre_nm[i].round(3).tolist())] == review.status[i]
    again.close_jobs()
    np.testing.assert_array_equal(Detections.load(out).status, review.status)


def test_an_error_map_of_a_search_is_a_layer_and_a_list(dock, viewer, qtbot, tmp_path):
    """A cascade whose finest model has a guard: off at first, not in a preview, and shown when Run all has ended."""
    assert not dock.errors.box.isEnabled()
    folder = tmp_path / "guarded"
    shutil.copytree(cascade_folder("cells"), folder)
    card = read_card(folder / "level_0")
    judge = new_model(judge_card(card, INNER, HALO, 4), 2, device="cpu")
    limits = Calibration(("quality", "error"), np.zeros(2), np.ones(2), np.ones(2), 0.0, 0.05, 2, 100)
    Guard(judge, card, card.outputs[0].name, "masks", 0.9, limits, None).save(folder / "level_0")
    dock.cascade.use(folder)
    dock.options.form.value = DetectParams(audit=0, ood_check="off")
    qtbot.waitUntil(dock.errors.box.isEnabled, timeout=20_000)
    assert not dock.search().error_map
    dock.errors.box.setChecked(True)
    assert "--error-map" in dock.command()
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=400_000):
        dock.bar.button.click()
    out = dock.search().out
    stored, layer = open_volume(out / "check" / "error.zarr").levels[0], viewer.layers[ERROR]
    shown = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    np.testing.assert_array_equal(shown, np.asarray(stored.array[:]))
    assert dock.errors.worst.list.count() == len(read_places(out / "check")) > 0
    assert dock.results.review.found.report["guard"]["model"] == card.digest
