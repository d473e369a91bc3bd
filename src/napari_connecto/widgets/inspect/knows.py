"""The tab "Knows": what can be read from a model's own features, as a map from a few scribbles and stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.jobs import Probed, Probing, concepts_job, probe_job
from napari_connecto.widgets.inspect.readings import HEAT, READ, stage_rows, steps_of
from napari_connecto.widgets.inspect.tab import PaintedTab
from napari_connecto.widgets.inspect.view import region_in_view
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import BarsPlot
from napari_connecto.widgets.shared.painted.heat import HeatPlot
from napari_connecto.widgets.viewer.layers import LayerImage
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import OKABE_ITO
from napari_connecto.workflows.inspect.concepts.params import ConceptParams

SCRIBBLES, SCORE, PLACES = "scribbles", "probe score", "highest readings"
HINT = "Paint 1 on background and 2 on what is wanted, or choose a whole mask for the stages."
QUICK = ConceptParams(autoencoder=False, untrained=1, pixels=8000)
CHECKPOINTS = "Checkpoints…"


class KnowsTab(PaintedTab):
    """Labels, two buttons: a score map in view, and one bar per stage with its control."""

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        tooltip = "Scribbles (1 background, 2 wanted), or a mask of one kind of object"
        super().__init__(viewer, image, model, title="Labels", name=SCRIBBLES, hint=HINT, tooltip=tooltip)
        self.bar = JobBar("probe", "Score in view", "Learn from the scribbles and score what is on screen")
        self.about = text_line("How well the score tells strokes that were left out")
        self.form: ParamsForm[ConceptParams] = ParamsForm(ConceptParams)
        self.form.value = QUICK
        self.stages = JobBar("concepts", "Read stages", "Measure in which stages the labels can be read, with controls")
        self.plot, self.heat = BarsPlot(READ), HeatPlot(HEAT)
        self.checkpoints: Path | None = None
        self.steps = QPushButton(CHECKPOINTS)
        self.steps.setToolTip(
            "Also read earlier states of the model: a folder with models such as step-10, step-20. Press again to "
            "leave them out"
        )
        self.details = text_line("Readings in words")
        self._marks = Shown(viewer)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        how = Details(self.form, title="How", tooltip="Pixels, blocks and controls of Read stages")
        self.fold = Details(self.details, tooltip="Readings in words, and whether the answer depends on them")
        self.stages.add_button(self.steps)
        for widget in (self.bar, self.about, how, self.stages, self.plot, self.heat, self.fold):
            self.column.addWidget(widget)
        self.column.addStretch()
        for widget in (self.about, self.plot, self.heat, self.fold):
            widget.hide()

    def _connect(self) -> None:
        self.bar.clicked.connect(self._on_score)
        self.bar.worker.returned.connect(self._on_scored)
        self.stages.clicked.connect(self._on_read)
        self.stages.worker.returned.connect(self._on_readings)
        self.steps.clicked.connect(self._on_steps)
        self._model.changed.connect(lambda: self.use_checkpoints(None))
        self.forget(self.bar, self.stages)

    def _inputs(self) -> tuple[Volume, Path, LayerImage]:
        """Image, folder of the model, described labels."""
        return *self.subject(), self.painted(f"no labels are chosen; press '{self.paint.text()}' and paint 1 and 2")

    def use_checkpoints(self, folder: Path | None) -> None:
        """Read the models in a folder, too; None: the chosen model alone."""
        self.checkpoints = folder
        self.steps.setText(CHECKPOINTS if folder is None else f"Without {folder.name}")
        self.stages.forget()

    def _on_steps(self) -> None:
        if self.checkpoints is not None:
            self.use_checkpoints(None)
        elif folder := QFileDialog.getExistingDirectory(self, "Folder of checkpoints (step-10, step-20, ...)"):
            self.use_checkpoints(Path(folder))

    def _on_score(self) -> None:
        try:
            volume, folder, labels = self._inputs()
            region = region_in_view(self._viewer, self._image, volume)
            self.begin()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.about.hide()

        def job() -> Job[Probed]:
            return (yield from probe_job(Probing(volume, folder, labels.volume(), region)))

        self.bar.start(job, resumable=False, abandon=True)

    def _on_scored(self, found: Probed) -> None:
        told = "" if found.held_out is None else f" Average precision on strokes left out: {found.held_out:.2f}."
        few = "" if found.held_out is not None else " Paint two strokes of each to see how well it tells them."
        self.about.setText(f"Score of what is painted as 2.{told}{few}")
        self.about.show()
        if self.canvas is not None:
            self._shown.clear()
            self._shown.add(
                found.score, *self.canvas, SCORE, contrast_limits=(0, 255), colormap="inferno", blending="additive"
            )

    def _on_read(self) -> None:
        try:
            volume, folder, labels = self._inputs()
            params = self.form.value
            self.begin()
        except ConnectoError as error:
            self.stages.error.show_error(error)
            return
        layer = self.labels.layer
        name, steps = layer.name if layer is not None else SCRIBBLES, self.checkpoints

        def job() -> Job[Any]:
            return (yield from concepts_job(volume, folder, name, labels.volume(), params, steps))

        self.plot.hide()
        self.heat.hide()
        self.stages.start(job, resumable=False, abandon=True)

    def _on_readings(self, found: Any) -> None:
        [concept] = found.concepts
        self.plot.show_bars(stage_rows(found, concept))
        table = found.table(concept)
        if table.shape[1] > 1:
            self.heat.show_table(found.stages, steps_of(found, concept), table)
            self.heat.show()
        self.details.setText("\n\n".join(line[0].upper() + line[1:] + "." for line in found.lines()))
        self.plot.show()
        self.fold.show()
        if self.canvas is None:
            return
        places = (found.places or {}).get(concept, np.empty((0, 3)))
        self._marks.points(places, *self.canvas, PLACES, border_color=OKABE_ITO["new"])
