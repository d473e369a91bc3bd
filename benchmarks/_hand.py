"""A user's hand: mouse and keys sent to a real napari window, with what was waited for and what the window showed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari
import numpy as np
from _gui_live import Ticks
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QCheckBox, QComboBox, QMenu, QScrollArea, QWidget
from skimage.morphology import skeletonize

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
LONG_MS = 100
"""Longest gap between two ticks of the event loop that nobody notices."""


class OutOfReach(RuntimeError):
    """A user could not click this: it is hidden, grey, or lies under something else."""


@dataclass(frozen=True)
class Wait:
    """What was waited for, how long, and the gaps between two ticks of the event loop meanwhile, ms."""

    what: str
    seconds: float
    gaps: np.ndarray

    def __str__(self) -> str:
        p99, worst = (np.percentile(self.gaps, 99), self.gaps.max()) if self.gaps.size else (0, 0)
        long = int((self.gaps > LONG_MS).sum())
        return f"| {self.what} | {self.seconds:.1f} s | {p99:.0f} ms | {worst:.0f} ms | {long} |"


@dataclass
class Hand:
    """Clicks, keys and waits of one story.

    Parameters
    ----------
    viewer
        Visible.
    out
        Folder for the pictures of the window.
    """

    viewer: napari.Viewer
    out: Path
    clicks: int = 0
    scrolled: int = 0
    waits: list[Wait] = field(default_factory=list)
    _ticks: Ticks = field(default_factory=Ticks)
    _timer: QTimer = field(default_factory=QTimer)
    _shots: int = 0

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self._timer.setInterval(5)
        self._timer.timeout.connect(lambda: self._ticks.beat())
        self._timer.start()

    @property
    def window(self) -> Any:
        """The main window."""
        return self.viewer.window._qt_window

    @property
    def canvas(self) -> Any:
        """The widget that shows the layers."""
        return self.viewer.window._qt_viewer.canvas.native

    def until(self, what: str, holds: Callable[[], object], limit_s: float = 1800) -> None:
        """Wait for something, and note how long.

        Raises
        ------
        TimeoutError
            After ``limit_s``.
        """
        self._ticks = Ticks()
        begin = time.perf_counter()
        while not holds():
            if time.perf_counter() - begin > limit_s:
                self.shot("in vain")
                raise TimeoutError(f"{what}: waited {limit_s} s in vain")
            QApplication.processEvents()
            time.sleep(0.001)
        seconds = time.perf_counter() - begin
        self.settle(0.6)  # what it brings is drawn
        self.waits.append(Wait(what, seconds, self._ticks.gaps_ms(self._ticks.times)))
        print(self.waits[-1], flush=True)

    def settle(self, seconds: float = 0.3) -> None:
        """Run the event loop for a while."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.001)

    def shot(self, name: str) -> None:
        """Save a picture of the screen."""
        self.settle(0.5)
        self._shots += 1
        screen = QApplication.primaryScreen()
        assert screen is not None
        screen.grabWindow(0).save(str(self.out / f"{self._shots:02d} {name}.png"))

    def find(self, text: str, inside: QWidget | None = None) -> QAbstractButton:
        """The visible button whose text begins so.

        Raises
        ------
        OutOfReach
            If there is none.
        """
        for button in (inside or self.window).findChildren(QAbstractButton):
            if button.isVisible() and (button.text() or "").replace("&", "").startswith(text):
                return button
        raise OutOfReach(f"no button {text!r}")

    def click(self, what: QWidget | str, at: QPoint | None = None) -> None:
        """Click a widget, or the button with a text, scrolled into view with the wheel first.

        Raises
        ------
        OutOfReach
            If a user could not.
        """
        widget = self.find(what) if isinstance(what, str) else what
        self._bring(widget)
        place = at or (QPoint(10, widget.height() // 2) if isinstance(widget, QCheckBox) else widget.rect().center())
        self._check(widget, place)
        self.clicks += 1
        QTest.mouseClick(widget, LEFT, NONE, place)
        self.settle()

    def choose(self, box: QComboBox, text: str) -> None:
        """Open a box and click one of its entries."""
        self.click(box)
        view = box.view()
        assert view is not None
        rect = view.visualRect(view.model().index(box.findText(text, Qt.MatchFlag.MatchStartsWith), 0))
        self.clicks += 1
        QTest.mouseClick(view.viewport(), LEFT, NONE, rect.center())
        self.settle()

    def menu(self, *names: str) -> None:
        """Click through the menus."""
        at: Any = self.window.menuBar()
        for name in names:
            there = {a.text().replace("&", ""): a for a in at.actions()}
            action = there.get(name)
            if action is None:
                raise OutOfReach(f"no {name!r} in the menu, which has {', '.join(filter(None, there))}")
            self.clicks += 1
            QTest.mouseClick(at, LEFT, NONE, at.actionGeometry(action).center())
            self.settle(0.5)
            at = action.menu() or at
            if isinstance(at, QMenu) and name != names[-1]:
                while not at.isVisible():
                    self.settle(0.1)

    def key(self, key: Qt.Key) -> None:
        """Press a key over the canvas; counted as a click."""
        self.clicks += 1
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key)
        self.settle()

    def touch(self, place: np.ndarray) -> None:
        """Click a pixel of the canvas, (x, y)."""
        self.clicks += 1
        at = QPoint(*map(int, place))
        QTest.mouseMove(self.canvas, at)
        self.settle(0.1)
        QTest.mouseClick(self.canvas, LEFT, NONE, at)
        self.settle(0.5)

    def drag(self, points: np.ndarray) -> None:
        """Draw with the mouse from pixel to pixel of the canvas, (n, 2) as (x, y); counted as one click."""
        first, *rest = [QPoint(int(x), int(y)) for x, y in points]
        self.clicks += 1
        QTest.mouseMove(self.canvas, first)
        QTest.mousePress(self.canvas, LEFT, NONE, first)
        for place in rest:
            there = QPointF(self.canvas.mapToGlobal(place))
            event = QMouseEvent(QEvent.Type.MouseMove, QPointF(place), there, Qt.MouseButton.NoButton, LEFT, NONE)
            QApplication.sendEvent(self.canvas, event)
            QApplication.processEvents()
        QTest.mouseRelease(self.canvas, LEFT, NONE, rest[-1] if rest else first)
        self.settle(0.05)

    def pixels(self, layer: Any, points: np.ndarray) -> np.ndarray:
        """Canvas pixels (n, 2) as (x, y) of a layer's voxels (n, ndim), in the viewer's last two axes."""
        world = np.array([layer.data_to_world(point) for point in points])[:, -2:]
        camera, size = self.viewer.scene.camera, self.canvas.size()
        away = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return away[:, ::-1] + np.array([size.width(), size.height()]) / 2

    def _bring(self, widget: QWidget) -> None:
        """Turn the wheel over the panel that scrolls until the widget's middle is in view."""
        panel = widget.parentWidget()
        while panel is not None and not isinstance(panel, QScrollArea):
            panel = panel.parentWidget()
        if panel is None:
            return
        view = panel.viewport()
        assert view is not None
        for _ in range(60):
            y = widget.mapTo(view, widget.rect().center()).y()
            if 0 <= y < view.height():
                return
            self._wheel(view, down=y >= view.height())

    def _wheel(self, view: QWidget, down: bool) -> None:
        self.scrolled += 1
        middle = view.rect().center()
        angle = QPoint(0, -60 if down else 60)
        there, phase = QPointF(view.mapToGlobal(middle)), Qt.ScrollPhase.NoScrollPhase
        event = QWheelEvent(QPointF(middle), there, QPoint(), angle, Qt.MouseButton.NoButton, NONE, phase, False)
        QApplication.sendEvent(view, event)
        self.settle(0.05)

    def _check(self, widget: QWidget, place: QPoint) -> None:
        top = QApplication.widgetAt(widget.mapToGlobal(place))
        named = f"{type(widget).__name__} {widget.property('text') or ''!r}"
        if not widget.isVisible() or not widget.isEnabled():
            raise OutOfReach(f"{named} is {'grey' if widget.isVisible() else 'hidden'}")
        if top is None or not (top is widget or widget.isAncestorOf(top) or top.isAncestorOf(widget)):
            raise OutOfReach(f"{named} lies under {top}")


def strokes(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Lines (n, 2) along the middle of what is True in a mask (y, x), as a hand would draw them."""
    left = {(int(y), int(x)) for y, x in np.argwhere(skeletonize(mask))}
    while left:
        ends = [p for p in left if len(_beside(p, left)) == 1]
        line = [min(ends or left)]
        left.discard(line[0])
        while near := _beside(line[-1], left):
            line.append(min(near, key=lambda p: (abs(p[0] - line[-1][0]) + abs(p[1] - line[-1][1]), p)))
            left.discard(line[-1])
        yield np.array(line)


def _beside(place: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    y, x = place
    return [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (y + a, x + b) in left]
