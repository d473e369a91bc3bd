"""What a user of the dock "Adapt to my data" does, for its tests."""

from __future__ import annotations

import numpy as np
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication


def settle(bar, qtbot):
    """Wait for a job that goes well."""
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=60000)
    assert bar.error.label.text() == ""


def refused(bar, qtbot):
    """Wait for a job that ends in one sentence, and hand that over."""
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=60000)
    said = bar.error.label.text()
    assert said
    assert "\n" not in said
    return said


def commit(dock, qtbot):
    """Commit the open patch, and wait until it is written or refused."""
    dock.annotate.commit()
    qtbot.waitUntil(lambda: not dock.project.committing, timeout=30000)


def canvas_of(viewer, qtbot):
    """The widget that napari draws on, of a window that is shown and active: else no shortcut of Qt works."""
    from vispy.app.backends._qt import CanvasBackendDesktop

    window = next(w for w in QApplication.topLevelWidgets() if w.findChild(CanvasBackendDesktop) is not None)
    window.resize(640, 480)  # the smaller the fewer pixels Mesa draws
    viewer.show()
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=10000)
    return window.findChild(CanvasBackendDesktop)


def press(widget, key):
    """A real key event with the focus in a widget."""
    widget.setFocus()
    QTest.keyClick(widget, key)


def half(dock):
    """A valid annotation in one stroke: membrane above, inside below."""
    labels = dock.annotate.patch.labels
    shape = labels.data.shape
    rows = np.arange(shape[1])[None, :, None] * np.ones(shape, int)
    for value, where in ((1, rows < 20), (2, rows >= 20)):
        labels.data_setitem(np.nonzero(where), np.uint32(value))
    return np.where(rows < 20, 1, 2)


def show(viewer, dock, qtbot, array, name, **keywords):
    """Add an image layer and choose it in the dock."""
    viewer.add_image(array, name=name, **keywords)
    dock.image.layers.setCurrentText(name)
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == name, timeout=10000)
