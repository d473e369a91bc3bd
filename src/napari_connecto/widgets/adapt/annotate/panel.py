"""Step 2 of "Adapt to my data": a queue of suggested patches to open, paint, commit or skip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.adapt.annotate.boxes import SuggestedBoxes
from napari_connecto.widgets.adapt.annotate.brush import Brushes
from napari_connecto.widgets.adapt.annotate.desk import Desk
from napari_connecto.widgets.adapt.annotate.judge import JudgeBox
from napari_connecto.widgets.adapt.annotate.options import SuggestOptions
from napari_connecto.widgets.adapt.annotate.queue import Queue
from napari_connecto.widgets.adapt.annotate.session_jobs import Work, resume_job, suggest_job, suggest_run
from napari_connecto.widgets.adapt.annotate.session_row import SessionRow, count_text
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState
from napari_connecto.workflows.recipes.words import command_line

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.patch import PatchLayers

HELD = "Held out: this patch only measures the gain, so it starts empty. Paint membranes and insides."


class AnnotateBox(QWidget):
    """Suggest, open, paint, commit.

    Keys while a patch is open: 0, 1, 2 and M choose the label to paint, see `Brushes`; C commit, K skip, N next, U undo
    the last commit or skip. The first commit of an unedited pre-fill in a session must be confirmed.
    """

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.brushes = Brushes(self._on_brush)
        keys = {"C": self.commit, "K": self.skip, "N": self.next, "U": self.undo, **self.brushes.keys}
        self.desk = Desk(project, self, keys)
        self._resuming = False
        self._accepting: Path | None = None
        self.options = SuggestOptions()
        self.count, self.prefill, self.form = self.options.count, self.options.prefill, self.options.form
        self.bar = JobBar("suggestions", "Suggest", "Sample patches of tissue and list those most worth labelling")
        self.resume = QPushButton("Resume session…")
        self.resume.setToolTip("Open the folder of an earlier session with its patches, labels and drafts")
        self.bar.add_button(self.resume)
        self.row = SessionRow()
        self.queue, self.boxes = Queue(), SuggestedBoxes(project)
        self.held = text_line("Held-out patches are not used for training. They measure the model before and after it")
        self.held.setText(HELD)
        self.counter = text_line("Committed patches, out of all that were not skipped")
        slots = {"open": self.open, "commit": self.commit, "skip": self.skip, "next": self.next}
        self.judge = JudgeBox({**slots, "undo": self.undo, "copy": lambda: self.bar.copy_command(self.command)})
        self._lay_out()
        self.row.fresh.clicked.connect(lambda: self._close_session())
        self.row.asked.connect(self.resume_from)
        self.resume.clicked.connect(self._on_resume)
        self.bar.clicked.connect(self._on_suggest)
        self.bar.worker.returned.connect(self._on_work)
        self.desk.changed.connect(self.show_state)
        self.brushes.opacity.valueChanged.connect(self._on_opacity)
        self.desk.failed.connect(self.bar.error.show_error)
        self.desk.committed.connect(self._on_committed)
        self.desk.unedited.connect(self._on_unedited)
        self.queue.itemDoubleClicked.connect(lambda _: self.open())
        self.queue.itemClicked.connect(lambda _: self.look_at(self.queue.id))
        project.changed.connect(self.show_state)
        project.switched.connect(self._on_switched)
        project.failed.connect(self.bar.error.show_error)
        self.show_state()

    @property
    def patch(self) -> PatchLayers | None:
        """Layers of the open or the previous patch."""
        return self.desk.patch

    @property
    def opened(self) -> PatchState | None:
        """The open patch."""
        return self.desk.opened

    @property
    def buttons(self) -> dict[str, QPushButton]:
        """Patch buttons: open, commit, skip, next, undo, copy."""
        return self.judge.buttons

    @property
    def summary(self) -> str:
        """Summary for the heading."""
        if self.project.work is None:
            return ""
        committed, total = self.project.work.session.counts()
        return f"{committed} of {total}"

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        tip = "How the patches were labelled, and what the numbers mean"
        details = Details(self.counter, self.brushes.meaning, tooltip=tip)
        for widget in (self.options, self.queue, self.judge, self.held, self.brushes, details):
            layout.addWidget(widget)

    def open(self) -> None:
        """Open the selected patch, or the next one waiting."""
        work = self.project.work
        if work is None or self.desk.busy:
            return
        waiting = [s.id for s in work.session.patches if s.status == "waiting"]
        id = self.queue.id or next(iter(waiting), None)
        if id is None:
            return
        self.queue.choose(id)
        self.bar.error.clear()
        self.judge.ask(None)
        self.desk.open(work, id, self.prefill.currentText())

    def open_next(self) -> None:
        """Open the first patch that waits, whatever is selected."""
        work = self.project.work
        waiting = [s.id for s in work.session.patches if s.status == "waiting"] if work is not None else []
        if waiting:
            self.queue.choose(waiting[0])
            self.open()

    def commit(self) -> None:
        """Commit the open patch's labels in a thread and go to the next; an error changes nothing."""
        work, state = self.project.work, self.opened
        if work is not None and state is not None and not self.desk.busy:
            self.bar.error.clear()
            self.desk.commit(work, accept=state.id == self.judge.asked or self._accepting == work.session.path)

    def skip(self) -> None:
        """Skip the open patch and go to the next."""
        work, state = self.project.work, self.opened
        if work is None or state is None or self.desk.busy:
            return
        try:
            work.session.skip(state.id)
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._go_on()

    def next(self) -> None:
        """Open the next waiting patch; if there is none, close the open one."""
        work = self.project.work
        if self.desk.busy:
            return
        waiting = [s.id for s in work.session.patches if s.status == "waiting"] if work else []
        here = self.opened.id if self.opened else 0
        later = [id for id in waiting if id > here] or [id for id in waiting if id != here]
        if later:
            self.queue.choose(later[0])
            self.open()
        elif here not in waiting:
            self.desk.close()

    def undo(self) -> None:
        """Undo the last commit or skip and open its patch."""
        work = self.project.work
        if work is None or self.desk.busy:
            return
        try:
            state = work.session.undo()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.bar.error.clear()
        self.project.changed.emit()
        if state is not None:
            self.queue.choose(state.id)
            self.open()

    def resume_from(self, folder: Path) -> None:
        """Open the session in a folder."""
        if not self._close_session():
            return
        self._resuming = True
        self.bar.start(lambda: resume_job(folder), resumable=False)

    def _close_session(self) -> bool:
        """Close the session so that another can be opened; False, with a message, while a job of this one runs."""
        if why := self.project.busy():
            self.bar.error.show_error(InputError(why))
            return False
        self.project.forget_session()
        return True

    def close_jobs(self) -> None:
        """Stop everything."""
        self.bar.close_jobs()
        self.boxes.remove()
        self.row.close_jobs()
        self.desk.close_jobs()

    def show_state(self) -> None:
        """Update counter, queue, and which buttons are enabled."""
        work = self.project.work
        states = work.session.patches if work else ()
        self.queue.show_states(states, work.thumbnails if work else {}, self.opened.id if self.opened else None)
        self.queue.setVisible(bool(states))
        self.counter.setText(count_text(work))
        self.row.show_session(work, self.project.left)
        self.judge.allow(states, self.opened.id if self.opened is not None else 0)
        self.brushes.allow(self.opened is not None)
        self.show_boxes()
        self.held.setVisible(self.opened is not None and self.opened.held_out)
        patch = self.patch if self.opened is not None else None
        self.brushes.show_taken(-1 if patch is None else int(patch.labels.selected_label))
        if self.opened is None or self.opened.id != self.judge.asked:
            self.judge.ask(None)

    def _on_switched(self) -> None:
        self.desk.close()
        self.bar.reset()
        self.look_for_sessions()

    def look_for_sessions(self) -> None:
        """Look for earlier sessions of the chosen image."""
        volume = self.project.image.volume()
        if volume is not None and self.project.work is None:
            spec = self.project.image.spec(volume)
            self.row.look(self.project.results, volume.name, spec.path if spec is not None else "")

    def _on_committed(self, state: PatchState) -> None:
        if state.unedited and self.project.work is not None:
            self._accepting = self.project.work.session.path
        self._go_on()

    def _on_unedited(self) -> None:
        self.judge.ask(self.opened.id if self.opened is not None else None)

    def _go_on(self) -> None:
        self.bar.error.clear()
        self.judge.ask(None)
        self.project.changed.emit()
        self.next()

    def show_boxes(self) -> None:
        """Outline the patches on the volume while this step is open and no patch is."""
        self.boxes.show_state(not self.isHidden() and self.opened is None)

    def look_at(self, id: int | None) -> None:
        """Bring a patch's box into the middle of the view, unless a patch is open."""
        if id is not None and self.opened is None:
            self.boxes.look_at(id)

    def _on_opacity(self, percent: int) -> None:
        if self.patch is not None:
            self.patch.show_through(percent / 100)

    def _on_brush(self, value: int) -> None:
        if self.patch is not None and self.opened is not None:
            self.patch.take(value)
            self.brushes.show_taken(int(self.patch.labels.selected_label))

    def _on_suggest(self) -> None:
        try:
            begin, params = self.project.begin(), self.form.value
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        work, n, library = self.project.work, self.count.value(), self.project.library
        self._resuming = False
        self.bar.start(lambda: suggest_job(begin, work, n, params, library), resumable=False)

    def _on_resume(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Session folder (with session.json)")
        if folder:
            self.resume_from(Path(folder))

    def _on_work(self, work: Work) -> None:
        self.bar.offer_report(work.session.path)
        if work.note:
            self.bar.say(work.note)
        first = self.project.work is None
        if self._resuming:
            self.project.show_image(work.volume)
            self.project.adopt(work)
        else:
            self.project.update(work=work)
        if first or self.opened is None:
            waiting = [s.id for s in work.session.patches if s.status == "waiting"]
            if waiting:
                self.queue.choose(waiting[0])
                self.look_at(waiting[0])

    def command(self) -> str:
        """The shell command that suggests as many patches into the session."""
        return command_line(suggest_run(self.project.need_work(), self.count.value(), self.form.value))
