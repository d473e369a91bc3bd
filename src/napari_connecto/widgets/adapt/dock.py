"""The dock "Adapt to my data": choose a model, annotate, fine-tune, compare, segment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QSizePolicy, QToolButton, QWidget

from napari_connecto.widgets.adapt.annotate.panel import AnnotateBox
from napari_connecto.widgets.adapt.choose import ChooseBox
from napari_connecto.widgets.adapt.compare import CompareBox
from napari_connecto.widgets.adapt.contrast import ContrastBanner
from napari_connecto.widgets.adapt.live import live_button
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.segment import SegmentBox
from napari_connecto.widgets.adapt.tune import TuneBox
from napari_connecto.widgets.shared.dock import Dock
from napari_connecto.widgets.shared.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.worker import State

if TYPE_CHECKING:
    import napari

WAITING = "a patch is being opened or committed; try again in a moment"
STEPS = ("Choose", "Annotate", "Fine-tune", "Compare", "Segment")


class AdaptWidget(Dock):
    """Five steps, one open at a time; each can be revisited, and its heading shows its result."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.image = InputBox(napari_viewer)
        self.project = Project(napari_viewer, self.image)
        self.contrast = ContrastBanner(self.project)
        self.choose = ChooseBox(self.project)
        self.annotate = AnnotateBox(self.project)
        self.tune = TuneBox(self.project)
        self.compare = CompareBox(self.project)
        self.segment = SegmentBox(self.project)
        self.live = live_button(self)
        self.bodies: list[Any] = [self.choose, self.annotate, self.tune, self.compare, self.segment]
        self.headings = [Heading(f"{n} {name}") for n, name in enumerate(STEPS, start=1)]
        parts: list[QWidget] = [self.image, self.contrast]
        for n, (heading, body) in enumerate(zip(self.headings, self.bodies, strict=True)):
            heading.clicked.connect(lambda _=False, n=n: self.go_to(n + 1))
            parts += [heading, body]
        self.lay_out(parts)
        self.follow(napari_viewer, self.image)
        self._scroller = QTimer(self)  # once the new layout is done
        self._scroller.setSingleShot(True)
        self._scroller.timeout.connect(self._scroll)
        self._session_bars = (self.annotate.bar, self.tune.bar, self.compare.bar, self.segment.bar)
        for bar in self._session_bars:
            bar.ended.connect(partial(self._tell_ended, bar))
        self.project.busy = self._busy
        self.project.changed.connect(self._show_summaries)
        self.project.voxel_size_asked.connect(lambda: self.go_to(1))
        self.compare.bar.worker.state_changed.connect(self._show_summaries)
        self.go_to(1)
        self.image.layers.chosen.emit()

    @property
    def step(self) -> int:
        """The open step, 1 to 5."""
        return next(n for n, heading in enumerate(self.headings, start=1) if heading.isChecked())

    def go_to(self, step: int) -> None:
        """Open a step and fold the others."""
        for n, (heading, body) in enumerate(zip(self.headings, self.bodies, strict=True), start=1):
            heading.show_open(n == step)
            body.setVisible(n == step)
        self.image.setVisible(step == 1)
        if step != 1 and self.choose.panels is not None:
            self.choose.panels.close()
        if step != 4:
            self.compare.hide_patches()
        self.segment.show_cost()
        self._scroller.start(0)

    def close_jobs(self) -> None:
        """Stop all jobs, release the keys and the session's folder."""
        super().close_jobs()
        for body in self.bodies:
            body.close_jobs()
        self.contrast.close_jobs()
        self.image.close_jobs()
        self.project.close()

    def _tell_ended(self, bar: JobBar) -> None:
        """A job ended after another image was chosen, which this dock now shows."""
        subject = bar.subject
        if subject is not None:
            there = subject.layer in self.project.viewer.layers
            again = "Choose its layer again" if there else "Open it again and resume its session in step 2"
            show_info(
                f"The job '{bar.worker.name}' on '{subject.name}' has ended. {again} to continue with the result."
            )

    def _busy(self) -> str:
        """The running job of the session that keeps another image waiting; "" for none."""
        for bar in self._session_bars:
            if bar.worker.state.busy:
                return bar.waiting if bar.subject is not None else WAITING
        return WAITING if self.annotate.desk.busy else ""

    def _scroll(self) -> None:
        bar = self.scroller.verticalScrollBar()
        if bar is not None:
            bar.setValue(0 if self.step == 1 else self.headings[0].y() - 4)

    def _show_summaries(self, _state: State | None = None) -> None:
        for heading, body in zip(self.headings, self.bodies, strict=True):
            heading.show_summary(body.summary)


class Heading(QToolButton):
    """Name of a step and its result, if there is one; a click opens the step."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.setCheckable(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("QToolButton { text-align: left; font-weight: bold; padding: 3px; }")
        self.setToolTip("Open this step and fold the others. Steps can be revisited")
        self.show_summary("")
        self.show_open(False)

    def show_open(self, on: bool) -> None:
        """Show whether its step is open."""
        self.setChecked(on)
        self.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

    def show_summary(self, summary: str) -> None:
        """Show the result of its step."""
        self.setText(f"{self.title}: {summary}" if summary else self.title)
