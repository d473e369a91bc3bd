"""The dock that goes with a sample opens beside it, ready to run."""

from __future__ import annotations

from typing import Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMainWindow

PLUGIN = "napari-connecto"


def open_beside(sample: str, title: str) -> None:
    """Open a dock once napari has added the sample that it is about to add; an open dock comes to the front.

    Nothing happens without a visible viewer: scripts and tests that open a sample want layers alone.

    Parameters
    ----------
    sample
        Key of the sample, as in the manifest; its first layer becomes the dock's image.
    title
        Display name of the dock, as in the manifest.
    """
    viewer = napari.current_viewer()
    if viewer is not None and any(window.isVisible() for window in _main_windows()):
        QTimer.singleShot(0, lambda: _open(viewer, sample, title))


def _main_windows() -> list[QMainWindow]:
    return [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QMainWindow)]


def _open(viewer: Any, sample: str, title: str) -> None:
    added = [layer for layer in viewer.layers if layer.source.sample == (PLUGIN, sample)]
    if not added:  # napari could not add it, and has said so
        return
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, title, tabify=True)
    dock.show()
    dock.raise_()
    newest = [layer for layer in added if layer.visible][-1:] or added[:1]
    viewer.layers.selection.active = newest[0]
    widget.image.layers.choose(newest[0])
