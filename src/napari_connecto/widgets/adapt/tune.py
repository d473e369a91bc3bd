"""Step 3 of "Adapt to my data": fine-tune on the committed patches in a separate process, with a live curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.adapt.kept import Gain, default_model
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.train_jobs import Timing, timing_job, tune_job, tune_run, unfinished
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.plots import Curve
from napari_connecto.widgets.shared.worker import State, Worker
from napari_connecto.workflows.adapt.annotate.patch_states import editing_text
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.adapt.presets import PRESETS
from napari_connecto.workflows.recipes.entries.adapt import FineTune
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.words import command_line
from napari_connecto.workflows.shared.stop_file import stop_and_keep

FEW = 8
"""With fewer patches all are used for training, see `workflows.adapt.fine_tune`."""


class TuneBox(QWidget):
    """Preset, time, start, watch, stop."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.run: FineTune | None = None
        self._seen: Path | None = None
        self.form: ParamsForm[FineTuneParams] = ParamsForm(FineTuneParams)
        self.learns_from = text_line("Which patches train, and which only measure")
        self.time = text_line("Expected duration")
        self.estimate = QPushButton("Estimate time")
        self.estimate.setToolTip("Time two training steps; nothing is saved")
        self.bar = JobBar("fine-tuning", "Start", "Fine-tune on the committed patches, in a separate process")
        self.bar.add_button(self.estimate)
        self.stop = QPushButton("Stop && keep best")
        self.stop.setToolTip("Stop now with the best model so far (with fewer than eight patches: the latest)")
        self.stop.setEnabled(False)
        self.bar.add_stop_button(self.stop)
        self.curve = Curve()
        self.about = text_line("Result of the fine-tuning")
        self.figures = text_line("What was trained, and the figures of every held-out patch")
        self.details = Details(self.figures)
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the shell command that fine-tunes the same way, without a screen")
        self._timer = Worker("timing", self, quiet=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        for widget in (self.learns_from, self.form, self.time, self.curve, self.about, self.details, self.copy):
            layout.addWidget(widget)
        self.details.hide()
        self.estimate.clicked.connect(self._on_estimate)
        self._timer.returned.connect(self._on_timed)
        self._timer.failed.connect(self._on_not_timed)
        self.form.changed.connect(self._on_form_changed)
        self.bar.clicked.connect(self._on_start)
        self.bar.worker.reported.connect(self._on_reported)
        self.bar.worker.returned.connect(self._on_tuned)
        self.bar.worker.state_changed.connect(self._on_state)
        self.stop.clicked.connect(self._on_stop)
        self.copy.clicked.connect(lambda: self.bar.copy_command(lambda: command_line(self._run())))
        project.changed.connect(self.show_state)
        project.changed.connect(self._on_changed)
        project.switched.connect(self._on_switched)
        self._say_steps()
        self.show_state()

    @property
    def summary(self) -> str:
        """Summary for the heading."""
        return self.project.tuned.name if self.project.tuned is not None else ""

    def show_state(self) -> None:
        """Number of patches for training."""
        work = self.project.work
        done = [s for s in work.session.patches if s.status == "committed"] if work else []
        held = sum(s.held_out for s in done)
        learnt = len(done) - held
        aside = ", every fifth of which selects the best checkpoint" if learnt >= FEW else ""
        said = f"Trains on {learnt} committed patches{aside}; {held} held-out patches only measure the gain."
        said += f" Labels: {editing_text(done)}." * bool(done)
        self.learns_from.setText(said if work else "Commit patches in step 2 first.")

    def _on_changed(self) -> None:
        """The session changed: an interrupted fine-tuning of it can be resumed."""
        work = self.project.work
        if work is None or self._seen == work.session.path or self.bar.worker.state.busy:
            return
        self._seen = work.session.path
        cut_off = unfinished(self.project.folder)
        if cut_off is None:
            return
        self.form.value = cut_off.params
        self.bar.offer_resume()
        self.about.setText(f"{Path(cut_off.out).name} was interrupted; Resume continues from its last saved step.")

    def _on_switched(self) -> None:
        """Clear the messages about another image or session."""
        self._timer.cancel()
        self._seen = self.run = None
        self.curve.clear()
        for line in (self.time, self.about):
            line.setText("")
        self.details.hide()
        self.bar.reset()

    def close_jobs(self) -> None:
        """Stop timing and training."""
        self._timer.close()
        self.bar.close_jobs()

    def _run(self) -> FineTune:
        """The fine-tuning as set in the dock; an interrupted one is resumed."""
        work, begin = self.project.need_work(), self.project.begin()
        if not any(s.status == "committed" and not s.held_out for s in work.session.patches):
            raise InputError("no training patch is committed; paint and commit one that is not held out")
        wanted = tune_run(work, begin.source, self.form.value, self.project.next_folder("tuned"))
        cut_off = unfinished(self.project.folder)
        return cut_off if cut_off is not None and replace(cut_off, out=wanted.out) == wanted else wanted

    def _on_form_changed(self) -> None:
        self._say_steps()
        self.time.setText("")
        self.bar.forget()

    def _say_steps(self) -> None:
        """What 0 steps stand for."""
        preset = PRESETS[self.form.get("preset")]
        self.form.say_zero("steps", f"{preset.steps} by the preset")

    def _on_estimate(self) -> None:
        try:
            work, begin, params = self.project.need_work(), self.project.begin(), self.form.value
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.bar.error.clear()
        self.time.setText("Timing two steps…")
        self._timer.start(lambda: timing_job(work, begin.source, params))

    def _on_timed(self, timing: Timing) -> None:
        self.time.setText(
            f"About {seconds_text(timing.seconds)}: {timing.steps} steps of {timing.step_s:.2f} s on {timing.device}, "
            "measured on two steps here; loading and evaluation come on top."
        )

    def _on_not_timed(self, error: Exception, text: str) -> None:
        self.time.setText("")
        self.bar.error.show_error(error, text)

    def _on_start(self) -> None:
        try:
            run = self._run()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._timer.close(wait_s=0)
        self.run = run
        self.curve.clear()
        self.about.setText("")
        self.project.close_session()  # the process reads it; drafts stay writable
        self.bar.start(lambda: tune_job(run), out=Path(run.out))

    def _on_reported(self, progress: Progress, payloads: list[Any]) -> None:
        if progress.stage == "training":
            self.curve.add(payloads, progress.total, progress.done)
            self.stop.setEnabled(True)

    def _on_state(self, state: State) -> None:
        if state.busy:
            return
        self.stop.setEnabled(False)
        try:
            self.project.reopen_session()
        except ConnectoError as error:
            self.bar.error.show_error(error)

    def _on_stop(self) -> None:
        if self.run is not None and stop_and_keep(Path(self.run.out)):
            self.stop.setEnabled(False)
            self.bar.status.setText("Stopping after this step; the best model is kept…")

    def _on_tuned(self, summary: Summary) -> None:
        out = Path(summary.out)
        work = self.project.work
        kept = default_model(work.base, out, Gain.of(out)) if work is not None else None
        chosen = [f"Step 5 segments with {kept.name}: {kept.reason}. You can change this in step 4."] if kept else []
        self.about.setText("\n".join(chosen or summary.lines[-1:]))
        self.figures.setText("\n".join([*summary.lines, f"Saved in {out}"]))
        self.details.show()
        self.bar.offer_report(out)
        self.project.update(tuned=out, kept=kept)
