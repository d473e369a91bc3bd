"""Training a translator from an X-ray and an EM volume: the box that appears for "Train from pair…"."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGroupBox, QPushButton

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.plots import Curve
from napari_connecto.widgets.shared.worker import State
from napari_connecto.widgets.viewer.layers import SPEC, LayerImage, describe
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.viewer.view import LayerCombo
from napari_connecto.widgets.viewer.volumes import as_file_job, identity
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.entries.xray import TrainTranslator
from napari_connecto.workflows.shared.stop_file import stop_and_keep
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.translate_params import TranslatorParams

PRESETS = {
    "Quick": TranslatorParams(members=2, steps=150, width=8),
    "Standard": TranslatorParams(),
    "Full": TranslatorParams(members=5, steps=2000, width=24),
}
"""A first look in minutes, the defaults, and an overnight run."""
CUSTOM, TRANSLATOR = "Custom", "translator"
OWN = ("name", "device")
"""Fields that no preset changes."""


class Training(NamedTuple):
    """The inputs of a training; ``em`` is opened by its job."""

    xray: Volume
    spec: VolumeSpec | None
    em: LayerImage
    params: TranslatorParams
    pairing: PairParams
    out: Path

    @property
    def wanted(self) -> tuple[Any, ...]:
        """What must be equal for an unfinished training to be resumed."""
        em = self.em
        seen = em.path or [id(array) for array in em.arrays]
        return (identity(self.xray), em.name, seen, em.leading, em.voxel_nm, self.params, self.pairing)


class PairBox(QGroupBox):
    """EM layer, preset, form, start, watch, stop. ``trained`` is emitted with the folder of the new translator.

    The X-ray is the dock's image. Training runs in a separate process: it does not slow down the view, and Cancel ends
    it at
    once. The same training, started again, continues from what the networks have learnt so far.
    """

    trained = Signal(Path)

    def __init__(self, viewer: Any, source: InputBox, folder: Callable[[], Path]) -> None:
        super().__init__("Train from pair")
        self._viewer, self._source, self._folder = viewer, source, folder
        self._last: Training | None = None
        self.em = LayerCombo(
            viewer, (Image,), "EM of the same tissue; its layer must be placed where it lies in the X-ray"
        )
        self.preset = QComboBox()
        self.preset.addItems([*PRESETS, CUSTOM])
        self.preset.setCurrentText("Standard")
        self.preset.setToolTip(
            "Quick: two small networks, a first look; Standard: four; Full: five wide ones, 5 × longer"
        )
        self.form: ParamsForm[TranslatorParams] = ParamsForm(TranslatorParams)
        self.pairing: ParamsForm[PairParams] = ParamsForm(PairParams)
        fold = Details(self.pairing, title="Alignment", tooltip="How the EM is aligned with the X-ray")
        self.bar = JobBar("training", "Train", "Align the pair, then train; creates a result folder")
        self.stop = QPushButton("Stop && keep")
        self.stop.setToolTip("Stop now and keep the networks so far; they are evaluated on the held-out block")
        self.stop.setEnabled(False)
        self.bar.add_stop_button(self.stop)
        self.curve = Curve()
        self.about = text_line("Results on the held-out block")
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("EM", self.em)
        layout.addRow("Preset", self.preset)
        for widget in (self.form, fold, self.bar, self.curve, self.about):
            layout.addRow(widget)
        self._source.layers.chosen.connect(self._on_image_chosen)
        self.preset.activated.connect(self._on_preset)
        self.form.changed.connect(self._on_form)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.reported.connect(self._on_reported)
        self.bar.worker.returned.connect(self._on_trained)
        self.bar.worker.state_changed.connect(self._on_state)
        self.stop.clicked.connect(self._on_stop)

    def training(self) -> Training:
        """The training as set in the dock; in the folder of an unfinished one if it is the same.

        Raises
        ------
        InputError
            If X-ray or EM are missing or the same.
        """
        xray, layer = self._source.volume(truncated=True), self.em.layer
        if xray is None:
            raise InputError("no X-ray is chosen; choose its layer in the box Image")
        if layer is None or layer.name == self._source.layers.currentText():
            raise InputError("no EM beside the X-ray; open the EM of the same tissue and choose its layer")
        em, params = describe(layer, step=self._viewer.dims.current_step), self.form.value
        if not em.calibrated:
            raise InputError(f"EM layer '{layer.name}' states no unit; set its scale and units (nm) in napari")
        name = re.sub(r"[^\w.-]+", "-", params.name) or TRANSLATOR
        out = self._folder() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        made = Training(xray, self._source.spec(xray), em, params, self.pairing.value, out)
        last = self._last
        if last is not None and last.wanted == made.wanted and not (last.out / TRANSLATOR).exists():
            return last
        return made

    def close_jobs(self) -> None:
        """Stop training."""
        self.bar.close_jobs()
        self.em.release()

    def _on_image_chosen(self) -> None:
        """Clear the messages of a training on another image, unless it still runs."""
        if not self.bar.worker.state.busy:
            self.bar.reset()
            self.curve.clear()
            self.about.setText("")

    def _on_preset(self, _index: int) -> None:
        chosen = PRESETS.get(self.preset.currentText())
        if chosen is not None:
            self.form.change(**{k: v for k, v in asdict(chosen).items() if k not in OWN})

    def _on_form(self) -> None:
        """Select the preset that matches the form, if any."""
        try:
            now = self.form.value
        except InputError:  # shown when Train is pressed
            self.preset.setCurrentText(CUSTOM)
            return
        same = [k for k, p in PRESETS.items() if replace(p, name=now.name, device=now.device) == now]
        self.preset.setCurrentText(same[0] if same else CUSTOM)

    def _on_clicked(self) -> None:
        try:
            training = self.training()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._last = training
        self.curve.clear()
        self.about.setText("")
        self.bar.start(lambda: training_job(training))

    def _on_reported(self, progress: Progress, payloads: list[Any]) -> None:
        if payloads:
            self.curve.add(payloads, progress.total, progress.done)
            self.stop.setEnabled(self.bar.worker.state is State.RUNNING)

    def _on_state(self, state: State) -> None:
        if state is not State.RUNNING:
            self.stop.setEnabled(False)

    def _on_stop(self) -> None:
        if self._last is not None and stop_and_keep(self._last.out):
            self.stop.setEnabled(False)
            self.bar.status.setText("Stopping after this step; the networks are kept and evaluated…")

    def _on_trained(self, summary: Summary) -> None:
        out = Path(summary.out)
        self.about.setText("\n".join([*summary.lines, f"Saved in {out}"]))
        self.bar.offer_report(out)
        self.trained.emit(out / TRANSLATOR)


def training_job(training: Training) -> Job[Summary]:
    """Train in a separate process, killed when this is closed; inputs that are not files are written to one first."""
    yield from torch_job()
    from napari_connecto.workflows.recipes.own_process import run_in_subprocess

    yield Progress(0, 0, "opening")
    em, inputs = training.em.volume(), training.out.parent / f"{training.out.name}-inputs"
    phases = Phases({"writing the X-ray": 1, "writing the EM": 1, "training": 100})
    writing = as_file_job(training.xray, training.spec, inputs / "xray.ome.zarr")
    xray_spec = yield from phases.run("writing the X-ray", writing)
    writing = as_file_job(em, em.metadata.get(SPEC), inputs / "em.ome.zarr")
    em_spec = yield from phases.run("writing the EM", writing)
    params, pairing, out = training.params, training.pairing, str(training.out)
    run = TrainTranslator(volume=xray_spec, em=em_spec, params=params, pairing=pairing, out=out)
    running = run_in_subprocess(run, training.out.parent / "recipes" / training.out.name)
    return (yield from phases.run("training", running))
