"""The dock "Inspect a model" in a real viewer: what is chosen, painted, asked, shown and stopped."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from torch import no_grad
from torch.nn import Conv2d

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.taps import network
from napari_connecto.widgets.inspect import dock as inspect_dock
from napari_connecto.widgets.inspect import smaller as smaller_tab
from napari_connecto.widgets.inspect import trust as trust_tab
from napari_connecto.widgets.inspect.knows import PLACES, SCORE, SCRIBBLES
from napari_connecto.widgets.inspect.missed import BETTER_MODEL, PAINT
from napari_connecto.widgets.inspect.trust import ALL, ERROR
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.guard.fit import fit_guard
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.why_missed import why_missed
from napari_connecto.workflows.inspect.probe import probe
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.shared.whole import answers

pytestmark = pytest.mark.gl
FEW = MissedParams(tiles=1, exact=6, draws=1)


@pytest.fixture(scope="module")
def images(files):
    """One section of the neuropil, faint and clear, as volumes of one level."""
    level = open_volume(files[0]).levels[0]
    clear = np.asarray(level.read(Box((0, 0, 0), (1, 128, 128))))
    faint = (clear * 0.3 + 100).astype(clear.dtype)
    faint[:, :2, :2], faint[:, -2:, -2:] = 0, 255  # the same range, so that percentiles leave it faint
    return tuple(Volume((Level(a, level.voxel_nm),), name=n) for a, n in ((faint, "faint"), (clear, "clear")))


@pytest.fixture
def dock(files, images, viewer, qtbot, monkeypatch, tmp_path):
    for tab in (trust_tab, smaller_tab):
        monkeypatch.setattr(tab, "output_folder", lambda: tmp_path / "results")
    for volume in images:
        data, keywords, _ = layer_data(volume)
        viewer.add_image(data, **keywords)
    widget = inspect_dock.InspectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Inspect a model")
    for name in ("far", "near"):
        widget.model.use(files[2] / name)
    widget.image.layers.choose(viewer.layers["faint"])
    qtbot.waitUntil(lambda: widget.image.full is not None and not widget.image.opening, timeout=10_000)
    widget.missed.form.value = FEW
    yield widget
    widget.close_jobs()


def painted(dock, viewer, files, images) -> np.ndarray:
    """Paint where the clear image answers most more than the faint one, and where least."""
    model = load_model(files[2] / "near", backend="torch")
    faint, clear = (
        answers(model, model.card.normalisation.resolve(v)(np.asarray(v.levels[0].array)))["boundary"] for v in images
    )
    dock.missed.paint.click()
    labels = viewer.layers[PAINT]
    rise = clear - faint
    labels.data = np.where(rise > np.quantile(rise, 0.9), 1, np.where(rise < np.quantile(rise, 0.1), 2, 0))
    return np.asarray(labels.data)


def settle(bar, qtbot) -> None:
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=120_000)


def test_why_missed_shows_what_the_library_says(dock, viewer, files, images, qtbot) -> None:
    labels = painted(dock, viewer, files, images)
    assert viewer.layers[PAINT].mode == "paint"
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.better.choose(viewer.layers["clear"])
    dock.missed.bar.button.click()
    settle(dock.missed.bar, qtbot)
    assert dock.missed.bar.error.label.text() == ""
    model = load_model(files[2] / "near", backend="torch")
    expected = why_missed(model, *images, labels == 1, labels == 2, FEW)
    shown = [bar.share for bar in dock.missed.profile.bars]
    assert shown == pytest.approx([stage.restored for stage in expected.stages], abs=1e-4)
    assert dock.missed.profile.bars[0].text == "100 %"
    curve = dict(dock.missed.curves.together["gradient"])
    assert curve == pytest.approx(dict(expected.total.together["gradient"]), abs=1e-4)
    assert "restored by all channels" not in dock.missed.about.text()
    assert "gap" in dock.missed.details.text()
    top = expected.total.carriers[0]
    assert {"bad", "good", "restored", f"{top.place}-{top.channel} difference"} <= {x.name for x in viewer.layers}
    bad = viewer.layers["bad"]
    assert (bad.data.min(), bad.data.max()) == pytest.approx((0, 1), abs=1)
    here = np.asarray(bad.world_to_data(viewer.layers["faint"].data_to_world((0, 0, 0))))
    np.testing.assert_allclose(here[1:] % 64, 0, atol=1e-6)  # it starts where a tile starts


def test_a_better_model_is_chosen_among_the_others(dock, viewer, files, images, qtbot) -> None:
    painted(dock, viewer, files, images)
    dock.missed.against.setCurrentText(BETTER_MODEL)
    names = [dock.missed.other.itemText(i) for i in range(dock.missed.other.count())]
    assert not any(name.startswith("near") for name in names)
    dock.missed.other.setCurrentText(next(name for name in names if name.startswith("far")))
    *_, asked = dock.missed.explaining()
    assert (asked.model, asked.better) == (files[2] / "near", files[2] / "far")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dock, viewer: None, "nothing is painted; press 'New layer to paint' and paint 1 and 2"),
        (lambda dock, viewer: dock.missed.paint.click(), "no better image is chosen"),
    ],
)
def test_what_is_lacking_is_said(dock, viewer, change, message) -> None:
    change(dock, viewer)
    dock.missed.bar.button.click()
    assert message in dock.missed.bar.error.label.text()


def test_a_job_that_fails_tells_the_user(dock, viewer, qtbot) -> None:
    dock.missed.paint.click()
    dock.missed.better.choose(viewer.layers["clear"])
    dock.missed.bar.button.click()
    settle(dock.missed.bar, qtbot)
    assert "got no pixel painted as missed; paint some" in dock.missed.bar.error.label.text()
    assert dock.missed.profile.isHidden()


def test_cancel_leaves_nothing(dock, viewer, files, images, qtbot) -> None:
    painted(dock, viewer, files, images)
    dock.missed.better.choose(viewer.layers["clear"])
    before = list(viewer.layers)
    dock.missed.bar.button.click()
    dock.missed.bar.button.click()
    settle(dock.missed.bar, qtbot)
    assert dock.missed.bar.worker.state.name == "CANCELLED"
    assert list(viewer.layers) == before


def test_a_model_without_a_guard_offers_to_fit_one(dock) -> None:
    dock.tabs.setCurrentWidget(dock.trust)
    assert not dock.trust.bar.button.isEnabled()
    assert "the model has no guard" in dock.trust.bar.button.toolTip()
    assert not dock.trust.fit.isHidden()
    dock.trust.fit.button.click()
    assert "no labels are chosen" in dock.trust.fit.error.label.text()


@pytest.fixture(scope="module")
def guarded(files, tmp_path_factory) -> Path:
    """The near domain with a guard that learnt next to nothing."""
    folder = tmp_path_factory.mktemp("guarded") / "near"
    shutil.copytree(files[2] / "near", folder)
    model = load_model(folder, backend="torch")
    image = open_volume(files[0]).levels[0]
    pair = (np.asarray(image.read(image.box)), files[1])
    few = GuardParams(label_kind="em", scenes=8, pairs=16, steps=2, tiles=40, false_alarm=0.3)
    fit_guard(model, [pair], few).save(folder)
    return folder


def test_trust_shows_the_light_the_error_map_and_where_to_look(dock, viewer, guarded, qtbot) -> None:
    dock.model.use(guarded)
    dock.tabs.setCurrentWidget(dock.trust)
    dock.trust.where.setCurrentText(ALL)
    dock.image.layers.choose(viewer.layers["clear"])
    qtbot.waitUntil(lambda: dock.image.full is not None and not dock.image.opening, timeout=10_000)
    assert dock.trust.fit.isHidden()
    checks = []
    dock.trust.bar.worker.returned.connect(checks.append)
    dock.trust.bar.button.click()
    settle(dock.trust.bar, qtbot)
    assert dock.trust.bar.error.label.text() == ""
    [check] = checks
    layer = viewer.layers[ERROR]
    level = check.error.levels[0]
    np.testing.assert_array_equal(np.asarray(layer.data[0] if layer.multiscale else layer.data), level.read(level.box))
    assert check.lines()[0] in dock.trust.light.text()
    assert dock.trust.worst.count() == len(check.worst) > 0
    dock.trust.worst.itemClicked.emit(dock.trust.worst.item(0))
    clear = viewer.layers["clear"]
    here = clear.world_to_data([viewer.dims.point[0], *viewer.scene.camera.center[-2:]])
    expected = level.to_voxels(check.worst[0].centre_nm) - 0.5
    np.testing.assert_allclose(here[1:], expected[1:], atol=0.51)


@pytest.fixture
def clear(dock, viewer, qtbot):
    """The clear image chosen and in view."""
    dock.image.layers.choose(viewer.layers["clear"])
    qtbot.waitUntil(lambda: dock.image.full is not None and not dock.image.opening, timeout=10_000)
    viewer.reset_view()
    return viewer.layers["clear"]


def test_scribbles_become_a_score_of_what_is_in_view(dock, viewer, files, images, clear, qtbot) -> None:
    dock.tabs.setCurrentWidget(dock.knows)
    dock.knows.paint.click()
    labels = viewer.layers[SCRIBBLES]
    drawn = np.where(files[1][:1, :128, :128] == 1, 2, 1).astype(np.uint8)
    drawn[:, ::2] = 0
    labels.data = drawn
    dock.knows.bar.button.click()
    settle(dock.knows.bar, qtbot)
    assert dock.knows.bar.error.label.text() == ""
    layer = viewer.layers[SCORE]
    score = np.asarray(layer.data[0] if layer.multiscale else layer.data, float)
    model = load_model(files[2] / "near", backend="torch")
    classifier = probe(model, images[1], drawn)
    image = model.card.normalisation.resolve(images[1])(np.asarray(images[1].levels[0].array))
    seen = score > 0
    assert seen.any()
    np.testing.assert_allclose(score[seen] / 255, answers(classifier, image)["object"][seen], atol=0.02)
    assert "Average precision on strokes left out" in dock.knows.about.text()


def test_stages_are_read_beside_their_controls(dock, viewer, files, images, clear, qtbot) -> None:
    odd = (files[1][:1, :128, :128] % 2).astype(np.uint8)
    mask = viewer.add_labels(odd, name="odd", scale=clear.scale)
    mask.units, mask.translate = clear.units, clear.translate
    dock.knows.form.value = ConceptParams(
        autoencoder=False, untrained=1, pixels=1000, sections=1, block=16, gap=4, ablation=False
    )
    dock.knows.labels.choose(mask)
    dock.knows.stages.button.click()
    settle(dock.knows.stages, qtbot)
    assert dock.knows.stages.error.label.text() == ""
    bars = {bar.name: bar for bar in dock.knows.plot.bars}
    assert set(bars) == {"encoder.1", "encoder.2", "encoder.3", "decoder.1", "decoder.2", "decoder.3"}
    assert all(0 <= bar.share <= 1 and bar.mark is not None for bar in bars.values())
    assert "Odd: read best in" in dock.knows.details.text()
    assert len(viewer.layers[PLACES].data) > 0


def test_a_smaller_model_is_saved_shown_and_chosen(dock, clear, qtbot) -> None:
    dock.tabs.setCurrentWidget(dock.smaller)
    dock.smaller.form.value = PruneParams(places=2, size=32, steps=1, batch=1)
    dock.smaller.bar.button.click()
    settle(dock.smaller.bar, qtbot)
    assert dock.smaller.bar.error.label.text() == ""
    rows = {bar.name: bar for bar in dock.smaller.plot.bars}
    assert rows["weights, original"].share == 1
    assert 0.1 < rows["weights, smaller"].share < 0.5
    before = load_model(dock.model.folder, backend="torch")
    dock.smaller.use.click()
    small = load_model(dock.model.folder, backend="torch")
    assert small.card.parent == before.card.digest
    assert rows["file, smaller"].text == f"{len(small.weights) / 1000:,.0f} kB"


def test_a_planted_fault_is_named(dock, viewer, files, images, clear, qtbot, tmp_path) -> None:
    """The kernel of one channel is turned and made larger; the healthy model is the better one."""
    healthy = load_model(files[2] / "near", backend="torch")
    place = network(healthy).taps["encoder.1"]
    net = deepcopy(healthy.net)
    conv = next(m for m in net.modules() if isinstance(m, Conv2d) and m.out_channels == place.channels)
    with no_grad():
        conv.weight[5] = -3 * conv.weight[5].flip(-1)
    save_model(TorchPredictor(healthy.card, net, "cpu"), tmp_path / "faulty")
    ill = load_model(tmp_path / "faulty", backend="torch")
    scaled = healthy.card.normalisation.resolve(images[1])(np.asarray(images[1].levels[0].array))
    rise = answers(healthy, scaled)["boundary"] - answers(ill, scaled)["boundary"]
    dock.model.use(tmp_path / "faulty")
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.paint.click()
    labels = np.where(rise > np.quantile(rise, 0.9), 1, np.where(rise < np.quantile(rise, 0.1), 2, 0))
    viewer.layers[PAINT].data = labels.astype(np.uint8)
    dock.missed.against.setCurrentText(BETTER_MODEL)
    names = [dock.missed.other.itemText(i) for i in range(dock.missed.other.count())]
    dock.missed.other.setCurrentText(next(name for name in names if name.startswith("near")))
    dock.missed.bar.button.click()
    settle(dock.missed.bar, qtbot)
    assert dock.missed.bar.error.label.text() == ""
    assert "These channels carry it: encoder.1:5" in dock.missed.about.text()
