"""Every key that a dock promises, as a user presses it: with the focus on the canvas and in the dock."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLineEdit, QListWidget, QPushButton, QSpinBox

from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.viewer.view import RESULT
from tests.widgets.adapt_steps import canvas_of, press
from tests.widgets.cascade.test_cascade_dock import dock as cascade  # noqa: F401 - fixtures
from tests.widgets.cascade.test_cascade_dock import fake, run  # noqa: F401

LETTERS = "NPAXUCKM012"


class Column(Dock):
    """A dock of one widget of each kind that may have the focus."""

    def __init__(self):
        super().__init__()
        self.list, self.combo, self.line, self.spin = QListWidget(), QComboBox(), QLineEdit(), QSpinBox()
        self.button = QPushButton("press")
        for box in (self.list, self.combo):
            box.addItems(["Nine", "Paint", "Apple"])
        self.pressed = []
        self.keys = Keys(self.button)
        self.lay_out([self.list, self.combo, self.line, self.spin, self.button])

    def bind(self, viewer, letters=LETTERS):
        self.keys.bind((viewer,), {k: lambda k=k: self.pressed.append(k) for k in letters})

    def close_jobs(self):
        self.keys.release()


@pytest.fixture
def column(viewer):
    viewer.add_image(np.zeros((4, 32, 32), np.uint8), name="em")
    viewer.add_points(np.zeros((1, 3)), name="found", metadata={RESULT: True})
    viewer.add_labels(np.zeros((4, 32, 32), np.uint8), name="masks", metadata={RESULT: True})
    widget = Column()
    viewer.window.add_dock_widget(widget)
    yield widget
    widget.close_jobs()


def key(letter):
    return getattr(Qt.Key, f"Key_{letter}")


@pytest.mark.gl
@pytest.mark.parametrize("active", ["em", "found", "masks", None])
def test_keys_work_wherever_the_focus_is(column, viewer, qtbot, active):
    canvas = canvas_of(viewer, qtbot)
    column.bind(viewer)
    viewer.layers.selection.active = viewer.layers[active] if active else None
    for widget in (canvas, column.list, column.combo, column.button):
        column.pressed.clear()
        for letter in LETTERS:
            press(widget, key(letter))
        assert "".join(column.pressed) == LETTERS, type(widget).__name__


@pytest.mark.gl
def test_who_writes_writes_and_who_edits_layers_of_their_own_keeps_napari_s_keys(column, viewer, qtbot):
    canvas = canvas_of(viewer, qtbot)
    column.bind(viewer)
    for letter in "NPX":
        press(column.line, key(letter))
    press(column.spin, key("1"))
    assert (column.line.text().upper(), column.spin.value(), column.pressed) == ("NPX", 10, [])
    own = viewer.add_labels(np.zeros((4, 32, 32), np.uint8), name="own")
    viewer.layers.selection.active = own
    own.mode = "paint"
    press(canvas, key("1"))
    assert (str(own.mode), column.pressed) == ("erase", [])


@pytest.mark.gl
@pytest.mark.parametrize("first", [0, 1])
def test_docks_give_keys_back_in_any_order(column, viewer, qtbot, first):
    other, canvas = Column(), canvas_of(viewer, qtbot)
    mine = []
    viewer.bind_key("N", lambda _: mine.append("N"))
    docks = [column, other]
    for each in docks:
        each.bind(viewer, "N")
    docks[first].keys.release()
    press(canvas, key("N"))
    assert [each.pressed for each in docks] == ([[], ["N"]] if first == 0 else [["N"], []])
    docks[1 - first].keys.release()
    press(canvas, key("N"))
    assert (mine, sum(len(each.pressed) for each in docks)) == (["N"], 1)
    assert "C" not in {str(k) for k in viewer.layers["em"].keymap}


@pytest.mark.gl
@pytest.mark.parametrize("active", ["detections", "em"])
def test_every_key_of_a_review(cascade, viewer, qtbot, active):  # noqa: F811
    run(cascade, qtbot)
    results, canvas = cascade.results, canvas_of(viewer, qtbot)
    points = results.layers.points
    layer = viewer.layers[points.name if active == "detections" else active]
    promised = {m[1] for b in results.buttons.values() if (m := re.search(r"\((\w)\)", b.text()))}
    assert promised == {"N", "P", "A", "X", "U", "M"}
    judged = {
        "N": ["new", "new", "new"],
        "A": ["new", "accepted", "new"],
        "X": ["new", "accepted", "rejected"],
        "U": ["new", "accepted", "new"],
    }
    for widget in (canvas, cascade.image.layers, results.buttons["next"]):
        results.review.current = -1
        for letter, wanted in judged.items():
            viewer.layers.selection.active = layer
            press(widget, key(letter))
            assert points.features["status"].tolist() == wanted, (type(widget).__name__, letter)
        here = results.review.current
        press(widget, key("P"))
        assert results.review.current != here
        results.undo()
