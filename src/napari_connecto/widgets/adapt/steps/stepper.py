"""The steps as a row of numbers, and the footer with the next action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_connecto.widgets.adapt.steps.plan import NAMES, Next
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.painted.ink import FILL, GOOD, PRIMARY, text_of, track_of

CIRCLE, HEIGHT = 20.0, 40


class Heading(QToolButton):
    """Number and name of a step; its text adds the result. Grey while it cannot be done yet."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self.number, self.name, self.summary, self.why = number, name, "", ""
        self.setCheckable(True)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.show_state("", "")

    def show_state(self, summary: str, why: str) -> None:
        """Show its result ("" for none), and why it cannot be done yet ("": it can)."""
        self.summary, self.why = summary, why
        title = f"{self.number} {self.name}"
        self.setText(f"{title}: {summary}" if summary else title)
        self.setToolTip(f"{title}: {why}" if why else f"{self.text()}\nSteps can be revisited")
        self.update()

    def sizeHint(self) -> QSize:
        """As wide as its name; the text may be longer."""
        return QSize(56, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """As `sizeHint`."""
        return self.sizeHint()

    def paintEvent(self, _event: Any) -> None:
        """A numbered circle, filled for the open step, with a tick once there is a result; the name below."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font, area = painter.font(), QRectF(self.rect())
        ring = QRectF(area.center().x() - CIRCLE / 2, 2, CIRCLE, CIRCLE)
        faint = track_of(self, 110)
        colour = QColor(FILL) if self.isChecked() else QColor(GOOD) if self.summary else text_of(self)
        ink = faint if self.why and not self.isChecked() else colour
        painter.setPen(QPen(ink, 1.6))
        painter.setBrush(ink if self.isChecked() else self.palette().window())
        painter.drawEllipse(ring)
        font.setPixelSize(11)
        font.setBold(self.isChecked())
        painter.setFont(font)
        painter.setPen(QColor("black") if self.isChecked() else ink)
        done = self.summary and not self.isChecked()
        painter.drawText(ring, Qt.AlignmentFlag.AlignCenter, "✓" if done else str(self.number))
        painter.setPen(faint if self.why and not self.isChecked() else text_of(self))
        below = QRectF(area.left(), ring.bottom() + 1, area.width(), area.height() - ring.bottom() - 1)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, self.name)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawRect(area.adjusted(1, 0, -1, -1))


class Stepper(QWidget):
    """The steps side by side. ``asked`` is emitted with the number of a step that was clicked and can be done."""

    asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._step = 1
        self.headings = [Heading(n, name) for n, name in enumerate(NAMES, start=1)]
        self.line = text_line("Result of the open step, or why another one cannot be done yet")
        steps = QHBoxLayout()
        steps.setSpacing(0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for heading in self.headings:
            heading.clicked.connect(lambda _=False, one=heading: self._on_clicked(one))
            steps.addWidget(heading)
        layout.addLayout(steps)
        layout.addWidget(self.line)

    @property
    def step(self) -> int:
        """The open step, 1 to 5."""
        return self._step

    def show_step(self, step: int) -> None:
        """Mark the open step."""
        self._step = step
        for heading in self.headings:
            heading.setChecked(heading.number == step)
        self._say("")

    def show_states(self, summaries: list[str], blocked: Mapping[int, str]) -> None:
        """Show the result of each step, and which cannot be done yet."""
        for heading, summary in zip(self.headings, summaries, strict=True):
            heading.show_state(summary, blocked.get(heading.number, ""))
        self._say("")

    def _on_clicked(self, heading: Heading) -> None:
        """A step that cannot be done yet says why instead of opening."""
        self.show_step(self._step)  # a click has toggled it
        if heading.why:
            self._say(f"{heading.number} {heading.name}: {heading.why}.")
        else:
            self.asked.emit(heading.number)

    def _say(self, text: str) -> None:
        self.line.setText(text)
        self.line.setVisible(bool(text))


class NextBar(QWidget):
    """Back, and the one next action in words. ``pressed`` is emitted with it."""

    pressed = Signal(object)
    back_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.next: Next | None = None
        self.back, self.button = QPushButton("◀"), QPushButton()
        self.back.setToolTip("Previous step")
        self.back.setFixedWidth(34)
        self.button.setToolTip("The next action")
        self.button.setStyleSheet(PRIMARY)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.back)
        layout.addWidget(self.button, 1)
        self.button.clicked.connect(lambda _=False: self.pressed.emit(self.next))
        self.back.clicked.connect(lambda _=False: self.back_asked.emit())

    def show_next(self, found: Next, first: bool, busy: str) -> None:
        """Show the next action; ``busy`` names a job that must end first."""
        self.next = found
        self.button.setText(busy or f"{found.text} ▶")
        self.button.setEnabled(not busy)
        self.back.setEnabled(not first)
