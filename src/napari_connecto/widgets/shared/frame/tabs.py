"""Docks that are opened one after the other become tabs: one below the other, each would be half as high."""

from __future__ import annotations

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QWidget


class Tabs(QObject):
    """Makes the dock around a widget a tab of another dock of the same kind, as soon as the window has placed it.

    ``fronted`` is emitted whenever it comes into sight.
    """

    fronted = Signal()

    def __init__(self, widget: QWidget, kind: type[QWidget]) -> None:
        super().__init__(widget)
        self._widget, self._kind = widget, kind
        self._raising = QTimer(self)  # once napari has shown it
        self._raising.setSingleShot(True)
        self._raising.timeout.connect(self._on_raise)

    def watch(self) -> None:
        """The widget has been put into a dock, which the window is about to place."""
        dock = _dock_around(self._widget)
        if dock is not None:
            dock.dockLocationChanged.connect(self._on_placed)
            dock.visibilityChanged.connect(self._on_visible)

    def _on_visible(self, on: bool) -> None:
        if on:
            self.fronted.emit()

    def _on_placed(self) -> None:
        """Before the window is laid out, which would grow for both docks one below the other."""
        dock = _dock_around(self._widget)
        if dock is None:
            return
        dock.dockLocationChanged.disconnect(self._on_placed)  # later the user may place it anywhere
        window = dock.parent()
        if not isinstance(window, QMainWindow):
            return
        others = [found for found in map(_dock_around, window.findChildren(self._kind)) if found is not None]
        area = window.dockWidgetArea(dock)
        beside = [o for o in others if o is not dock and o.isVisible() and window.dockWidgetArea(o) == area]
        if beside and not beside[-1].isFloating():
            window.tabifyDockWidget(beside[-1], dock)
            for each in (*beside, dock):
                each.setWindowTitle(short_title(each.windowTitle()))
            self._raising.start(0)

    def _on_raise(self) -> None:
        dock = _dock_around(self._widget)
        if dock is None:
            return
        dock.raise_()
        window = dock.parent()
        for bar in window.findChildren(QTabBar) if window is not None else ():
            if bar.parent() is window and dock.windowTitle() in map(bar.tabText, range(bar.count())):
                bar.setElideMode(Qt.TextElideMode.ElideNone)  # what does not fit is reached by its arrows
                bar.setUsesScrollButtons(True)


def short_title(title: str) -> str:
    """A dock's title without the name of the plugin, which napari adds: as a tab it would be cut."""
    return title.partition(" (")[0]


def _dock_around(widget: QWidget) -> QDockWidget | None:
    """The dock of the window that a widget is in."""
    found: QWidget | None = widget
    while found is not None and not isinstance(found, QDockWidget):
        found = found.parentWidget()
    return found
