"""The dock "Inspect a model" in a real viewer: what is chosen, painted, asked, shown and stopped."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")


from qtpy.QtCore import QRectF

from napari_connecto.core.jobs import run
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model
from napari_connecto.widgets.inspect.attack_box import FLIPPED, KEPT, PATTERN, verdict
from napari_connecto.widgets.inspect.detectors import models_job
from napari_connecto.widgets.inspect.knows import PLACES, SCORE, SCRIBBLES
from napari_connecto.widgets.inspect.missed import BETTER_MODEL, PAINT
from napari_connecto.widgets.inspect.missed_jobs import Attacked
from napari_connecto.widgets.inspect.restore import LIVE
from napari_connecto.widgets.inspect.trust import ALL
from napari_connecto.widgets.shared.error_map import ERROR
from napari_connecto.widgets.shared.painted.bars import Bar
from napari_connecto.widgets.shared.painted.heat import HEAD, ROW
from napari_connecto.workflows.cascade.document import FORMAT
from napari_connecto.workflows.inspect.concepts.measure import concepts
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.guard.fit import fit_guard
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.missed.why_missed import why_missed
from napari_connecto.workflows.inspect.probe import probe
from napari_connecto.workflows.shared.whole import answers
from tests.widgets.inspect.conftest import FEW
from tests.widgets.inspect.steps import pressed, settle

pytestmark = pytest.mark.gl


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


def test_a_restored_tile_follows_the_number_of_channels_and_the_view(dock, viewer, files, images, qtbot) -> None:
    """Without a channel it is the bad run, with all of the ranking's it is nearer to the good one, to the last bit of
    the library's; another place on screen is another tile."""
    painted(dock, viewer, files, images)
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.better.choose(viewer.layers["clear"])
    dock.missed.bar.button.click()
    settle(dock.missed.bar, qtbot)
    box, bad, good = dock.missed.restore, *(np.asarray(viewer.layers[n].data) for n in ("bad", "good"))
    middle = viewer.layers["bad"].data_to_world(np.array(bad.shape) / 2)
    viewer.scene.camera.zoom = 12 / viewer.layers["bad"].scale[-1]
    viewer.scene.camera.center = (0, *middle[1:])

    def shown(channels: int) -> np.ndarray:
        done: list[object] = []
        box.worker.returned.connect(done.append)
        box.channels.setValue(channels)
        box.on.setChecked(True)
        idle = lambda: not box.worker.state.busy and not box._waiting.isActive()  # noqa: E731
        qtbot.waitUntil(lambda: (bool(done) or bool(box.error.label.text())) and idle(), timeout=60_000)
        assert box.error.label.text() == ""
        return np.asarray(viewer.layers[LIVE].data)

    box.channels.setValue(0)
    np.testing.assert_allclose(shown(0), bad, atol=1e-5)
    restored = shown(box.channels.maximum())
    assert np.abs(restored - good).mean() < np.abs(bad - good).mean()
    before = viewer.layers[LIVE].translate.copy()
    faint = viewer.layers["faint"]
    opposite = 128 - np.asarray(faint.world_to_data(middle))[1:]  # another of the four tiles
    viewer.scene.camera.center = (0, *faint.data_to_world((0, *opposite))[1:])
    qtbot.waitUntil(lambda: LIVE in viewer.layers and (viewer.layers[LIVE].translate != before).any(), timeout=60_000)
    box.on.setChecked(False)
    assert LIVE not in viewer.layers


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
        (
            lambda dock, viewer: (dock.missed.paint.click(), dock.missed.better.choose(dock.image.layer)),
            "no better image is chosen",
        ),
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


@pytest.fixture
def detector(files, tmp_path):
    """A detector trained in pixels, in the folder of results."""
    folder = tmp_path / "results" / "nuclei-1"
    shutil.copytree(files[2] / "near", folder / "level_0")
    (folder / "cascade.json").write_text(json.dumps({"format": FORMAT, "metadata": {"unit": "pixel"}}))
    return folder


def test_detectors_are_among_the_models(detector) -> None:
    """Shipped or trained, each is one model to choose: that of its finest level."""
    listed = run(models_job(detector.parent))
    assert listed["nuclei-1"] == detector / "level_0"
    assert {"fly-medulla", "cells (detector)"} <= set(listed)
    assert all((folder / "card.json").is_file() for folder in listed.values())


