"""Step 4 of "Adapt to my data": compare the models on held-out patches, which were not used for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QPushButton, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.adapt.comparing.plots import ComparisonPlot
from napari_connecto.widgets.adapt.comparing.swipe import Swipe
from napari_connecto.widgets.adapt.kept import Gain, Kept, default_model, new_model, old_model
from napari_connecto.widgets.adapt.panels import Panels
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.train_jobs import Compared, compared_job, tuned_model
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.frame.theme import colour_text
from napari_connecto.widgets.shared.job_bar import JobBar

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.compare import Comparison

OWN_CHOICE = "your choice"


class CompareBox(QWidget):
    """Compare, show, decide."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.compared: Compared | None = None
        self._tuned: Path | None = None
        self.panels: Panels | None = None
        self._recommended = False
        self.bar = JobBar(
            "comparison", "Compare", "Run both models on the held-out patches, each with its own thresholds"
        )
        self.table = QTableWidget(0, 4)
        self.table.setHorizontalHeaderLabels(["Patch", "VI before", "VI after", "Gain"])
        self.table.setToolTip(
            "Variation of information in bits: 0 is perfect. Click a row to see its patch side by side"
        )
        self.table.verticalHeader().hide()  # type: ignore[union-attr]
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)  # type: ignore[union-attr]
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.plot, self.swipe, self._shown = ComparisonPlot(), Swipe(), 0
        self.verdict = text_line("Whether the gain is significant")
        self.mode = text_line("How both models segmented, and what was left out")
        self.keep_new, self.keep_old = QPushButton("Keep new"), QPushButton("Keep old")
        self.keep_new.setToolTip("Segment with the fine-tuned model and its tuned thresholds")
        self.keep_old.setToolTip("Segment with the original model and its tuned thresholds")
        self.hide_ = QPushButton("Hide patches")
        self.hide_.setToolTip("Close the comparison and restore the previous view")
        self.kept = text_line("The model used in step 5")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        self.choice = row(self.keep_new, self.keep_old, self.hide_)
        for button in (self.keep_new, self.keep_old, self.hide_):
            button.setStyleSheet("padding: 3px 2px;")
            button.setCheckable(button is not self.hide_)
        self.details = Details(self.table, self.mode, tooltip="Figures of every patch")
        for widget in (self.plot, self.swipe, self.verdict, self.choice, self.kept, self.details):
            layout.addWidget(widget)
        self.swipe.moved.connect(self.show_swipe)
        self.bar.clicked.connect(self._on_compare)
        self.bar.worker.returned.connect(self._on_compared)
        self.table.cellClicked.connect(lambda n, _: self.show_patch(n))
        self.keep_new.clicked.connect(lambda: self.keep(True))
        self.keep_old.clicked.connect(lambda: self.keep(False))
        self.hide_.clicked.connect(self.hide_patches)
        project.changed.connect(self.show_state)
        project.switched.connect(self.forget)
        self._show_table(None)
        self.show_state()

    @property
    def summary(self) -> str:
        """Summary for the heading."""
        if self.compared is None:
            return ""
        found = self.compared.comparison
        return f"VI {found.before.total.total:.2f} → {found.after.total.total:.2f}"

    def show_state(self) -> None:
        """The model that is kept, and why."""
        if self.compared is not None and self._tuned != self.project.tuned:
            self.forget()
        project, kept = self.project, self.project.kept
        there = project.tuned is not None and project.work is not None
        text = f"Step 5 segments with {kept.name}: {kept.reason}." if kept else ""
        self.kept.setText(text if there else "Fine-tune in step 3 first, then compare.")
        for button in (self.keep_new, self.keep_old):
            button.setEnabled(there)
        self._show_verdict()
        self.hide_.setEnabled(bool(self.swipe.layers or (self.panels and self.panels.layers)))
        self._order_choice(kept)

    def _order_choice(self, kept: Kept | None) -> None:
        """The recommended choice comes first, and says so."""
        new = kept is not None and kept.name.endswith("(new)")
        if self.compared is not None and kept is not None and kept.reason != OWN_CHOICE:
            self._recommended = new
        layout: Any = self.choice.layout()
        first = self.keep_new if self._recommended else self.keep_old
        layout.removeWidget(first)
        layout.insertWidget(0, first)
        known = self.compared is not None
        self.keep_new.setText("Keep new" + " (recommended)" * (known and self._recommended))
        self.keep_old.setText("Keep old" + " (recommended)" * (known and not self._recommended))
        for button, on in ((self.keep_new, new), (self.keep_old, kept is not None and not new)):
            button.setChecked(on)

    def keep(self, new: bool) -> None:
        """Decide which model is used in step 5."""
        work, tuned = self.project.work, self.project.tuned
        if work is None or tuned is None:
            return
        found = self.compared.comparison if self.compared is not None else None
        if new:
            kept = new_model(tuned, found.after.params if found else None, OWN_CHOICE)
        else:
            kept = old_model(work.base, found.before.params if found else None, OWN_CHOICE)
        self.project.update(kept=kept)

    def show_patch(self, n: int) -> None:
        """The ``n``-th held-out patch: maps above, segments below, before and after side by side."""
        if self.compared is None or not 0 <= n < len(self.compared.pictures):
            return
        try:
            canvas = self.project.canvas()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._shown = n
        self.swipe.take(self.compared.pictures[n])
        if self.panels is not None:
            self.panels.close()
        self.panels = Panels(canvas)
        self.panels.show(self.compared.pictures[n])
        self.show_state()

    def show_swipe(self) -> None:
        """The patch in one image, with the border where the slider is."""
        try:
            canvas = self.project.canvas()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        if self.panels is not None:
            self.panels.close()
        self.swipe.show_on(canvas)
        self.show_state()

    def forget(self) -> None:
        """Figures are specific to a session and a fine-tuned model."""
        self.compared = None
        self.swipe.take(())
        self.hide_patches()
        self._show_table(None)
        self.bar.reset()

    def hide_patches(self) -> None:
        """Close the comparison."""
        self.swipe.clear()
        if self.panels is not None:
            self.panels.close()
        self.show_state()

    def close_jobs(self) -> None:
        """Stop comparing."""
        self.bar.close_jobs()

    def _on_compare(self) -> None:
        try:
            work, tuned = self.project.need_work(), self.project.tuned
            if tuned is None:
                raise InputError("there is no fine-tuned model to compare; fine-tune one in step 3")
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        after, mode = tuned_model(tuned), self.project.mode
        self.bar.start(lambda: compared_job(work, work.base, after, mode), resumable=False, abandon=True)

    def _on_compared(self, compared: Compared) -> None:
        self.compared, self._tuned = compared, self.project.tuned
        self._show_table(compared.comparison)
        found, work, tuned = compared.comparison, self.project.work, self.project.tuned
        if work is not None and tuned is not None:
            gain = Gain(*found.interval)
            kept = default_model(work.base, tuned, gain, found.before.params, found.after.params)
            self.project.update(kept=kept)
        else:
            self.project.changed.emit()
        self.show_patch(0)

    def _show_table(self, found: Comparison | None) -> None:
        for part in (self.plot, self.swipe, self.verdict, self.details):
            part.setVisible(found is not None)
        if found is None:
            return
        self.plot.show_comparison(found)
        pairs = [(b.total, a.total) for b, a in zip(found.before.vi, found.after.vi, strict=True)]
        lines: list[tuple[Any, ...]] = [(str(n), b, a, b - a) for n, (b, a) in zip(found.names, pairs, strict=True)]
        lines.append(("mean", found.before.total.total, found.after.total.total, found.gain))
        self.table.setRowCount(len(lines))
        for i, (name, *numbers) in enumerate(lines):
            texts = [name, *(f"{v:.3f}" for v in numbers[:2]), f"{numbers[2]:+.3f}"]
            for j, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.table.setItem(i, j, item)
        self.table.setFixedHeight(30 + 30 * min(7, len(lines)))

    def _show_verdict(self) -> None:
        compared = self.compared
        if compared is None:
            return
        found, mode = compared.comparison, compared.mode
        lines, more = [found.verdict()], [f"Both models segment in mode {mode}, as in step 5."]
        if mode != self.project.mode:
            lines.append(f"Both models segmented in mode {mode}, step 5 uses mode {self.project.mode}: compare again.")
            more = []
        more += [compared.left_out[:1].upper() + compared.left_out[1:] + "."] * bool(compared.left_out)
        colour_text(self.verdict, "good" if found.improved else "warning")
        self.verdict.setText("\n".join(lines))
        self.mode.setText("\n".join(more))
