"""Base of all docks: a scrolling column over a footer that stays, one chosen image, jobs that end with the dock."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.frame.tabs import Tabs
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.subject import Choice
from napari_connecto.widgets.shared.worker import State
from napari_connecto.widgets.viewer.collector import COLLECTOR

if TYPE_CHECKING:
    from napari_connecto.widgets.shared.live.live import LiveButton

GAP = 6
"""Pixels between parts."""


class Dock(QWidget):
    """A scrolling column of parts over a footer that is always in sight; `close_jobs` is called when napari closes it.

    Its job bars name the image they run on, see `follow`. Stopping a job by closing the dock shows a notification.
    """

    def __init__(self) -> None:
        super().__init__()
        self._docked = False
        self._choice: Choice | None = None
        self._removing: Any = None
        self._key = object()
        self.live: LiveButton | None = None
        self.scroller = QScrollArea()
        self._wanted: QWidget | None = None
        self._scrolling = QTimer(self)
        self._scrolling.setSingleShot(True)
        self._scrolling.timeout.connect(self._on_scroll)
        self._tabs = Tabs(self, Dock)
        self._tabs.fronted.connect(self._on_front)
        self.setMinimumSize(300, 400)

    def sizeHint(self) -> QSize:
        """Wide enough to read without horizontal scrolling."""
        return QSize(380, 640)

    def lay_out(self, parts: Sequence[QWidget], footer: Sequence[QWidget] = ()) -> None:
        """Stack the parts vertically; what starts and stops jobs belongs in the footer, below the scrolling column."""
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(GAP)
        for part in parts:
            column.addWidget(part)
        column.addStretch()
        self.scroller.setWidgetResizable(True)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.scroller, 1)
        if footer:
            layout.addWidget(self._footer(footer))
        _tab_through([*parts, *footer])

    def _footer(self, parts: Sequence[QWidget]) -> QWidget:
        """What stands below the column, with a line above it."""
        self.footer = QFrame()
        column = QVBoxLayout(self.footer)
        column.setContentsMargins(4, 2, 4, 4)
        column.setSpacing(GAP)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        for part in (line, *parts):
            column.addWidget(part)
        return self.footer

    def scroll_to(self, part: QWidget) -> None:
        """Show a part at the top, once the layout has settled."""
        self._wanted = part
        self._scrolling.start()

    def _on_scroll(self) -> None:
        bar = self.scroller.verticalScrollBar()
        if bar is not None and self._wanted is not None:
            bar.setValue(self._wanted.y() - GAP)

    def follow(self, viewer: Any, image: InputBox) -> None:
        """Tell every job bar in this dock which image is chosen; call it once, after `lay_out`."""
        self._choice = Choice(viewer, lambda: image.layer, self)
        for bar in self.findChildren(JobBar):
            bar.follow(self._choice)
            bar.worker.state_changed.connect(lambda state: image.newest.keep() if state is State.RUNNING else None)
        image.layers.chosen.connect(self._choice.changed)
        self._removing = viewer.layers.events.removing
        self._removing.connect(self._on_removing)
        COLLECTOR.open(self._key)
        self.destroyed.connect(partial(COLLECTOR.close, self._key))  # with its viewer, too
        if self.live is not None:
            self.live.bind()
            self.live.toggled.connect(image.newest.keep)

    def event(self, event: QEvent | None) -> bool:
        """Close the jobs when the dock is closed, which takes this widget out of it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                stopped = [bar.left_behind() for bar in self.findChildren(JobBar)]
                self.close_jobs()
                for line in filter(None, stopped):
                    show_info(line)
            if not self._docked and self.parent() is not None:
                self._tabs.watch()
            self._docked = self.parent() is not None
        return super().event(event)

    def _on_removing(self, _event: Any) -> None:
        """A layer is about to be removed; napari runs a full collection after it, which must find what it held."""
        COLLECTOR.search_all()

    def _on_front(self) -> None:
        """Of two docks that are tabs, the key of Live belongs to the one in front."""
        if self.live is not None and self._choice is not None:
            self.live.bind()

    def close_jobs(self) -> None:
        """Stop all jobs and release the keys; extended by every dock."""
        if self._choice is not None:
            self._choice.release()
            self._choice = None
            self._removing.disconnect(self._on_removing)
            COLLECTOR.close(self._key)
        if self.live is not None:
            self.live.close_jobs()


def _tab_through(parts: Sequence[QWidget]) -> None:
    """Let the Tab key visit the parts from top to bottom, in whatever order they were made."""
    stops = [stop for part in parts for stop in _stops(part)]
    for before, after in pairwise(stops):
        QWidget.setTabOrder(before, after)


def _stops(widget: QWidget) -> list[QWidget]:
    """The controls in a widget that take the focus by Tab, in the order in which they were made."""
    whole = not isinstance(widget, QTabWidget) and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
    if whole:
        return [widget]  # what is inside belongs to it: the line of a number box, the list of a choice
    inside = [child for child in widget.children() if isinstance(child, QWidget) and not child.isWindow()]
    return [stop for child in inside for stop in _stops(child)]


def row(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return holder