def test_a_detector_in_pixels_reads_an_image_without_a_voxel_size(dock, viewer, detector, qtbot) -> None:
    viewer.add_image(np.zeros((64, 64), np.uint8), name="bare", contrast_limits=(0, 255))
    dock.image.layers.choose(viewer.layers["bare"])
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "bare", timeout=10_000)
    dock.model.use(detector)
    assert dock.model.folder == detector / "level_0"
    assert "pixels" in dock.model.about.text()
    assert dock.model.error.isHidden()
    assert dock.knows.subject()[0].calibrated
    assert not dock.image.use_pixels.isVisibleTo(dock)  # there is nothing to enter
    dock.model.use(detector.parent / "none")
    assert "is not a model" in dock.model.error.label.text()


def test_a_model_without_a_guard_offers_to_fit_one(dock) -> None:
    dock.tabs.setCurrentWidget(dock.trust)
    assert not dock.trust.bar.button.isEnabled()
    assert "the model has no guard" in dock.trust.bar.button.toolTip()
    assert not dock.trust.fit.isHidden()
    dock.trust.fit.bar.button.click()
    assert "no labels are chosen" in dock.trust.fit.bar.error.label.text()


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
    assert dock.trust.worst.list.count() == len(check.worst) > 0
    dock.trust.worst.list.itemClicked.emit(dock.trust.worst.list.item(0))
    clear = viewer.layers["clear"]
    here = clear.world_to_data([viewer.dims.point[0], *viewer.scene.camera.center[-2:]])
    expected = level.to_voxels(check.worst[0].centre_nm) - 0.5
    np.testing.assert_allclose(here[1:], expected[1:], atol=0.51)


@pytest.fixture
def checked(dock, viewer, guarded, clear, qtbot):
    """The clear section, checked."""
    dock.model.use(guarded)
    dock.tabs.setCurrentWidget(dock.trust)
    dock.trust.where.setCurrentText(ALL)
    dock.trust.bar.button.click()
    settle(dock.trust.bar, qtbot)
    assert dock.trust.bar.error.label.text() == ""
    assert dock.trust.worst.places
    return dock


def test_worst_places_become_suggested_patches(checked, viewer, qtbot) -> None:
    """One click opens the dock that annotates, with the places in its queue; a patch of it opens where the place is."""
    checked.trust.worst.label.click()
    _, adapt = viewer.window.add_plugin_dock_widget("napari-connecto", "Adapt to my data")
    qtbot.waitUntil(lambda: adapt.project.work is not None, timeout=60_000)
    assert checked.trust.worst.error.label.text() == adapt.annotate.bar.error.label.text() == ""
    states = adapt.project.work.session.patches
    places = checked.trust.worst.places
    assert adapt.step == 2
    assert 0 < len(states) <= len(places)
    assert adapt.annotate.queue.count() == len(states)
    assert states[0].reason == places[0].reason
    first = adapt.project.work.volume.levels[0].to_voxels(np.array(places[0].centre_nm))
    assert all(a <= c <= b for a, c, b in zip(states[0].box.start, first, states[0].box.stop, strict=True))
    adapt.annotate.open()
    qtbot.waitUntil(lambda: adapt.annotate.opened is not None, timeout=60_000)
    assert adapt.annotate.patch.labels.data.shape == states[0].box.shape
    adapt.close_jobs()


def test_worst_places_are_exported(checked, tmp_path) -> None:
    checked.trust.worst.export(tmp_path / "worst.csv")
    rows = (tmp_path / "worst.csv").read_text().splitlines()
    assert len(rows) == 1 + len(checked.trust.worst.places)
    checked.trust.worst.export(tmp_path / "nowhere" / "worst.csv")
    assert "cannot write" in checked.trust.worst.error.label.text()


def test_the_image_is_not_its_own_answer(dock, viewer, guarded, clear) -> None:
    dock.model.use(guarded)
    dock.trust.answer.choose(clear)
    dock.trust.bar.button.click()
    assert "'clear' is the image itself" in dock.trust.bar.error.label.text()


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
    told = [float(bar.text.rpartition("chance ")[2]) for bar in bars.values()]
    assert told == pytest.approx([odd.mean()] * len(told), abs=0.03)  # of the pixels that were drawn
    assert dock.knows.heat.isHidden()  # one checkpoint has no heat map
    assert len(viewer.layers[PLACES].data) > 0


