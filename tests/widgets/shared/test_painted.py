"""The drawings of the docks: what is filled, where, and what a hover says; in pixels and words, on both themes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QLabel, QPushButton

from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import Bar, BarsPlot, Whisker, WhiskersPlot
from napari_connecto.widgets.shared.painted.gauge import Gauge, Reading
from napari_connecto.widgets.shared.painted.image_line import NO_IMAGE, ImageLine, size_text
from napari_connecto.widgets.shared.painted.ink import FILL
from napari_connecto.widgets.shared.painted.segments import SegmentBar


def pixels(widget, width=200):
    """What it paints, (y, x, 4) blue, green, red, alpha."""
    widget.resize(width, widget.sizeHint().height() if widget.minimumHeight() == 0 else widget.minimumHeight())
    picture = widget.grab().toImage().convertToFormat(widget.grab().toImage().Format.Format_ARGB32)
    bits = picture.constBits()
    bits.setsize(picture.sizeInBytes())
    return np.frombuffer(bytes(bits), np.uint8).reshape(picture.height(), picture.width(), 4)


def columns(widget, colour, width=200):
    """The columns of pixels in which a colour is painted."""
    wanted = QColor(colour)
    bgr = np.array([wanted.blue(), wanted.green(), wanted.red()])
    return np.flatnonzero((np.abs(pixels(widget, width)[..., :3].astype(int) - bgr).max(axis=2) < 12).any(axis=0))


def on(widget, text):
    """The widget on a theme whose text has this colour."""
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.WindowText, QColor(text))
    palette.setColor(QPalette.ColorRole.Window, QColor("black" if text == "white" else "white"))
    widget.setPalette(palette)
    return widget


@pytest.mark.parametrize("text", ["white", "black"])
def test_a_segmented_bar_is_filled_to_its_share_and_names_the_phase_under_the_mouse(qtbot, text):
    bar = on(SegmentBar(), text)
    qtbot.addWidget(bar)
    bar.setRange(0, 1000)
    bar.setFormat("")
    bar.show_segments((("reading", 0.25), ("searching", 0.75)))
    bar.setValue(500)
    filled = columns(bar, FILL)
    assert filled.min() <= 2
    assert 96 <= filled.max() <= 101
    assert bar.tip_at(0.1) == "reading: 25 % of the expected work"
    assert bar.tip_at(0.9) == "searching: 75 % of the expected work"
    bar.setRange(0, 0)
    assert len(columns(bar, FILL)) < 60  # no end is known: a quarter that moves


def test_a_job_bar_shows_the_phases_of_its_job(qtbot):
    bar = JobBar("cascade", "Run all", "")
    qtbot.addWidget(bar)
    phases = (("level 1", 0.4), ("level 0", 0.6))

    def job():
        yield Progress(1, 2, "level 1", overall=0.2, phases=phases)
        while True:
            yield Progress(1, 2, "level 1", overall=0.2, phases=phases)

    bar.start(job)
    qtbot.waitUntil(lambda: bar.bar.segments == phases, timeout=5000)
    assert bar.bar.share == pytest.approx(0.2)
    bar.close_jobs()


def test_bars_and_whiskers_end_where_their_numbers_do_and_tell_them(qtbot):
    bars = BarsPlot("comparison")
    qtbot.addWidget(bars)
    bars.show_bars([Bar("", 0.5, "#0000ff", "", tip="12 of 24 objects"), Bar("", 1.0, "#0000ff", "")])
    assert columns(bars, "#0000ff").max() > 180
    bars.show_bars([Bar("", 0.5, "#0000ff", "", tip="12 of 24 objects")])
    assert 95 <= columns(bars, "#0000ff").max() <= 106
    assert bars.tip_at(5, 8) == "12 of 24 objects"
    assert bars.tip_at(5, 400) == ""
    whiskers = WhiskersPlot("recall, 95 % confidence")
    qtbot.addWidget(whiskers)
    whiskers.show_whiskers([Whisker("", 0.5, 0.25, 0.75, "", "#0000ff", "50 % (25 to 75 %)")])
    line = columns(whiskers, "#0000ff")
    assert 44 <= line.min() <= 58
    assert 142 <= line.max() <= 156
    assert whiskers.tip_at(5, 8) == "50 % (25 to 75 %)"
    whiskers.show_whiskers([Whisker("unknown", float("nan"), 0.0, 1.0, "")])
    assert not len(columns(whiskers, FILL))


def test_a_gauge_is_filled_to_its_share_and_hidden_without_a_reading(qtbot):
    gauge = Gauge("missed")
    qtbot.addWidget(gauge)
    assert gauge.isHidden()
    gauge.show_reading(Reading("Missed at most 12 %", 0.48, "#0000ff", ((0.2, "5 %"), (1.0, "25 %")), tip="0 of 300"))
    assert not gauge.isHidden()
    assert 92 <= columns(gauge, "#0000ff").max() <= 99
    assert gauge.tip_at(1, 1) == "0 of 300"
    gauge.show_reading(None)
    assert gauge.isHidden()


def test_the_image_in_one_line_has_a_unit_or_says_pixels(qtbot):
    fine, coarse = Level(np.zeros((8, 64, 48)), (40, 4, 4)), Level(np.zeros((8, 32, 24)), (40, 8, 8))
    assert size_text(Volume((fine, coarse)), 1) == "level 1 · 8 × 32 × 24 · 40 × 8 × 8 nm"
    assert size_text(Volume((Level(np.zeros((8, 64, 48)), (2000, 1000, 1000)),)), 0).endswith("· 2 × 1 × 1 µm")
    bare = Volume((fine,), calibrated=False)
    assert size_text(bare, 0) == "level 0 · 8 × 64 × 48 · pixels"
    line, layer = ImageLine(), Image(np.zeros((8, 8)), name="em")
    qtbot.addWidget(line)
    assert line.text() == NO_IMAGE
    line.show_image(layer, "level 0")
    assert (line.text(), line.about) == ("em", "level 0")
    layer.name = "stack"
    assert line.text() == "stack"
    line.release()
    layer.name = "not followed"
    assert line.text() == "stack"


@pytest.mark.gl
def test_the_image_unfolds_where_it_needs_a_voxel_size_and_folds_when_it_has_one(viewer, qtbot):
    viewer.add_image(np.zeros((8, 64, 48), np.uint8), name="sized", scale=(50, 4, 4), units="nm")
    box = InputBox(viewer)
    qtbot.addWidget(box)
    box.layers.chosen.emit()
    qtbot.waitUntil(lambda: box.full is not None, timeout=5000)
    assert box.body.isHidden()
    assert box.line.about == "level 0 · 8 × 64 × 48 · 50 × 4 × 4 nm"
    box.line.click()
    assert not box.body.isHidden()
    box.line.click()
    layer = viewer.add_image(np.zeros((8, 64, 48), np.uint8), name="bare")
    box.layers.choose(layer)
    qtbot.waitUntil(lambda: not box.body.isHidden(), timeout=5000)
    assert box.line.about.endswith("pixels")
    for part, nm in zip(box.voxel.boxes, (30, 8, 8), strict=True):
        part.setValue(nm)
    qtbot.waitUntil(lambda: box.line.about.endswith("30 × 8 × 8 nm"), timeout=5000)
    assert box.body.isHidden()
    np.testing.assert_allclose(layer.scale, (30, 8, 8))
    box.close_jobs()


def test_what_stands_in_the_footer_stays_in_sight(qtbot):
    class Tall(Dock):
        def __init__(self):
            super().__init__()
            self.button = QPushButton("Run")
            self.lay_out([QLabel("line\n" * 200)], footer=[self.button])

    dock = Tall()
    qtbot.addWidget(dock)
    dock.resize(350, 500)
    dock.show()
    for place in (0, dock.scroller.verticalScrollBar().maximum()):
        dock.scroller.verticalScrollBar().setValue(place)
        assert dock.rect().contains(dock.button.geometry().translated(dock.footer.pos()))
        assert not dock.button.visibleRegion().isEmpty()


def test_details_are_folded_until_they_are_asked_for(qtbot):
    text = QLabel("numbers")
    fold = Details(text)
    qtbot.addWidget(fold)
    assert not text.isVisibleTo(fold)
    fold.button.click()
    assert text.isVisibleTo(fold)
    fold.unfold(False)
    assert not text.isVisibleTo(fold)


def test_the_tab_key_visits_the_parts_from_top_to_bottom(qtbot):
    class Odd(Dock):
        def __init__(self):
            super().__init__()
            run, last, first = QPushButton("run"), QPushButton("last"), QPushButton("first")  # made in another order
            self.lay_out([first, last], footer=[run])
            self.wanted = [first, last, run]

    dock = Odd()
    qtbot.addWidget(dock)
    visited, widget = [], dock.wanted[0]
    for _ in range(50):
        if widget in dock.wanted and widget not in visited:
            visited.append(widget)
        widget = widget.nextInFocusChain()
    assert visited == dock.wanted
