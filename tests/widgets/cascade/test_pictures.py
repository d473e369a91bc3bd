"""What the cascade dock draws instead of words: funnel, audit, fit of detectors, scores, labels counted, minutes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QPoint, Qt

from napari_connecto.core.jobs import Progress, run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import list_cascades
from napari_connecto.widgets.cascade.caption import counted_reading
from napari_connecto.widgets.cascade.find.cards import cards_job, fit, own_job
from napari_connecto.widgets.cascade.find.funnel import Rung, ended, searched
from napari_connecto.widgets.cascade.find.funnel_plot import FunnelPlot, missed_reading
from napari_connecto.widgets.cascade.jobs import CascadeAbout
from napari_connecto.widgets.cascade.reviewing.histogram import ScoreHistogram
from napari_connecto.widgets.shared.error_line import unbroken
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, FILL, GOOD
from napari_connecto.workflows.cascade.params import TrainParams
from tests.widgets.cascade.test_cascade_dock import POINTS, dock, fake  # noqa: F401
from tests.widgets.cascade.test_cascade_dock import run as search
from tests.widgets.shared.test_painted import columns

ABOUT = CascadeAbout("bodies", "centres", (50.0, 4.0, 4.0), 2, 40.0, 0.5, "a phantom")
RUNGS = [Rung("level 1", (50, 8, 8), 1.0, 40, 0.5), Rung("level 0", (50, 4, 4), 0.25, 40, 2.0)]


def sized(*voxel_nm, **keywords):
    return Volume(tuple(Level(np.zeros((4, 8, 8), np.uint8), nm) for nm in voxel_nm), **keywords)


def test_a_level_is_filled_as_its_chunks_are_searched_and_never_empties_again():
    """10 of 40 expected chunks of a quarter of the volume: a sixteenth; a later pass counts from 0 again."""
    rungs = searched(RUNGS, Progress(10, 40, "level 0"))
    assert (rungs[0].share, rungs[1].share, rungs[1].done) == (None, 0.0625, 10)
    assert "searched: 10 chunks, 6.2 % of the volume" in rungs[1].tip
    rungs = searched(rungs, Progress(3, 60, "level 0"))
    assert rungs[1].done == 10
    assert searched(rungs, Progress(60, 60, "level 0"))[1].share == pytest.approx(0.375)  # more than expected
    assert searched(RUNGS, Progress(1, 2, "objects")) == RUNGS


def test_a_finished_search_says_what_passed_each_level():
    level = {"name": "level 1", "voxel_nm": [50, 8, 8], "calls": 40, "calls_predicted": 20.0, "share": 1.0}
    levels = [
        level | {"passed": 7, "seconds": 1.0},
        level | {"name": "level 0", "share": 0.2, "passed": 9, "seconds": 2.0},
    ]
    coarse, fine = ended({"levels": levels, "objects": 5, "phases": {"level 0": {"predicted": 3.0, "seconds": 2.0}}})
    assert (coarse.outcome, coarse.share, coarse.expected, coarse.seconds) == ("7 pass", 1.0, 0.5, 1.0)
    assert (fine.outcome, fine.expected, fine.seconds) == ("5 objects", pytest.approx(0.1), 3.0)


def test_bars_of_the_funnel_narrow_as_the_shares_do(qtbot):
    plot = FunnelPlot()
    qtbot.addWidget(plot)
    plot.show_rungs([replace(rung, share=rung.expected, name="", outcome=" ") for rung in RUNGS[:1]])
    whole = np.ptp(columns(plot, FILL))
    plot.show_rungs([replace(rung, share=rung.expected, name="", outcome=" ") for rung in RUNGS[1:]])
    quarter = columns(plot, FILL)
    assert np.ptp(quarter) == pytest.approx(whole / 4, abs=4)
    assert quarter.mean() == pytest.approx(100, abs=8)  # centred
    assert "level 0" not in plot.tip_at(5, 5)
    plot.show_rungs(RUNGS)
    assert plot.tip_at(5, 30).startswith("level 0, voxels of 50 × 4 × 4")


@pytest.mark.parametrize(("bound", "colour"), [(0.03, GOOD), (0.12, FAIR), (0.6, BAD)])
def test_the_gauge_tells_the_bound_of_the_audit(bound, colour):
    reading = missed_reading({"rejected": 90, "sampled": 30, "lost_upper": bound, "sentence": "0 of 30"})
    assert (reading.text, reading.colour, reading.tip) == (f"Missed at most {bound * 100:.0f} %", colour, "0 of 30")
    assert reading.share == pytest.approx(bound / 0.25)


def test_without_an_audit_nothing_is_claimed():
    assert "not measured" in missed_reading({"rejected": 90, "sampled": 0, "lost_upper": 1.0, "sentence": ""}).text
    assert missed_reading({"rejected": 0, "sampled": 0, "lost_upper": 0.0, "sentence": ""}) is None


@pytest.mark.parametrize(
    ("volume", "match"),
    [
        (sized((50, 4, 4)), "fits"),
        (sized((50, 1, 1), (50, 4.5, 4.5)), "fits"),
        (sized((50, 1, 1), (50, 2, 2)), "computed"),
        (sized((50, 8, 8)), "no"),
        (sized((50, 4, 4), calibrated=False), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_card_says_whether_the_detector_fits_the_image(volume, match):
    assert fit(ABOUT, volume).match == match


def test_shipped_cards_show_what_they_find_and_own_ones_are_listed_newest_first(tmp_path):
    cards = run(cards_job(list_cascades() | {"broken": tmp_path}))
    assert sorted(cards) == ["cells", "mitochondria"]
    for card in cards.values():
        assert card.picture.shape == (64, 64)
        assert card.picture.max() == 255
        assert card.picture.std() > 10
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(list_cascades()["cells"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cascade.json").write_text("{}")
    assert set(run(own_job(tmp_path))) == {"cells (old)", "cells (new)"}


def test_dragging_and_keys_move_the_threshold_within_the_scores(qtbot):
    bar = ScoreHistogram("scores")
    qtbot.addWidget(bar)
    bar.resize(218, 62)
    bar.span(0.4, 0.9)
    bar.show_scores(np.array([0.4, 0.41, 0.9]))
    assert bar.counts()[[0, -1]].tolist() == [2, 1]
    moved = []
    bar.valueChanged.connect(moved.append)
    qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(109, 30))
    assert bar.value() == pytest.approx(0.65, abs=0.01)
    assert bar.tip_at(109, 30) == "score 0.65: 1 of 3 are as high or higher"
    qtbot.keyClick(bar, Qt.Key.Key_Right)
    assert bar.value() == pytest.approx(0.66, abs=0.01)
    qtbot.keyClick(bar, Qt.Key.Key_End)
    assert bar.value() == 0.9
    assert len(moved) == 3
    bar.span(0.5, 0.6)  # a new search: the value stays inside, nothing is emitted
    assert (bar.value(), len(moved)) == (0.6, 3)


@pytest.mark.parametrize(("count", "colour"), [(0, BAD), (3, BAD), (4, FAIR), (29, FAIR), (30, GOOD), (90, GOOD)])
def test_labelled_objects_are_counted_against_what_training_needs(count, colour):
    reading = counted_reading(count)
    assert reading.colour == colour
    assert reading.text.startswith(f"{count} object")


def test_new_labels_lie_on_the_image_and_are_counted_while_one_paints(dock, viewer, qtbot):  # noqa: F811
    dock.tabs.setCurrentIndex(1)
    dock.train.new.click()
    layer = dock.train.labels.layer
    image = viewer.layers["em"]
    assert layer.data.shape == (8, 100, 100)
    np.testing.assert_allclose(layer.scale, image.scale)
    np.testing.assert_allclose(layer.translate, image.translate)
    assert (layer.mode, viewer.layers.selection.active) == ("paint", layer)
    counter = dock.train.caption.counter
    qtbot.waitUntil(lambda: counter.reading is not None and counter.reading.text.startswith("0 objects"), timeout=5000)
    for n in range(1, 6):
        layer.selected_label = n
        layer.paint((n, 10 * n, 10 * n), n)
    qtbot.waitUntil(lambda: counter.reading.text.startswith("5 objects"), timeout=5000)
    points = viewer.add_points([[1, 40, 60]], scale=(50, 4, 4), units="nm", name="dots")
    dock.train.labels.choose(points)
    qtbot.waitUntil(lambda: counter.reading is not None and counter.reading.text.startswith("1 object "), timeout=5000)
    points.add([2, 20, 20])
    qtbot.waitUntil(lambda: counter.reading.text.startswith("2 objects"), timeout=5000)


def test_minutes_are_the_budget_of_the_training(dock):  # noqa: F811
    assert dock.train.budget.buttons["standard"].isChecked()
    dock.train.budget.buttons["quick"].click()
    assert dock.train.form.value == TrainParams(budget="quick")
    dock.train.form.change(budget="best")
    assert dock.train.budget.buttons["best"].isChecked()


def test_tabs_show_one_thing_each_and_keep_the_detector(dock, qtbot):  # noqa: F811
    finding, learning = (dock.cascade, dock.card, dock.bar), (dock.train, dock.train.foot)
    assert all(part.isVisibleTo(dock) for part in finding)
    assert not any(part.isVisibleTo(dock) for part in learning)
    chosen = dock.cascade.folder
    dock.tabs.setCurrentIndex(1)
    assert all(part.isVisibleTo(dock) for part in learning)
    assert not any(part.isVisibleTo(dock) for part in finding)
    dock.tabs.setCurrentIndex(0)
    assert dock.cascade.folder == chosen
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=5000)


def test_a_card_chooses_its_detector_and_gives_way_to_the_results(dock, qtbot):  # noqa: F811
    cards = dock.cascade.cards
    qtbot.waitUntil(lambda: cards.count() > 1, timeout=10000)
    names = [cards.item(i).text() for i in range(cards.count())]
    assert names[0] == "bodies"
    cards.itemClicked.emit(cards.item(names.index("Blobs")))
    assert dock.cascade.other == "Blobs (no training)"
    cards.itemActivated.emit(cards.item(0))  # the Enter key
    assert dock.cascade.combo.currentText() == "bodies"
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=5000)
    assert cards.isVisibleTo(dock)
    assert not dock.results.isVisibleTo(dock)
    search(dock, qtbot)
    assert not cards.isVisibleTo(dock)
    assert dock.results.isVisibleTo(dock)


def test_the_estimate_is_one_line_and_its_numbers_are_folded(dock):  # noqa: F811
    assert dock.card.brief.text() == unbroken("About <b>1.5 s</b> instead of 15 s (10.0× faster)")
    assert not dock.card.text.isVisibleTo(dock)
    dock.card.details.button.click()
    assert dock.card.text.isVisibleTo(dock)
    assert [rung.expected for rung in dock.picture.funnel.rungs] == [0.031]


def test_the_review_says_which_of_how_many_and_its_buttons_stay_where_they_are(dock, viewer, qtbot):  # noqa: F811
    search(dock, qtbot)
    review = dock.results
    review.resize(340, 600)
    texts, places = [], []
    for press in (lambda: None, lambda: review.step(1), lambda: review.judge("accepted"), lambda: review.step(1)):
        press()
        review.layout().activate()
        texts.append(review.count.text().split("\n")[1])
        places.append(review.count.heightForWidth(320))
    assert texts[0] == "Press N or click a picture to begin."
    assert [text.split(":")[0] for text in texts[1:]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert "score" in texts[1]
    assert len(set(places)) == 1
    assert dock.results.threshold.counts().sum() == 3