def test_checkpoints_become_a_heat_map(dock, viewer, files, images, clear, qtbot, tmp_path) -> None:
    """Stages by checkpoints, in the numbers of the library; the chosen model's effects stand beside its bars."""
    for step, name in ((1, "far"), (10, "near")):
        shutil.copytree(files[2] / name, tmp_path / f"step-{step}")
    odd = (files[1][:1, :128, :128] % 2).astype(np.uint8)
    mask = viewer.add_labels(odd, name="odd", scale=clear.scale)
    mask.units, mask.translate = clear.units, clear.translate
    params = ConceptParams(
        autoencoder=False, untrained=1, pixels=1000, sections=1, block=16, gap=4, stages="encoder.2,decoder.1"
    )
    dock.knows.form.value = params
    dock.knows.labels.choose(mask)
    dock.knows.use_checkpoints(tmp_path)
    dock.knows.stages.button.click()
    settle(dock.knows.stages, qtbot)
    assert dock.knows.stages.error.label.text() == ""
    models = {float(n): load_model(tmp_path / f"step-{n}", backend="torch") for n in (1, 10)}
    expected = concepts(models, images[1], {"odd": odd}, params)
    heat = dock.knows.heat
    assert (list(heat.rows), list(heat.columns)) == (["encoder.2", "decoder.1"], ["1", "10"])
    np.testing.assert_allclose(heat.values, expected.table("odd"), atol=1e-6)
    used = {u.stage: u for u in expected.used if u.what == "probe"}
    for bar in dock.knows.plot.bars:
        assert ("not used" in bar.text) == (not used[bar.name].used)
        assert f"{used[bar.name].effect:+.3f}" in bar.tip
    left, wide = heat._grid(QRectF(heat.rect()).adjusted(2, 2, -2, -2))
    assert heat.tip_at(left + 1.5 * wide, 2 + HEAD + 1.5 * ROW) == f"decoder.1, 10: {heat.values[1, 1]:.3g}"
    dock.knows.steps.click()
    assert dock.knows.checkpoints is None


def test_an_attack_says_whether_a_pattern_flips_answers(dock, viewer, files, images, qtbot) -> None:
    """Bars and marks are those of the attack, at places that the model leaves empty; they go with the explanation."""
    painted(dock, viewer, files, images)
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.better.choose(viewer.layers["clear"])
    pressed(dock.missed.bar, qtbot)
    box = dock.missed.attack
    told: list[Attacked] = []
    box.bar.worker.returned.connect(told.append)
    pressed(box.bar, qtbot)
    carrier = told[0].found.channel
    assert box.channel.currentText() == f"{carrier[0]}:{carrier[1]}"
    model = load_model(files[2] / "near", backend="torch")
    runs = told[0].found.runs
    assert [bar.text for bar in box.plot.bars][:2] == [
        f"{runs[name].flips} of {runs[name].tried}" for name in ("pattern", "pattern, ablated")
    ]
    assert box.about.text() == verdict(told[0])
    marks = {name: viewer.layers[name] for name in (FLIPPED, KEPT, PATTERN) if name in viewer.layers}
    assert sum(len(layer.data) for name, layer in marks.items() if name != PATTERN) == len(told[0].found.places)
    seen = answers(model, model.card.normalisation.resolve(images[1])(np.asarray(images[1].levels[0].array)))
    at = np.round(np.concatenate([layer.data for name, layer in marks.items() if name != PATTERN])).astype(int)
    assert (seen["boundary"][tuple(at.T)] < 0.5).all()  # the model sees nothing there
    box.offer(None, None)
    assert not any(name in viewer.layers for name in (FLIPPED, KEPT, PATTERN))


def test_results_push_down_what_follows(dock, viewer, qtbot) -> None:
    """Results that appear one after the other make the tab higher: they lay over each other in a short one."""
    dock.window().resize(1366, 768)
    dock.window().show()
    tab, box = dock.missed, dock.missed.attack
    dock.tabs.setCurrentWidget(tab)
    steps = [
        lambda: [w.show() for w in (tab.about, tab.profile, tab.curves, tab.restore, tab.attacking, tab.fold)],
        lambda: tab.profile.show_bars([Bar(f"encoder.{n}", 0.5, "#808080", "50 %") for n in range(11)]),
        lambda: tab.about.setText("These channels carry it. " * 8),
        tab.attacking.unfold,
        lambda: box.plot.show_bars([Bar(f"control {n}", 0.5, "#808080", "3 of 6") for n in range(5)]),
        lambda: [w.show() for w in (box.plot, box.about)],
        lambda: box.about.setText("Its pattern flips answers, with and without the channel. " * 2),
    ]
    for step in steps:
        step()
        qtbot.wait(60)

    def apart(part):
        inside = [part.layout().itemAt(i).widget() for i in range(part.layout().count())]
        places = [w.geometry() for w in inside if w is not None and w.isVisible()]
        return len(places) > 2 and all(a.bottom() < b.top() for a, b in pairwise(places))

    qtbot.waitUntil(lambda: apart(tab) and apart(box))
    assert dock.tabs.minimumHeight() >= dock.tabs.heightForWidth(dock.tabs.width()) > 600
