"""The dock "Adapt to my data": choose a model, annotate, fine-tune, compare, segment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_connecto.widgets.adapt.annotate.panel import AnnotateBox
from napari_connecto.widgets.adapt.choose import ChooseBox
from napari_connecto.widgets.adapt.compare import CompareBox
from napari_connecto.widgets.adapt.contrast import ContrastBanner
from napari_connecto.widgets.adapt.live import live_button
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.segment import SegmentBox
from napari_connecto.widgets.adapt.steps.plan import Next, Situation, blocked, next_of
from napari_connecto.widgets.adapt.steps.stepper import NextBar, Stepper
from napari_connecto.widgets.adapt.tune import TuneBox
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.live.line import LiveLine
from napari_connecto.widgets.shared.worker import State

if TYPE_CHECKING:
    import napari

WAITING = "a patch is being opened or committed; try again in a moment"

STARTS = ("rank", "suggest", "tune", "compare", "segment")
"""Actions that press the button of the step's job."""


class AdaptWidget(Dock):
    """Five steps, one open at a time; each can be revisited. The footer has its job and the one next action."""

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
        self.bodies: list[Any] = [self.choose, self.annotate, self.tune, self.compare, self.segment]
        self.live_line = LiveLine()
        self.live = live_button(self)
        self.stepper, self.next = Stepper(), NextBar()
        self.headings = self.stepper.headings
        bars = [body.bar for body in self.bodies]
        parts: list[QWidget] = [self.image, self.annotate.row, self.contrast, self.stepper, *self.bodies]
        self.lay_out(parts, footer=[*bars, self.live_line, self.next])
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
        self.stepper.asked.connect(self.go_to)
        self.next.pressed.connect(self._on_next)
        self.next.back_asked.connect(lambda: self.go_to(max(1, self.step - 1)))
        for bar in bars:
            bar.worker.state_changed.connect(self._show_summaries)
        for signal in (self.annotate.desk.changed, self.annotate.desk.unedited):
            signal.connect(self._show_summaries)
        self.segment.proofread.turned.connect(self._show_summaries)
        self.choose.library.listed.connect(self._show_summaries)
        self.image.changed.connect(self.annotate.look_for_sessions)
        self.go_to(1)
        self.image.layers.chosen.emit()

    @property
    def step(self) -> int:
        """The open step, 1 to 5."""
        return self.stepper.step

    def go_to(self, step: int) -> None:
        """Open a step and fold the others."""
        self.stepper.show_step(step)
        for n, body in enumerate(self.bodies, start=1):
            body.setVisible(n == step)
            body.bar.setVisible(n == step)
        if step != 1 and self.choose.panels is not None:
            self.choose.panels.close()
        if step != 4:
            self.compare.hide_patches()
        if step != 5:
            self.segment.proofread.leave()
        self.annotate.show_boxes()
        self.segment.show_cost()
        self._show_summaries()
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
            bar.setValue(0)

    def _situation(self) -> Situation:
        """What there is, as far as it decides what can be done next."""
        project, desk, segment = self.project, self.annotate.desk, self.segment
        states = project.work.session.patches if project.work is not None else ()
        done = [state for state in states if state.status == "committed"]
        kept = segment.kept_model()
        return Situation(
            step=self.step,
            models=len(self.choose.folders),
            source=project.source.label if project.source is not None else "",
            session=project.work is not None,
            wanted=self.annotate.count.value(),
            opened=desk.opened.id if desk.opened is not None else 0,
            waiting=next((state.id for state in states if state.status == "waiting"), 0),
            unedited=self.annotate.judge.asked is not None,
            learnt=sum(not state.held_out for state in done),
            held=sum(state.held_out for state in done),
            tuned=project.tuned is not None,
            compared=self.compare.compared is not None,
            kept=kept.name if kept is not None else "",
            result=segment.summary or segment.proofread.layers.currentText(),
            proofreading=segment.proofread.work is not None,
        )

    def _on_next(self, wanted: Next) -> None:
        """Open the step, and start what the button said."""
        if wanted.step != self.step:
            self.go_to(wanted.step)
        acts = {
            "rank": self.choose.bar.button.click,
            "suggest": self.annotate.bar.button.click,
            "open": lambda: self.annotate.open_next(),
            "commit": self.annotate.commit,
            "tune": self.tune.bar.button.click,
            "compare": self.compare.bar.button.click,
            "segment": self.segment.bar.button.click,
            "proofread": self.segment.proofread.start.click,
        }
        if wanted.act:
            acts[wanted.act]()

    def _show_summaries(self, _change: Any = None) -> None:
        now = self._situation()
        self.stepper.show_states([body.summary for body in self.bodies], blocked(now))
        bar = self.bodies[self.step - 1].bar
        busy = f"{bar.worker.name.capitalize()}…" if bar.worker.state.busy else ""
        found = next_of(now)
        self.next.show_next(found, self.step == 1, busy)
        same = found.step == self.step and found.act in STARTS  # one button for one thing
        bar.button.setVisible(bool(busy) or not same or bar.button.text() == State.CANCELLED.value)
        self.segment.proofread.start.setVisible(found.act != "proofread")
        self.segment.bar.setVisible(self.step == 5 and not now.proofreading)
