"""Parts of the dock "Adapt to my data": what is shown, refused, kept, undone; models nobody trained."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QApplication

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Level
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.adapt import choose as adapt_choose
from napari_connecto.widgets.adapt import compare as adapt_compare
from napari_connecto.widgets.adapt import dock as adapt
from napari_connecto.widgets.adapt import tune as adapt_tune
from napari_connecto.widgets.adapt.annotate.patch import PatchLayers
from napari_connecto.widgets.adapt.annotate.session_jobs import PREFILLS
from napari_connecto.widgets.adapt.jobs import Picture, Source
from napari_connecto.widgets.adapt.kept import Gain, default_model
from napari_connecto.widgets.adapt.layers import Canvas, shapes_box
from napari_connecto.widgets.adapt.panels import Panels
from napari_connecto.widgets.adapt.train_jobs import Compared
from napari_connecto.widgets.shared.plots import BAR, Curve
from napari_connecto.widgets.shared.worker import State
from napari_connecto.workflows.adapt.agreement.answers import Answers
from napari_connecto.workflows.adapt.agreement.places import Places
from napari_connecto.workflows.adapt.agreement.rule import Score
from napari_connecto.workflows.adapt.compare import Comparison, Scored
from napari_connecto.workflows.adapt.params import FineTuneParams, SuggestParams
from napari_connecto.workflows.adapt.rank import Rank, Ranking
from napari_connecto.workflows.recipes.entries.adapt import FineTune
from napari_connecto.workflows.shared.model_size import ModelSize
from napari_connecto.workflows.shared.stop_file import STOP, stop_and_keep
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests import adapt_parts
from tests.widgets.adapt_steps import commit, half, settle

VOXEL = (40.0, 8.0, 8.0)


# ---------------------------------------------------------------- step 1


def ranking():
    from napari_connecto.workflows.adapt.domain_map import distance_matrix

    rng = np.random.default_rng(0)
    features = {name: rng.normal(i, 1, (20, 4)) for i, name in enumerate(("far", "near", "this volume"))}
    apart, steady, shaky = Score(0.7, 0.6, 0.9), Score(0.1, 0.05, 0.2), Score(0.6, 0.5, 0.7)
    ranks = (
        Rank("near", apart, Score(0.5, 0.4, 0.6), 1.0, True, "", "CC0", steady, 0.2, (0.3, 0.9), mmd2=0.1),
        Rank("far", apart, Score(2.0, 1.0, 3.0), 2.0, False, "60 % of its segmentation changes", "", shaky),
        Rank("odd", None, None, 20.0, False, "voxels are 20 times too large", "CC-BY"),
    )
    image = np.arange(2 * 64 * 64, dtype=np.uint8).reshape(2, 64, 64)
    places = Places(Level(image, VOXEL), (Box((0, 0, 0), (1, 32, 32)), Box((1, 32, 32), (2, 64, 64))), 2)
    labels = np.stack([np.full((32, 32), n, np.uint32) for n in (5, 7)])
    answers = {name: Answers(labels, labels, np.zeros((2, 3)), np.ones(2), ("", "")) for name in ("near", "far")}
    return Ranking(ranks, 0.3, 40, 2, distance_matrix(features), "abc", places, answers)


@pytest.mark.gl
def test_the_ranking_is_a_table_with_intervals_and_reasons(dock, monkeypatch, qtbot):
    def rank_job(volume, library, params):
        yield Progress(0, 1)
        return ranking()

    monkeypatch.setattr(adapt_choose, "rank_job", rank_job)
    dock.choose.bar.button.click()
    settle(dock.choose.bar, qtbot)
    table = dock.choose.table
    texts = [[table.item(i, j).text() for j in (0, 1, 2, 3, 4, 6)] for i in range(3)]
    sizes = [bytes_text(ModelSize.of(dock.choose.folders[name]).disk_bytes) for name in ("near", "far")]
    assert [table.item(i, 5).text() for i in range(3)] == [*sizes, "?"]
    assert texts == [
        ["near", "0.70", "10 %", "1×", "yes", "CC0"],
        ["far", "0.70", "60 %", "2×", "no", "?"],
        ["odd", "not compared", "not compared", "20×", "?", "CC-BY"],
    ]
    assert table.item(0, 1).data(BAR)[:4] == (0.7, 0.6, 0.9, np.inf)
    assert table.item(0, 2).data(BAR)[:4] == (0.1, 0.05, 0.2, 0.3)
    assert "chance that another model is better 20 %" in table.item(0, 0).toolTip()
    assert table.item(2, 0).toolTip() == "voxels are 20 times too large"
    assert "Start from 'near'" in dock.choose.verdict.text()
    cards = dock.choose.cards
    assert cards.names == ["near", "far", "odd"]
    assert [card.fit.text() for card in cards.cards.values()] == ["fits", "does not fit", "not compared"]
    assert cards.cards["near"].about.text().replace("\xa0", " ") == "0.70 bits from others · 1× the voxel size · CC0"
    near = cards.cards["near"].bar
    (row,) = near.rows
    assert (row.value, row.low, row.high, near.limit) == pytest.approx((0.9, 0.8, 0.95, 0.7))
    assert [card.picture.isVisibleTo(cards) for card in cards.cards.values()] == [True, True, False]
    assert [card.use.text() for card in cards.cards.values()] == ["In use ✓", "Use this", "Use this"]
    cards.cards["far"].use.click()
    QApplication.processEvents()  # the choice follows the click, for it may replace the card that is clicked
    assert dock.project.source.name == "far"
    assert cards.cards["far"].use.text() == "In use ✓"
    dock.choose.choose("near")
    assert sorted(dock.choose.tree.names) == ["far", "near", "this volume"]
    assert dock.project.source == Source("near", dock.choose.folders["near"])
    assert dock.headings[0].text() == "1 Choose: near"


@pytest.mark.gl
def test_the_segments_of_the_ranked_models_are_shown_place_by_place(dock, monkeypatch, qtbot):
    def rank_job(volume, library, params):
        yield Progress(0, 1)
        return ranking()

    monkeypatch.setattr(adapt_choose, "rank_job", rank_job)
    assert not dock.choose.answers.isVisibleTo(dock.choose)
    dock.choose.bar.button.click()
    settle(dock.choose.bar, qtbot)
    for value, title in ((5, "place 1"), (7, "place 2"), (5, "place 1")):
        dock.choose.answers.click()
        image, near, far, titles = dock.choose.panels.layers
        assert (image.name, near.name, far.name) == ("image", "near segments", "far segments")
        assert np.unique(near.data).tolist() == np.unique(far.data).tolist() == [value]
        shown = [title, "near: 0.70 bits, 10 % unstable", "far: 0.70 bits, 60 % unstable, does not fit"]
        assert list(titles.features["title"]) == shown


@pytest.mark.gl
def test_ranks_of_one_image_are_not_shown_for_another(dock, viewer, monkeypatch, qtbot):
    def rank_job(volume, library, params):
        yield Progress(0, 1)
        return ranking()

    monkeypatch.setattr(adapt_choose, "rank_job", rank_job)
    choose = dock.choose
    choose.bar.button.click()
    settle(choose.bar, qtbot)
    shown = (choose.details, choose.verdict, choose.bar.status, choose.bar.report)
    assert all(part.isVisibleTo(dock) for part in shown)
    viewer.add_image(np.zeros((8, 64, 64), np.uint8), name="other", scale=VOXEL, units="nm")
    assert all(part.isVisibleTo(dock) for part in shown)
    dock.image.layers.setCurrentText("other")
    assert not any(part.isVisibleTo(dock) for part in shown)
    assert choose.ranking is None
    assert choose.tree.names == []
    assert dock.project.source == Source("near", choose.folders["near"])


@pytest.mark.gl
def test_a_ranking_is_cancelled_at_once_though_it_reports_seldom(dock, monkeypatch, qtbot):
    go_on, worker = threading.Event(), dock.choose.bar.worker

    def rank_job(volume, library, params):
        yield Progress(0, 2, "comparing")
        assert go_on.wait(60)
        yield Progress(1, 2, "comparing")
        return ranking()

    monkeypatch.setattr(adapt_choose, "rank_job", rank_job)
    with qtbot.waitSignal(worker.reported, timeout=20000):
        dock.choose.bar.button.click()
    dock.choose.bar.button.click()
    assert worker.state is State.CANCELLED
    assert dock.choose.bar.button.text() == "Rank"
    go_on.set()
    qtbot.waitUntil(lambda: not worker._thread.is_alive(), timeout=20000)
    qtbot.wait(50)  # time to show what it must not
    assert dock.choose.ranking is None
    assert dock.choose.bar.button.isEnabled()


@pytest.mark.gl
def test_a_model_from_a_folder_and_one_that_is_none(dock, files, tmp_path):
    dock.choose.use_folder(files[2] / "far")
    assert dock.project.source.folder == files[2] / "far"
    dock.choose.use_folder(tmp_path)
    assert "choose a folder with card.json" in dock.choose.bar.error.label.text()
    assert dock.project.source.folder == files[2] / "far"


# ---------------------------------------------------------------- step 2


@pytest.mark.gl
def test_without_a_model_nothing_is_suggested_and_it_is_said_why(dock):
    dock.annotate.bar.button.click()
    assert "choose one, or start from scratch" in dock.annotate.bar.error.label.text()
    assert dock.project.work is None


@pytest.mark.gl
def test_queue_and_patch_are_where_they_belong(opened, viewer, files):
    queue, state = opened.annotate.queue, opened.annotate.opened
    assert queue.count() == 3
    assert sum("(held out)" in queue.item(i).text() for i in range(3)) == 1
    assert not queue.item(0).icon().isNull()
    image, labels = viewer.layers[f"patch {state.id}"], viewer.layers[f"patch {state.id} labels"]
    volume = open_volume(files[0])
    np.testing.assert_array_equal(image.data, volume.levels[0].read(state.box))
    here = viewer.layers[0].data_to_world(state.box.start)
    np.testing.assert_allclose(labels.data_to_world((0, 0, 0)), here)
    assert viewer.dims.current_step[0] == state.box.start[0]
    assert viewer.layers.selection.active.name == labels.name
    assert not labels.multiscale


@pytest.mark.gl
def test_strokes_are_on_disk_before_the_commit_and_commits_can_be_undone(opened, qtbot):
    annotate, work = opened.annotate, opened.project.work
    wanted = half(opened)
    commit(opened, qtbot)
    assert annotate.counter.text().startswith("1 of 3 committed\nLabels: 1 edited (")
    assert opened.headings[1].text() == "2 Annotate: 1 of 3"
    qtbot.waitUntil(lambda: annotate.opened is not None and annotate.opened.id == 2, timeout=20000)
    annotate.undo()
    qtbot.waitUntil(lambda: annotate.opened is not None and annotate.opened.id == 1, timeout=20000)
    assert annotate.counter.text() == "0 of 3 committed"
    np.testing.assert_array_equal(np.asarray(annotate.patch.labels.data[:]), wanted)
    annotate.skip()
    assert "1 skipped" in annotate.counter.text()
    assert [s.status for s in work.session.patches] == ["skipped", "waiting", "waiting"]


@pytest.mark.gl
def test_a_commit_of_nothing_is_refused_in_one_line_and_harms_nothing(opened, qtbot):
    annotate = opened.annotate
    labels = annotate.patch.labels
    labels.data_setitem(np.nonzero(np.ones(labels.data.shape, bool)), np.uint32(0))
    commit(opened, qtbot)
    assert "all labels are 0" in annotate.bar.error.label.text()
    assert annotate.opened.id == 1
    assert annotate.summary == "0 of 3"


@pytest.mark.gl
def test_keys_belong_to_the_open_patch_and_are_given_back(opened, viewer, qtbot):
    annotate = opened.annotate
    half(opened)
    bound = {str(key): act for key, act in viewer.layers[-1].keymap.items()}
    assert {"C", "K", "N", "U"} <= set(bound)
    bound["C"](viewer.layers[-1])
    qtbot.waitUntil(lambda: not opened.project.committing, timeout=20000)
    assert annotate.summary == "1 of 3"
    qtbot.waitUntil(lambda: annotate.opened is not None and annotate.opened.id == 2, timeout=20000)
    viewer.layers.remove(viewer.layers["patch 2 labels"])
    assert annotate.opened is None
    assert not annotate.desk.keys
    assert not annotate.buttons["commit"].isEnabled()


@pytest.mark.gl
def test_a_session_is_resumed_with_drafts_by_another_dock(opened, viewer, qtbot):
    wanted = half(opened)
    folder = opened.project.folder
    opened.close_jobs()
    other = adapt.AdaptWidget(viewer)
    try:
        other.annotate.resume_from(folder)
        settle(other.annotate.bar, qtbot)
        assert other.annotate.summary == "0 of 3"
        assert other.project.source.name == "near"
        other.annotate.open()
        qtbot.waitUntil(lambda: other.annotate.opened is not None, timeout=20000)
        np.testing.assert_array_equal(np.asarray(other.annotate.patch.labels.data[:]), wanted)
    finally:
        other.close_jobs()


@pytest.mark.gl
def test_from_scratch_begins_with_an_untrained_model_and_empty_patches(dock, qtbot):
    dock.choose.choose("From scratch")
    dock.annotate.prefill.setCurrentText(PREFILLS[2])
    dock.annotate.form.value = SuggestParams(size=64, pool=4, random_arm=1, strategy="random")
    dock.annotate.count.setValue(2)
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    assert dock.project.work.base.name == "scratch"
    dock.annotate.open()
    qtbot.waitUntil(lambda: dock.annotate.opened is not None, timeout=20000)
    assert not np.asarray(dock.annotate.patch.labels.data[:]).any()


@pytest.mark.gl
def test_an_image_that_is_no_file_is_kept_with_the_session(dock, viewer, files, qtbot):
    image = open_volume(files[0]).levels[0]
    viewer.add_image(image.read(image.box), scale=VOXEL, units="nm", name="from memory")
    dock.image.layers.setCurrentText("from memory")
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "from memory", timeout=10000)
    dock.choose.copy.click()
    assert "save it as OME-Zarr first" in dock.choose.bar.error.label.text()
    dock.choose.choose("near")
    dock.choose.before.adabn.setChecked(True)
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    work = dock.project.work
    assert work.spec == VolumeSpec(str(work.session.path.parent / "image.ome.zarr"))
    assert work.base == work.session.path.parent / "near-adabn" / "model"
    assert "AdaBN on" in (work.base / "card.json").read_text()
    assert dock.headings[0].text() == "1 Choose: near + AdaBN"
    np.testing.assert_array_equal(work.volume.levels[0].read(image.box), image.read(image.box))


# ---------------------------------------------------------------- steps 3 to 5


@pytest.mark.gl
def test_tuning_shows_its_curve_can_be_cancelled_and_frees_the_session_meanwhile(opened, monkeypatch, qtbot):
    runs = []

    def tune_job(run):
        runs.append(run)
        with adapt_parts.session_of(opened.project.work) as session:  # another process would get the lock
            assert len(session.patches) == 3
        step = 0
        while True:
            step += 1
            for _ in range(3):  # said again and again, as a heartbeat
                yield Progress(step, 500, "training", {"step": step, "loss": 1 / step, "score": -0.5})
            time.sleep(0.005)

    monkeypatch.setattr(adapt_tune, "tune_job", tune_job)
    half(opened)
    commit(opened, qtbot)
    opened.go_to(3)
    opened.tune.form.value = FineTuneParams(preset="quick", steps=500)
    opened.tune.bar.button.click()
    qtbot.waitUntil(lambda: len(opened.tune.curve.loss) > 5, timeout=10000)
    steps = [step for step, _ in opened.tune.curve.loss]
    assert steps == sorted(set(steps))
    assert opened.tune.curve.score == [(1, -0.5)]
    opened.tune.bar.button.click()
    qtbot.waitUntil(lambda: opened.tune.bar.worker.state is State.CANCELLED, timeout=20000)  # see benchmarks/gui.py
    assert isinstance(runs[0], FineTune)
    assert runs[0].params.steps == 500
    assert opened.annotate.summary == "1 of 3"
    opened.tune.bar.button.click()  # Resume: into the same folder
    qtbot.waitUntil(lambda: len(runs) == 2, timeout=5000)
    assert runs[1] == runs[0]
    opened.tune.bar.worker.close()


@pytest.mark.gl
def test_tuning_without_a_commit_is_refused(opened):
    opened.tune.bar.button.click()
    assert "no training patch is committed" in opened.tune.bar.error.label.text()


def a_comparison(interval):
    from napari_connecto.core.partition_metrics import VI
    from napari_connecto.workflows.segment.params import SegmentParams

    old, new = SegmentParams(boundary_threshold=0.4), SegmentParams(boundary_threshold=0.2)
    before = Scored(old, (VI(0.5, 0.5), VI(0.2, 0.3)), VI(0.35, 0.4))
    after = Scored(new, (VI(0.2, 0.2), VI(0.3, 0.3)), VI(0.25, 0.25))
    return Comparison(before, after, 0.25, interval)


@pytest.mark.gl
@pytest.mark.parametrize(
    ("base", "interval", "kept", "why"),
    [
        ("near", (-0.1, 0.6), "near (old)", "no significant gain (95 % CI -0.100 to +0.600 bits)"),
        ("near", (0.1, 0.4), "tuned-1 (new)", "significant gain (95 % CI +0.100 to +0.400 bits)"),
        ("near", (-0.4, -0.1), "near (old)", "significantly worse (95 % CI -0.400 to -0.100 bits)"),
        ("near", (np.nan, np.nan), "near (old)", "no confidence interval; hold out two or more"),
        ("scratch", (-0.1, 0.6), "tuned-1 (new)", "started from an untrained network"),
    ],
)
def test_the_old_model_segments_unless_the_gain_is_significant(
    dock, monkeypatch, qtbot, tmp_path, base, interval, kept, why
):
    found, modes = a_comparison(interval), []
    old, new = found.before.params, found.after.params

    def compared_job(work, first, second, mode):
        yield Progress(0, 1)
        modes.append(mode)
        return Compared(replace(found, ids=(3, 5)), (), "held-out patch 4 is left out", mode)

    monkeypatch.setattr(adapt_compare, "compared_job", compared_job)
    session = SimpleNamespace(patches=(), counts=lambda: (0, 0), path=tmp_path / "session", close=lambda: None)
    work = SimpleNamespace(base=tmp_path / base, volume=None, session=session, thumbnails={}, spec={})
    monkeypatch.setattr(dock.project, "need_work", lambda: work)
    dock.segment.form.change(mode="3d")
    dock.project.update(work=work, tuned=tmp_path / "tuned-1")
    dock.compare.bar.button.click()
    settle(dock.compare.bar, qtbot)
    assert modes == ["3d"]
    assert dock.project.kept.name == kept
    assert dock.project.kept.params == (new if kept.endswith("(new)") else old)
    assert why in dock.compare.kept.text()
    assert why in dock.segment.model.text()
    assert dock.segment.form.value == replace(dock.project.kept.params, mode="3d")
    dock.compare.keep_new.click()
    assert dock.project.kept.params == new
    dock.compare.keep_old.click()
    assert dock.project.kept.params == old
    assert dock.compare.kept.text() == f"Step 5 segments with {base} (old): your choice."
    said = dock.compare.verdict.text()
    assert found.verdict() in said
    assert "Both models segment in mode 3d, as in step 5." in dock.compare.mode.text()
    assert "Held-out patch 4 is left out." in dock.compare.mode.text()
    recommended = dock.compare.choice.layout().itemAt(0).widget()
    assert recommended.text() == f"Keep {'new' if kept.endswith('(new)') else 'old'} (recommended)"
    bars = dock.compare.plot.bars.bars
    assert [share for bar in bars for share in (bar.share, bar.mark)] == pytest.approx([0.4, 1.0, 0.6, 0.5])
    assert dock.compare.plot.gain.gain == 0.25
    dock.segment.form.change(mode="2d")
    assert "step 5 uses mode 2d: compare again" in dock.compare.verdict.text()
    dock.project.work = None
    rows = [[dock.compare.table.item(i, j).text() for j in range(4)] for i in range(3)]
    assert rows[0] == ["3", "1.000", "0.400", "+0.600"]
    assert rows[2] == ["mean", "0.750", "0.500", "+0.250"]
    assert dock.headings[3].text() == "4 Compare: VI 0.75 → 0.50"


@pytest.mark.gl
def test_segments_in_a_region_of_shapes_and_the_command_line(dock, viewer, qtbot):
    dock.choose.choose("near")
    dock.go_to(5)
    square = np.array([[2, 64, 64], [2, 64, 160], [2, 160, 160], [2, 160, 64]]) * VOXEL + np.array(VOXEL) / 2
    dock.segment.where.setCurrentText("Region of a Shapes layer")
    dock.segment.bar.button.click()
    assert "draw a rectangle" in dock.segment.bar.error.label.text()
    viewer.add_shapes([square], shape_type="polygon", units="nm", name="here")
    dock.segment.shapes.setCurrentText("here")
    what = dock.segment.segmenting()
    assert what.region == Box((2, 64, 64), (3, 161, 161))
    dock.segment.bar.button.click()
    settle(dock.segment.bar, qtbot)
    layer = viewer.layers["segments-1"]
    assert tuple(np.asarray(layer.data).shape if not layer.multiscale else layer.data[0].shape) == (1, 97, 97)
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), viewer.layers[0].data_to_world((2, 64, 64)))
    assert dock.segment.segmenting().out == what.out  # the same again goes on where it was
    dock.segment.where.setCurrentText("Everywhere")
    assert dock.segment.segmenting().out.name == "segments-2"
    dock.segment.where.setCurrentText("Region of a Shapes layer")
    dock.segment.copy.click()
    text = QApplication.clipboard().text()
    assert text.startswith("napari-connecto segment ")
    assert "--region 2 64 64 3 161 161 --backend torch" in text


@pytest.mark.parametrize(
    ("text", "improved"),
    [
        ('{"interval": [0.1, 0.3]}', True),
        ('{"interval": [-0.1, 0.3]}', False),
        ('{"interval": [null, null]}', False),
        ("{}", False),
        ("damaged", False),
        (None, False),
    ],
)
def test_a_resumed_session_segments_with_the_new_model_only_where_it_was_significantly_better(tmp_path, text, improved):
    out, base = tmp_path / "tuned-2", tmp_path / "fly"
    (out / "model").mkdir(parents=True)
    if text is not None:
        (out / "comparison.json").write_text(text)
    kept = default_model(base, out, Gain.of(out))
    assert (kept.name, kept.folder) == (("tuned-2 (new)", out / "model") if improved else ("fly (old)", base))


def test_stop_and_keep_waits_until_the_run_has_begun(tmp_path):
    assert not stop_and_keep(tmp_path / "tuned-1")
    assert not (tmp_path / "tuned-1").exists()  # or its job would be refused as a stranger's folder
    (tmp_path / "tuned-1").mkdir()
    (tmp_path / "tuned-1" / "job.json").write_text("{}")
    assert stop_and_keep(tmp_path / "tuned-1")
    assert (tmp_path / "tuned-1" / STOP).exists()


# ---------------------------------------------------------------- parts


@pytest.fixture
def canvas():
    viewer = ViewerModel()
    viewer.canvas.size = (600, 600)
    image = Image(np.zeros((8, 100, 100), np.uint8), scale=(40, 8, 8), units="nm", translate=(20, 4, 4))
    viewer.add_layer(image)
    return Canvas(viewer, viewer.layers[0], Level(image.data, VOXEL))


def test_pictures_stand_side_by_side_and_leave_no_trace(canvas):
    viewer, panels = canvas.viewer, Panels(canvas)
    viewer.dims.set_point(0, 260)
    before = canvas.view()
    grid = Level(np.zeros((1, 20, 20), np.float32), VOXEL, (80.0, 160.0, 160.0))
    panels.show([[Picture("a", grid), Picture("b", grid)], [None, Picture("c", grid, "labels")]])
    assert [layer.name for layer in panels.layers] == ["a", "b", "c", "titles"]
    starts = np.array([layer.data_to_world((0, 0, 0)) for layer in panels.layers[:3]])
    np.testing.assert_allclose(starts[0], canvas.image.data_to_world((2, 20, 20)))
    step = 20 * 8 * 1.14
    np.testing.assert_allclose(starts - starts[0], [[0, 0, 0], [0, 0, step], [0, step, step]])
    assert not canvas.image.visible
    assert panels.layers[-1].text.size == 11
    panels.show([[Picture("a name that is far too long for its picture " * 2, grid)] * 4])
    assert 6 <= panels.layers[-1].text.size < 11
    panels.close()
    assert len(viewer.layers) == 1
    assert canvas.image.visible
    assert canvas.view() == before


def test_strokes_write_through_to_the_draft(canvas):
    array = np.zeros((1, 20, 20), np.uint32)
    draft = SimpleNamespace(
        image=np.arange(400.0).reshape(1, 20, 20), labels=array, voxel_nm=VOXEL, origin_nm=(80.0, 160.0, 160.0)
    )
    patch = PatchLayers(canvas)
    labels = patch.show(1, draft)
    labels.paint((0, 5, 5), 1)
    assert array[0, 5, 5] == 1
    first = patch.show(2, SimpleNamespace(**{**draft.__dict__, "labels": array.copy()}))
    first.undo()
    assert array[0, 5, 5] == 1  # another patch's history is not this one's
    assert [layer.name for layer in canvas.viewer.layers][1:] == ["patch 2", "patch 2 box", "patch 2 labels"]
    assert np.allclose(first.get_color(1)[:3], [0xD5 / 255, 0x5E / 255, 0], atol=0.01)
    patch.close()
    assert len(canvas.viewer.layers) == 1


def test_the_box_around_shapes_in_micrometres(canvas):
    um = np.array([[0.1, 0.2, 0.2], [0.1, 0.2, 0.4], [0.1, 0.4, 0.4]])
    shapes = canvas.viewer.add_shapes([um], shape_type="polygon", units="um")
    assert shapes_box(shapes, canvas) == Box((2, 25, 25), (3, 50, 50))


def test_the_curve_keeps_one_point_per_step_and_each_new_score(qtbot):
    curve = Curve()
    qtbot.addWidget(curve)
    points = [{"step": s, "loss": 1.0 / s, "score": None if s < 3 else -0.5 + s // 5} for s in (1, 1, 2, 3, 4, 5)]
    empty = curve.grab().toImage()
    curve.add(points, 10)
    assert curve.loss == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25), (5, 0.2)]
    assert curve.score == [(3, -0.5), (5, 0.5)]
    assert curve.grab().toImage() != empty
    curve.add([], 1000, 500)  # a time limit: half of it is over after 5 steps
    assert curve.total == 10


@pytest.mark.gl
def test_dock_fits_a_laptop_and_opens_one_step_at_a_time(dock):
    assert dock.minimumWidth() <= 300
    for step in range(1, 6):
        dock.go_to(step)
        assert dock.step == step
        assert [body.isVisibleTo(dock) for body in dock.bodies] == [n == step for n in range(1, 6)]
        assert dock.scroller.widget().minimumSizeHint().width() <= 300, step


@pytest.mark.gl
def test_no_image_is_said_in_one_line(viewer, qtbot):
    widget = adapt.AdaptWidget(viewer)
    try:
        widget.choose.bar.button.click()
        assert "no image is open" in widget.choose.bar.error.label.text()
        with pytest.raises(InputError, match="no session is open"):
            widget.project.need_work()
    finally:
        widget.close_jobs()
