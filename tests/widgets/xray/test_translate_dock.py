"""The dock "X-ray to EM" in a real viewer, with translators nobody trained: what is clicked, shown, asked, stopped."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_connecto.core.jobs import Progress
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.shared import estimate_card
from napari_connecto.widgets.shared.run_on import CLUSTER, WORKERS
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.xray import choose as xray_choose
from napari_connecto.widgets.xray import dock as translate
from napari_connecto.widgets.xray import segment as xray_segment
from napari_connecto.widgets.xray import segment_layers
from napari_connecto.widgets.xray.check_jobs import checked_params
from napari_connecto.widgets.xray.choose import SIMULATED, TRAIN
from napari_connecto.widgets.xray.disputed import LAYER
from napari_connecto.widgets.xray.layers import ENTROPY, FADED, MEAN, UNCERTAINTY, WORST, part_name
from napari_connecto.widgets.xray.plots import CalibrationPlot
from napari_connecto.workflows.ood.check import OodCheck
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.recipes.recipe import read_recipe
from napari_connecto.workflows.xray.translate import translate as translate_headless
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Recalibrated, load_translator
from napari_connecto.workflows.xray.trust import worst_regions
from tests import translate_dock_parts, translate_parts
from tests.widgets.adapt_steps import canvas_of
from tests.widgets.adapt_steps import press as press_key

pytestmark = pytest.mark.gl
PART = part_name(MEAN)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (*translate_dock_parts.pair(folder), translate_dock_parts.translator(folder / "tiny"))


@pytest.fixture(scope="module")
def headless(files):
    """What the dock must show: the same translation without it."""
    return translate_headless(open_volume(files[0]), load_translator(files[2], backend="torch"))


@pytest.fixture
def dock(files, viewer, qtbot, monkeypatch, tmp_path):
    def list_job():
        yield Progress(0, 0)
        return {"tiny": files[2]}

    monkeypatch.setattr(translate, "output_folder", lambda: tmp_path / "results")

    def no_models(_library):
        yield Progress(0, 0)
        return {}

    monkeypatch.setattr(xray_choose, "list_job", list_job)
    monkeypatch.setattr(xray_segment, "list_job", no_models)
    data, keywords, _ = layer_data(open_volume(files[0]))
    viewer.add_image(data, **keywords)
    widget = translate.TranslateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="X-ray to EM")
    qtbot.waitUntil(lambda: widget.card.estimate is not None, timeout=60000)
    yield widget
    widget.close_jobs()


def wait(bar, qtbot):
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=120_000)
    assert bar.error.label.text() == ""


def values(layer):
    return np.asarray((layer.data[0] if layer.multiscale else layer.data)[:])


def press(target, key):
    next(act for binding, act in target.keymap.items() if str(binding) == key)(target)


def corner(layer):
    return np.asarray(layer.translate) - np.asarray(layer.scale) / 2


def whole(volume):
    return volume.levels[0].read(volume.levels[0].box)


def test_a_click_ends_in_a_linked_group_of_layers_with_the_headless_numbers(dock, viewer, qtbot, headless):
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    mean, uncertainty = viewer.layers[MEAN], viewer.layers[UNCERTAINTY]
    np.testing.assert_array_equal(values(mean), whole(headless.mean))
    total = np.hypot(whole(headless.aleatoric), whole(headless.epistemic))
    np.testing.assert_array_equal(values(uncertainty), total)
    np.testing.assert_allclose(corner(mean), corner(viewer.layers[0]))
    assert total.min() > 0
    for kind in ("aleatoric", "epistemic"):
        dock.trust.kind.setCurrentText(kind)
        np.testing.assert_array_equal(values(uncertainty), whole(getattr(headless, kind)))
    assert uncertainty.visible
    mean.translate = np.add(mean.translate, [0, 0, 100])
    np.testing.assert_array_equal(uncertainty.translate, mean.translate)
    assert "seams: gradient at tile borders" in dock.trust.report.text()
    assert read_recipe(dock.translating().out / "recipe.yaml")["workflow"] == "translate"


def test_the_card_says_what_run_all_computes(dock):
    estimate = dock.card.estimate
    assert estimate.shape == (48, 48, 160)
    assert estimate.voxel_nm == translate_parts.EM_NM
    assert (estimate.tiles, estimate.passes) == (2, 2)
    text = dock.card.text.text()
    assert "48 × 48 × 160 voxels of 10×10×10 nm, from X-ray of 20×20×20 nm; 2 tiles, 2 passes each" in text
    assert estimate.checking_s == 0  # no boundary model was chosen
    dock.options.form.value = TranslateParams(uncertainty="single")
    assert "Estimating" in dock.card.text.text()


def test_the_card_counts_the_check_after_the_translation(dock, library, qtbot):
    told, show = [], dock.card._picture.show_outlook
    dock.card._picture.show_outlook = lambda cost: told.append(cost) or show(cost)
    use_model(dock, library / "near")
    qtbot.waitUntil(lambda: dock.card.estimate is not None and dock.card.estimate.checking_s > 0, timeout=60000)
    assert [(cost.seconds > 0, cost.checking_s) for cost in told] == [(True, 0)]  # the translation's is known first
    assert "uncertain places" in dock.card.text.text()


def test_a_translator_that_saw_simulated_x_ray_says_so_and_shows_its_calibration(dock):
    assert SIMULATED in dock.translator.simulated.text()
    assert dock.translator.simulated.isVisibleTo(dock)
    assert not dock.translator.plot.isVisibleTo(dock)
    dock.translator.details.unfold()
    assert dock.translator.plot.isVisibleTo(dock)
    peeked = dock.translator.peeked
    assert dict(dock.translator.plot.coverage) == {float(k): v for k, v in peeked.calibration["coverage"].items()}
    assert dock.translator.plot.curves["by_sd"][0] == (0.0, 1.0)
    assert f"PSNR {peeked.about['metrics']['translated']['psnr']:.1f} dB" in dock.translator.figures.text()
    plot, empty = dock.translator.plot, CalibrationPlot()
    empty.resize(plot.size())
    assert plot.grab().toImage() != empty.grab().toImage()
    dock.translator.choose_training()
    assert not dock.translator.simulated.isVisibleTo(dock)
    assert dock.train.isVisibleTo(dock)
    assert not dock.bar.isVisibleTo(dock)


def test_measured_translators_carry_no_notice(dock, tmp_path):
    dock.translator.use(translate_dock_parts.translator(tmp_path / "measured", simulated=False))
    assert not dock.translator.simulated.isVisibleTo(dock)


def test_worst_places_are_listed_framed_and_visited(dock, viewer, qtbot, headless):
    dock.trust.count.setValue(3)
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    expected = worst_regions(headless.aleatoric, headless.epistemic, 3)
    assert dock.trust.regions == expected
    texts = [dock.trust.list.item(i).text() for i in range(dock.trust.list.count())]
    assert all(region.reason in text for region, text in zip(expected, texts, strict=True))
    frames = viewer.layers[WORST]
    assert frames.nshapes == len(expected)
    low, high = np.min(frames.data[0], axis=0), np.max(frames.data[0], axis=0)
    np.testing.assert_allclose(low[1:] + 0.5, expected[0].box.start[1:])
    np.testing.assert_allclose(high[1:] + 0.5, expected[0].box.stop[1:])
    for index in (0, 1, 0):
        dock.trust.step(1 if index else (-1 if dock.trust.list.currentRow() == 1 else 1))
        assert dock.trust.list.currentRow() == index
        centre = np.array(expected[index].centre_nm)
        seen = np.array([viewer.dims.point[-3], *viewer.scene.camera.center[-2:]])
        assert np.abs(seen - centre).max() <= max(translate_parts.XRAY_NM)
    dock.trust.count.setValue(1)
    dock.trust.again.click()
    qtbot.waitUntil(lambda: len(dock.trust.regions) == 1, timeout=10000)
    assert viewer.layers[WORST].nshapes == 1


def test_keys_step_through_the_worst_places_until_the_layer_is_gone(dock, viewer, qtbot):
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    press(viewer, "N")
    assert dock.trust.list.currentRow() == 0
    press(viewer.layers[MEAN], "P")
    assert dock.trust.list.currentRow() == len(dock.trust.regions) - 1
    viewer.layers.remove(MEAN)
    assert not {"N", "P"} & {str(key) for key in viewer.keymap}
    assert not dock.trust.next.isEnabled()


def test_the_uncertainty_that_is_named_can_be_chosen_and_the_report_is_never_clipped(dock, viewer, qtbot):
    """The layer is hidden at first: choosing the first entry shows it, though the text does not change."""
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    assert not viewer.layers[UNCERTAINTY].visible
    dock.trust.kind.activated.emit(dock.trust.kind.currentIndex())
    assert viewer.layers[UNCERTAINTY].visible
    dock.trust.details.unfold()
    dock.trust.report.setText("a line of a report that does not fit into one line of the dock\n" * 6)
    dock.trust.resize(340, 900)
    dock.trust.layout().activate()
    report = dock.trust.report
    qtbot.waitUntil(lambda: report.height() >= report.heightForWidth(report.width()), timeout=5000)


def test_a_translation_whose_layers_are_removed_is_let_go(dock, viewer, qtbot):
    """Only its X-ray: there is still something to judge. Both: the dock shows what it shows before a translation."""
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    viewer.layers.remove(viewer.layers[0])
    assert dock.trust.alive
    assert dock.trust.isVisibleTo(dock)
    viewer.layers.remove(MEAN)
    assert (dock._running, dock.trust.layers, dock.segment.shown.source) == (None, None, None)
    assert not dock.trust.isVisibleTo(dock)
    assert not dock.disputed.isVisibleTo(dock)
    assert not dock.segment.bar.button.isEnabled()


def test_keys_work_on_the_canvas_and_in_the_dock(dock, viewer, qtbot):
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    trust, canvas = dock.trust, canvas_of(viewer, qtbot)
    assert len(trust.regions) > 1
    for active in (trust.layers.mean, dock.image.layer):
        viewer.layers.selection.active = active
        for widget in (canvas, trust.list, trust.kind, trust.next):
            widget.setFocus()  # Qt chooses the first row of a list that gets the focus
            trust.list.setCurrentRow(-1)
            rows = []
            for key in (Qt.Key.Key_N, Qt.Key.Key_N, Qt.Key.Key_P):
                press_key(widget, key)
                rows.append(trust.list.currentRow())
            assert rows == [0, 1, 0], type(widget).__name__


def test_the_image_fades_where_it_is_not_certain(dock, viewer, qtbot, headless):
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    total = np.hypot(whole(headless.aleatoric), whole(headless.epistemic))
    dock.trust.limit.setValue(float(np.median(total)))
    dock.trust.fade.setChecked(True)
    limit = dock.trust.limit.value()
    assert limit == pytest.approx(np.median(total))
    assert (viewer.layers[FADED].visible, viewer.layers[MEAN].visible) == (True, False)
    rgba = values(viewer.layers[FADED])
    alpha = np.clip(2 - total / limit, 0, 1)
    assert np.abs(rgba[..., 3] / 255 - alpha).max() <= 1 / 255
    grey = np.clip(whole(headless.mean), 0, 1)
    assert np.abs(rgba[..., 0] / 255 - grey).max() <= 1 / 255
    dock.trust.fade.setChecked(False)
    assert (viewer.layers[FADED].visible, viewer.layers[MEAN].visible) == (False, True)


def use_model(dock, folder):
    """List one boundary model and choose it."""
    dock.segment.model.clear()
    dock.segment._on_listed({"near": folder})
    dock.segment.model.setCurrentText("near")


def test_what_is_not_certain_is_left_out_of_the_segments(dock, viewer, qtbot, library, monkeypatch, headless):
    use_model(dock, library / "near")
    dock.segment.form.change(mode="2d")
    with pytest.raises(translate.InputError, match="nothing is translated yet"):
        dock.segment.tasks()
    compare = dock.segment.bar.button
    assert not compare.isEnabled()
    assert "press Preview in view" in compare.toolTip()
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    assert compare.isEnabled()
    dock.segment.where.setCurrentText("Everywhere")
    compare.click()
    wait(dock.segment.bar, qtbot)
    raw, made = (viewer.layers[name] for name in segment_layers.NAMES)
    assert values(raw).max() > 1
    assert values(made).max() > 1
    raw.opacity = 0.3
    assert made.opacity == 0.3
    assert (raw.visible, made.visible) == (False, True)  # one over the other, their colours would mix
    np.testing.assert_allclose(made.extent.world, viewer.layers[MEAN].extent.world, atol=15)
    before, limit = values(made), dock.trust.limit
    limit.setValue(limit.minimum())
    dock.segment.leave.setChecked(True)
    total = np.hypot(whole(headless.aleatoric), whole(headless.epistemic))
    assert limit.minimum() == pytest.approx(np.percentile(total, 5), rel=1e-4)
    left = values(made)
    np.testing.assert_array_equal(left, np.where(total <= np.float32(limit.value()), before, 0))
    assert 0 < (left > 0).sum() < (before > 0).sum()
    assert "are at least partly certain" in dock.segment.about.text()
    limit.setValue(limit.maximum())
    np.testing.assert_array_equal(values(made), before)
    monkeypatch.setattr(dock.segment._trust.limit, "value", lambda: 1e-9)
    dock.segment._mask()
    assert "No EM-like segment is certain enough: raise 'Certain to sd'" in dock.segment.about.text()
    dock.segment.leave.setChecked(False)
    np.testing.assert_array_equal(values(made), before)
    home = np.array(viewer.layers[MEAN].translate)
    seen = viewer.scene.camera
    seen.zoom, seen.center = 3.0, (0.0, 50.0, 60.0)
    dock.segment.aside.setChecked(True)
    assert raw.visible
    right = np.array(viewer.layers[MEAN].translate)
    np.testing.assert_allclose(right - home, [0, 0, 80 * 1.14 * 20])
    np.testing.assert_allclose(made.extent.world[0], viewer.layers[MEAN].extent.world[0], atol=15)
    dock.segment.aside.setChecked(False)
    np.testing.assert_allclose(viewer.layers[MEAN].translate, home)
    assert not raw.visible
    assert (seen.zoom, tuple(seen.center)[-2:]) == (3.0, (50.0, 60.0))  # the place that was looked at


@pytest.mark.slow
def test_where_passes_disagree_is_a_layer_and_the_list_of_places(dock, files, viewer, qtbot, library):
    from napari_connecto.models.files import load_model
    from napari_connecto.workflows.xray.membranes import membranes

    use_model(dock, library / "near")
    dock.disputed.bar.button.click()
    assert "nothing is translated yet" in dock.disputed.bar.error.label.text()
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    dock.segment.where.setCurrentText("Everywhere")
    places = list(dock.trust.regions)
    assert places
    dock.trust.count.setValue(2)
    dock.disputed.bar.button.click()
    wait(dock.disputed.bar, qtbot)
    translator = load_translator(files[2], backend="torch")
    expected = membranes(open_volume(files[0]), translator, load_model(library / "near", backend="torch"))
    layer = viewer.layers[LAYER]
    np.testing.assert_array_equal(values(layer), whole(expected.sd))
    np.testing.assert_allclose(layer.extent.world, viewer.layers[MEAN].extent.world, atol=15)
    assert list(dock.trust.regions) == places  # the list of places stays as it is
    assert "passes disagree" not in dock.trust.list.item(0).text()
    assert len(dock.disputed.regions) == 2
    assert "passes disagree about membranes" in dock.disputed.list.item(0).text()
    assert "0 to 0.5" in dock.disputed.about.text()
    dock.disputed.list.setCurrentRow(0)
    seen = np.array([viewer.dims.point[-3], *viewer.scene.camera.center[-2:]])
    assert np.abs(seen - dock.disputed.regions[0].centre_nm).max() <= max(translate_parts.XRAY_NM)


def test_cancel_does_not_wait_for_a_forward_pass_and_resume_goes_on(dock, viewer, qtbot, monkeypatch, headless):
    under_way, go_on = threading.Event(), threading.Event()
    real = Recalibrated.__call__

    def slow(self, batch, seeds):
        under_way.set()
        assert go_on.wait(60)
        return real(self, batch, seeds)

    monkeypatch.setattr(Recalibrated, "__call__", slow)
    dock.bar.button.click()
    qtbot.waitUntil(under_way.is_set, timeout=60000)
    out = dock.translating().out
    dock.bar.button.click()
    assert not dock.bar.worker.state.busy  # though the pass has not ended
    assert dock.bar.button.text() == "Resume"
    dock.bar.button.click()
    qtbot.waitUntil(lambda: dock.bar.status.text() == "finishing current tiles", timeout=5000)
    assert dock.translating().out == out
    go_on.set()
    wait(dock.bar, qtbot)
    np.testing.assert_array_equal(values(viewer.layers[MEAN]), whole(headless.mean))


def stages(bar):
    """What a job reports, in order, each once."""
    seen = []
    bar.worker.reported.connect(lambda progress, _: progress.stage in seen or seen.append(progress.stage))
    return seen


def test_a_preview_translates_what_is_in_view_and_run_all_the_rest(dock, viewer, qtbot, headless):
    viewer.scene.camera.center = (240, 200)
    viewer.scene.camera.zoom = min(viewer.canvas.size) / 400
    seen = stages(dock.bar)
    dock.preview.click()
    wait(dock.bar, qtbot)
    assert "comparing with the training data" not in seen
    done = ~np.isnan(values(viewer.layers[PART]))
    assert done[..., :96].all()  # the tile that is touched
    assert not done[..., 96:].any()
    assert viewer.layers.selection.active == viewer.layers[0]
    count = len(viewer.layers)
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.folders = {"x": dock.translator.folder}
    dock.segment.model.addItem("x")
    dock.segment.model.setCurrentText("x")
    with pytest.raises(translate.InputError, match="only a part is translated; press Run all first"):
        dock.segment.tasks()
    dock.segment.where.setCurrentText("In view")
    level = dock.segment.tasks()[1].volume.levels[0]
    assert level.shape[0] == 48
    assert level.to_nm(level.shape)[2] <= 960  # and no voxel that is not translated
    viewer.scene.camera.center = (240, 1400)
    with pytest.raises(translate.InputError, match="the middle of the view is not translated"):
        dock.segment.tasks()
    dock.segment.model.setCurrentText("none")
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    assert len(viewer.layers) == count
    np.testing.assert_array_equal(values(viewer.layers[MEAN]), whole(headless.mean))


def pixels(viewer):
    """The canvas, all of the X-ray in it from left to right."""
    viewer.scene.camera.center = (240, 800)
    viewer.scene.camera.zoom = viewer.canvas.size[1] / 1700
    QApplication.processEvents()
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def test_what_is_not_translated_lets_the_x_ray_show(dock, viewer, qtbot):
    window = viewer.__wrapped__.window._qt_window
    with qtbot.waitExposed(window):
        window.show()
    viewer.scene.camera.center, viewer.scene.camera.zoom = (240, 200), min(viewer.canvas.size) / 400
    dock.preview.click()
    wait(dock.bar, qtbot)
    viewer.layers.remove(WORST)
    mean = viewer.layers[PART]
    made = pixels(viewer)
    mean.visible = False
    plain = pixels(viewer)
    height, width = plain.shape[:2]
    right, left = (
        np.s_[height // 2 - 5 : height // 2 + 5, width * a // 8 : width * b // 8] for a, b in ((5, 7), (1, 4))
    )
    assert plain[right].std() > 10
    np.testing.assert_array_equal(made[right], plain[right])
    assert np.abs(made[left] - plain[left]).mean() > 5


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_a_translation_that_ends_before_its_first_tile_leaves_no_layer(dock, viewer, qtbot, monkeypatch, how):
    go_on = threading.Event()

    def stuck(self, batch, seeds):
        assert go_on.wait(60)
        raise translate.InputError("got 3; allowed 1 to 2; choose less")

    monkeypatch.setattr(Recalibrated, "__call__", stuck)
    before = [layer.name for layer in viewer.layers]
    out = dock.translating().out
    dock.preview.click()
    qtbot.waitUntil(lambda: (out / "mean.zarr").is_dir(), timeout=60000)
    if how == "cancelled":
        dock.bar.button.click()
    go_on.set()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=60000)
    qtbot.wait(200)
    assert [layer.name for layer in viewer.layers] == before
    assert viewer.layers.selection.active == viewer.layers[0]
    assert dock.trust.layers is None


def test_a_translation_that_fails_leaves_the_one_before_to_look_at(dock, viewer, qtbot, monkeypatch):
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    names = [layer.name for layer in viewer.layers]
    dock.options.form.value = TranslateParams(uncertainty="single")

    def broken(self, batch, seeds):
        raise translate.InputError("got 3; allowed 1 to 2; choose less")

    monkeypatch.setattr(Recalibrated, "__call__", broken)
    qtbot.waitUntil(lambda: dock.card.estimate is not None or dock.card.error.isVisibleTo(dock), timeout=60000)
    dock.bar.block("")
    dock.bar.button.click()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=60000)
    assert "choose less" in dock.bar.error.label.text()
    assert [layer.name for layer in viewer.layers] == names
    dock.trust.next.click()
    assert dock.trust.list.currentRow() == 0


def test_an_image_unlike_the_training_data_asks_once(dock, viewer, qtbot, monkeypatch):
    asked, answers = [], [False, True]

    def check_job(what):
        yield Progress(0, 0)
        return OodCheck("tiny", Judgement(np.ones(8), np.ones(8), np.ones(8, bool), 0.05))

    def run_anyway(_parent, sentence):
        asked.append(sentence)
        return answers[len(asked) - 1]

    monkeypatch.setattr(translate, "check_job", check_job)
    monkeypatch.setattr(estimate_card, "run_anyway", run_anyway)
    dock.options.changed.emit()
    qtbot.waitUntil(lambda: dock.card.check is not None, timeout=30000)
    dock.bar.button.click()
    assert not dock.bar.worker.state.busy
    for _ in range(2):
        dock.bar.button.click()
        wait(dock.bar, qtbot)
    assert len(asked) == 2
    assert asked[0].startswith("8 of 8 tiles are out of distribution for 'tiny'")
    told = json.loads((dock.translating().out / "ood_check.json").read_text())
    assert told["answer"] == "run anyway"
    assert MEAN in viewer.layers


def test_the_same_from_the_command_line(dock, files):
    dock.options.copy.click()
    words = QApplication.clipboard().text().split()
    assert words[:3] == ["napari-connecto", "translate", str(files[0])]
    assert words[words.index("--translator") + 1] == str(files[2])
    assert words[-2:] == ["--backend", "torch"]
    dock.options.form.value = TranslateParams(uncertainty="flips")
    dock.options.copy.click()
    assert QApplication.clipboard().text().endswith("--uncertainty flips")
    dock.options.run_on.where.setCurrentText(WORKERS)
    dock.options.copy.click()
    assert QApplication.clipboard().text().endswith("--uncertainty flips --workers 2")


def test_a_cluster_that_is_not_there(dock, qtbot):
    dock.options.run_on.where.setCurrentText(CLUSTER)
    dock.options.run_on.address.setText("tcp://127.0.0.1:9")
    dock.bar.button.click()
    qtbot.waitUntil(lambda: not dock.bar.worker.state.busy, timeout=60_000)
    assert dock.bar.error.label.text().startswith("cannot reach a Dask scheduler at 'tcp://127.0.0.1:9'")


def show(dock, viewer, qtbot, data, **keywords):
    viewer.add_image(data, **keywords)
    dock.image.layers.setCurrentText(keywords["name"])
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == keywords["name"], timeout=20000)
    qtbot.waitUntil(lambda: dock.card.error.isVisibleTo(dock), timeout=20000)
    return dock.card.error.label.text()


def test_bad_input_is_one_clear_line(dock, viewer, qtbot):
    cube = np.zeros((8, 32, 32), np.uint8)
    text = show(
        dock, viewer, qtbot, np.zeros((8, 32, 32, 3), np.uint8), rgb=True, name="rgb", scale=(40,) * 3, units="nm"
    )
    assert text.startswith("got 3 channels, the model 'tiny' takes 1")
    text = show(dock, viewer, qtbot, cube, name="coarse", scale=(400,) * 3, units="nm")
    assert "has voxels of 400 x 400 x 400 nm, model 'tiny' needs 10 x 10 x 10 nm" in text
    assert dock.card.fix.text() == "Set the voxel size…"
    dock.card.fix.click()
    assert dock.image.correct.isChecked()
    viewer.add_image(cube, name="no unit")
    dock.image.layers.setCurrentText("no unit")
    qtbot.waitUntil(lambda: "states no unit" in dock.image.correct.text(), timeout=10000)


def test_training_wants_another_em_with_a_unit(dock, viewer, qtbot):
    dock.translator.choose_training()
    with pytest.raises(translate.InputError, match="no EM beside the X-ray"):
        dock.train.training()
    viewer.add_image(np.zeros((8, 32, 32), np.uint8), name="em")
    dock.train.em.setCurrentText("em")
    with pytest.raises(translate.InputError, match="EM layer 'em' states no unit"):
        dock.train.training()
    viewer.layers["em"].units = "nm"
    first = dock.train.training()
    assert first.em.voxel_nm == (1.0, 1.0, 1.0)
    dock.train._last = first
    assert dock.train.training().out == first.out
    dock.train.preset.setCurrentText("Quick")
    dock.train.preset.activated.emit(0)
    assert dock.train.form.value.members == 2
    assert dock.train.preset.currentText() == "Quick"
    dock.train.form.value = replace(dock.train.form.value, seed=3)
    assert dock.train.preset.currentText() == "Custom"
    assert dock.train.training().params.steps == 150


def test_figures_of_a_training_say_of_what_and_go_with_its_image(dock, viewer, qtbot):
    assert dock.translator.figures.text().startswith("In training, on a held-out block of 'xray' and 'em': PSNR")
    dock.train.about.setText("PSNR 30 dB")
    dock.train.bar.say("Done at 10:00.")
    viewer.add_image(np.zeros((8, 32, 32), np.uint8), name="other", scale=(20,) * 3, units="nm")
    dock.image.layers.setCurrentText("other")
    assert dock.train.about.text() == ""
    assert not dock.train.bar.status.isVisibleTo(dock.train)


def test_the_result_names_its_image_and_the_pair_of_the_training(dock, viewer, qtbot):
    dock.preview.click()
    wait(dock.bar, qtbot)
    lines = dock.trust.report.text().splitlines()
    assert lines[0].startswith("• EM-like (from X-ray) of 'xray': (48, 48, 160) voxels by 'tiny'")
    assert lines[-1].startswith("• in training, on a held-out block of 'xray' and 'em': PSNR")


def test_the_dock_fits_a_laptop(dock):
    assert dock.minimumSizeHint().height() <= 600
    assert dock.scroller.widget().minimumSizeHint().width() <= 380
    for child in (dock.preview, dock.trust.list, dock.trust.limit, dock.segment.leave, dock.train.stop):
        assert child.toolTip()
    assert TRAIN in [dock.translator.combo.itemText(i) for i in range(dock.translator.combo.count())]


def test_a_checked_translation_lists_places_with_pictures_and_segments_with_their_uncertainty(
    dock, viewer, qtbot, library, headless
):
    """One click: uncertain membranes as a layer, places with crops, segments with a table, as from the library."""
    from napari_connecto.models.files import load_model
    from napari_connecto.workflows.xray.check.check import check_translation
    from napari_connecto.workflows.xray.check.compare import compared

    use_model(dock, library / "near")
    dock.trust.count.setValue(2)
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    xray = open_volume(dock.translating().volume.source)
    expected = check_translation(
        headless, load_model(library / "near", backend="torch"), checked_params(library / "near"), xray=xray, places=2
    )
    np.testing.assert_array_equal(values(viewer.layers[ENTROPY]), whole(expected.entropy))
    made = viewer.layers[segment_layers.NAMES[1]]
    np.testing.assert_array_equal(values(made), whole(expected.labels))
    np.testing.assert_allclose(made.features["uncertainty"], expected.certainty.segments["uncertainty"])
    np.testing.assert_array_equal(made.features["index"], expected.certainty.segments["label"])
    assert [r.reason for r in dock.trust.regions] == [p.reason for p in expected.places]
    assert [r.box for r in dock.trust.regions] == [p.box for p in expected.places]
    assert not dock.trust.list.item(0).icon().isNull()
    shares = dock.trust.strip.shares
    assert sum(shares[:3]) == pytest.approx(1)
    assert 0 <= shares.uncertain <= 1
    dock.trust.list.setCurrentRow(1)
    seen = np.array([viewer.dims.point[-3], *viewer.scene.camera.center[-2:]])
    assert np.abs(seen - expected.places[1].centre_nm).max() <= max(translate_parts.XRAY_NM)

    before = {layer.name for layer in viewer.layers if layer.visible}
    dock.trust.views.click()
    assert viewer.canvas.grid.enabled
    assert {layer.name for layer in viewer.layers if layer.visible} == {"xray", MEAN, ENTROPY}
    assert viewer.canvas.grid.actual_shape(viewer.layers) == (1, 3)
    assert {layer.name for layer in viewer.layers if layer.name_overlay.visible} == {"xray", MEAN, ENTROPY}
    dock.trust.views.click()
    assert not viewer.canvas.grid.enabled
    assert {layer.name for layer in viewer.layers if layer.visible} == before
    assert not any(layer.name_overlay.visible for layer in viewer.layers)

    blocks = np.indices(whole(expected.labels).shape).max(axis=0).astype(np.uint32) // 20 + 1
    truth = viewer.add_labels(blocks, name="truth", scale=made.scale, translate=made.translate, units=made.units)
    dock.segment.truth.choose(truth)
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.bar.button.click()
    wait(dock.segment.bar, qtbot)
    grid = expected.labels.levels[0]
    known = replace(expected.labels, levels=(replace(grid, array=blocks),))
    found = compared(*(dock.segment.shown.labels[name] for name in segment_layers.NAMES), known)
    assert [bar.text for bar in dock.segment.bars.bars] == [f"{vi.total:.2f} bits" for vi in found.truth.values()]
    assert found.truth["EM-like"].total > 0.5
    assert dock.segment.about.text() == found.sentence
