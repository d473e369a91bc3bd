"""The third box of the dock "Cascade detection": what was found, in words, and reviewing it one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QGroupBox, QLabel, QPushButton, QVBoxLayout
from superqt import QLabeledDoubleSlider
from superqt.utils import qthrottled

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets._cascade_export import ask_path, export_job
from napari_connecto.widgets._cascade_jobs import Peek
from napari_connecto.widgets._cascade_keeping import Keeper
from napari_connecto.widgets._cascade_layers import ResultLayers
from napari_connecto.widgets._cascade_review import Review
from napari_connecto.widgets._job_bar import ErrorLine, text_line
from napari_connecto.widgets._keys import Keys
from napari_connecto.widgets._show import to_data
from napari_connecto.widgets._view import jump
from napari_connecto.widgets._worker import Worker
from napari_connecto.workflows.verdicts import ACCEPTED, REJECTED, REVIEW, Verdicts

if TYPE_CHECKING:
    from napari_connecto.workflows.detections import Detections


class ResultBox(QGroupBox):
    """Funnel and audit in words, threshold, next/previous, accept/reject/undo, training labels, export.

    Verdicts are kept in the search's result folder as they are made, and taken up from there, see `Keeper`. The keys
    work while this dock's layer "detections" exists. ``training_made`` is emitted with a layer to train on.
    """

    training_made = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__("Found")
        self._viewer = viewer
        self._level: Any = None
        self.layers: ResultLayers | None = None
        self.review: Review | None = None
        self._keys = Keys(self)
        self.count = text_line("How many are shown, accepted and rejected")
        self.report = text_line("What was looked at on each level, and what may have been missed")
        self.threshold = QLabeledDoubleSlider()
        self.threshold.setRange(0.0, 1.0)
        self.threshold.setDecimals(2)
        self.threshold.setSingleStep(0.01)  # type: ignore[arg-type]
        self.threshold.setToolTip("Least score that is shown and exported (0 to 1); nothing is computed again")
        self.error = ErrorLine()
        self.keeper = Keeper(self)
        self.keeper.found.connect(self._on_verdicts)
        self.keeper.failed.connect(self.error.show_error)
        self.buttons = self._make_buttons()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        for widget in (self.report, self.count, QLabel("Least score"), self.threshold):
            layout.addWidget(widget)
        grid = QGridLayout()
        grid.setSpacing(4)
        for i, button in enumerate(self.buttons.values()):
            grid.addWidget(button, i // 2, i % 2)
        layout.addLayout(grid)
        layout.addWidget(self.error)
        self._exporter = Worker("export", self)
        self._exporter.failed.connect(self.error.show_error)
        self._exporter.returned.connect(lambda path: self.count.setText(f"{self._line()}\nWritten to {path}"))
        self._filter = qthrottled(self._on_threshold, timeout=50)
        self.threshold.valueChanged.connect(self._filter)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        self._show_state()

    def _make_buttons(self) -> dict[str, QPushButton]:
        texts: list[tuple[str, str, Callable[[], Any], str]] = [
            ("previous", "◀ Previous (P)", lambda: self.step(-1), "Go to the detection with the next higher score"),
            ("next", "Next (N) ▶", lambda: self.step(1), "Go to the detection with the next lower score"),
            ("accept", "Accept (A)", lambda: self.judge(ACCEPTED), "Mark this detection as right (saved), and go on"),
            ("reject", "Reject (X)", lambda: self.judge(REJECTED), "Mark this detection as wrong (saved), and go on"),
            ("undo", "Undo (U)", self.undo, "Take the last verdict back, on disk too"),
            ("train", "Use for training", self.make_training, "Make the accepted ones a layer to train from"),
            (
                "export",
                "Export…",
                self._on_export,
                "Write what is shown and not rejected: CSV, Parquet, XML (cellfinder), or OME-Zarr labels; ids stay",
            ),
        ]
        buttons = {}
        for key, text, slot, tooltip in texts:
            buttons[key] = QPushButton(text)
            buttons[key].setToolTip(tooltip)
            buttons[key].clicked.connect(slot)
        return buttons

    @property
    def alive(self) -> bool:
        """Whether there is a search whose points are still in the viewer."""
        return self.layers is not None and self.layers.alive

    def begin(self, image: Layer, level: Any, peeked: Peek, folder: Path) -> None:
        """A search starts: empty layers; those of an earlier search stay as they are if something was reviewed.

        Verdicts are kept in ``folder``, the result folder, and taken up from there.
        """
        kept = self.review is not None and self.review.reviewed
        self._keys.release()
        from napari_connecto.workflows.detections import Detections  # the search is about to load it anyway

        self._level = level
        self.layers = ResultLayers(self._viewer, image, level, peeked.voxel_nm, None if kept else self.layers)
        self.review = Review(Detections.empty(), reach_nm=peeked.diameter_nm / 2)
        self._bind()
        self.report.setText("")
        self.error.clear()
        self.keeper.open(folder)
        self.count.setToolTip(f"How many are shown, accepted and rejected; verdicts are kept in {folder / REVIEW}")
        self._show_state()

    def add(self, parts: list[Detections]) -> None:
        """Some were just found: show them."""
        if self.layers is None or self.review is None or not self.alive:
            return
        if parts:
            from napari_connecto.workflows.detections import join

            old = self.review
            self.review = Review(join([old.found, *parts]), reach_nm=old.reach_nm)
            self.review.carry_on(old)
        self.layers.show_live(self.review)
        self._show_state()

    def finish(self, found: Detections, lines: list[str]) -> None:
        """The search is over: final detections, masks, and what it took in words."""
        if self.layers is None or self.review is None:
            return
        if not self.alive:
            removed = "their layer was removed; the same search shows them again, without computing them again"
            self.report.setText(f"{len(found)} detections: {removed}")
            return
        old, self.review = self.review, Review(found, reach_nm=self.review.reach_nm)
        self.review.take_up(old.verdicts())
        low = float(found.score.min()) if len(found) else 0.0
        self.threshold.blockSignals(True)
        self.threshold.setRange(min(low, 0.99), 1.0)
        self.threshold.setValue(low)
        self.threshold.blockSignals(False)
        self.review.threshold = low
        self.layers.show(self.review)
        self.layers.show_masks(self.review)
        if len(self.review.verdicts()):
            self._keep()  # places and ids are those of what was found in the end
        self.report.setText("\n".join(f"• {line}" for line in lines))
        self._show_state()

    def step(self, by: int) -> None:
        """Jump to the next (1) or previous (-1) detection."""
        if self.review is not None and self.review.step(by) >= 0:
            self._go()

    def judge(self, status: str) -> None:
        """Accept or reject the current detection and go to the next; without a current one, go to the first."""
        review, layers = self.review, self.layers
        if review is None or layers is None or not layers.alive:
            return
        if not review.judge(status):
            self.step(1)
            return
        layers.show_verdict(review, review.current)
        self._keep()
        self.step(1)
        self._show_state()

    def undo(self) -> None:
        """Take the last verdict back and go there."""
        review, layers = self.review, self.layers
        if review is None or layers is None or not layers.alive or not review.undo():
            return
        layers.show_verdict(review, review.current)
        self._keep()
        self._go()
        self._show_state()

    def make_training(self) -> None:
        """Make the accepted detections a layer that "Train from labels" can use."""
        if self.review is None or self.layers is None:
            return
        if not (self.review.status == ACCEPTED).any():
            self.error.show_error(ConnectoError("nothing is accepted yet; press A on right detections first"))
            return
        self.error.clear()
        self.training_made.emit(self.layers.training_layer(self.review))

    def export(self, path: Path) -> None:
        """Write what is shown and not rejected, by the suffix: .csv, .parquet, .xml (cellfinder), or .zarr (labels)."""
        review = self.review
        if review is None:
            return
        self.error.clear()
        self._exporter.start(lambda: export_job(review, path))

    def close_jobs(self) -> None:
        """Stop exporting, let the last verdict reach the disk, and give the keys back."""
        self._exporter.close()
        self.keeper.close()
        self._keys.release()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _keep(self) -> None:
        assert self.review is not None
        self.keeper.keep(self.review.verdicts())

    def _on_verdicts(self, verdicts: Verdicts) -> None:
        """Take up what the result folder holds; seldom has anything been judged in the moment since it was asked."""
        if self.review is None or self.layers is None:
            return
        judged = self.review.reviewed
        self.review.take_up(verdicts)
        if judged:
            self._keep()
        if self.alive and len(verdicts):
            self.layers.show(self.review)
            self.layers.filter(self.review)
            self._show_state()

    def _go(self) -> None:
        assert self.review is not None
        if self.layers is None or not self.layers.alive:
            return
        layer, i = self.layers.points, self.review.current
        jump(self._viewer, layer, to_data(self.review.found.centre_nm[i], self._level, layer.ndim)[0])
        self.layers.mark(i)
        self._show_state()

    def _on_threshold(self, value: float) -> None:
        if self.review is not None and self.layers is not None and self.layers.alive:
            self.review.threshold = value
            self.layers.filter(self.review)
            self._show_state()

    def _on_export(self) -> None:
        if path := ask_path(self):
            self.export(path)

    def _on_layer_removed(self, _event: Any) -> None:
        if self._keys and (self.layers is None or not self.layers.alive):
            self._keys.release()
            self._show_state()

    def _line(self) -> str:
        review = self.review
        if review is None:
            return "Nothing yet."
        here = (
            f"\nAt score {review.found.score[review.current]:.2f}: {review.status[review.current]}"
            if review.current >= 0
            else ""
        )
        return review.line() + here

    def _show_state(self) -> None:
        self.report.setVisible(bool(self.report.text()))
        self.count.setText(self._line())
        alive = self.layers is not None and self.layers.alive and self.review is not None and len(self.review.found) > 0
        self.threshold.setEnabled(alive)
        for button in self.buttons.values():
            button.setEnabled(alive)

    def _bind(self) -> None:
        """Keys on the viewer, and on the points layer, whose own keys would come first while it is active."""
        assert self.layers is not None
        keys: dict[str, Callable[[], None]] = {
            "N": lambda: self.step(1),
            "P": lambda: self.step(-1),
            "A": lambda: self.judge(ACCEPTED),
            "X": lambda: self.judge(REJECTED),
            "U": self.undo,
        }
        self._keys.bind((self._viewer, self.layers.points), keys)
