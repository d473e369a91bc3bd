"""Where the passes of a translator disagree about membranes: a layer, and a list of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari.layers import Image
from qtpy.QtWidgets import QFormLayout, QGroupBox

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared import boundary_models
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.viewer.show import store_layer
from napari_connecto.widgets.viewer.view import RESULT, jump, selection_kept
from napari_connecto.widgets.xray import jobs
from napari_connecto.widgets.xray.layers import frame
from napari_connecto.widgets.xray.place_list import PlaceList
from napari_connecto.widgets.xray.trust import TrustBox

if TYPE_CHECKING:
    from napari_connecto.widgets.xray.segment_jobs import Source
    from napari_connecto.workflows.xray.place import Place

LAYER = "disagreement about membranes"
SPAN = (0.0, 0.5)
"""Standard deviations of a probability: from full agreement to half against half."""


@dataclass(frozen=True)
class Disputing:
    """The request: translation, boundary model, part (voxels of the X-ray's finest level; None: everywhere), and the
    EM-like image whose voxels give the positions.
    """

    what: jobs.Translating
    model: Path
    region: Box | None
    out: Path
    mean: Level


class Disputed(NamedTuple):
    """Standard deviation of the membrane probability over passes, and where it is largest, in the mean's voxels."""

    sd: Volume
    worst: list[Place]


class DisputedBox(QGroupBox):
    """One button; a layer of the disagreement over the EM-like image, and a list of places. A click goes there.

    Parameters
    ----------
    question
        The translation shown and the request; raises `InputError` if there is none.
    """

    def __init__(self, viewer: Any, trust: TrustBox, question: Callable[[], tuple[Source, Disputing]]) -> None:
        super().__init__("Disagreement of the networks")
        self._viewer, self._trust, self._question = viewer, trust, question
        self._source: Source | None = None
        self.layer: Image | None = None
        self.bar = JobBar(
            "disagreement",
            "Show disagreement",
            "Segment every pass of the translator separately (model and part as above) and show where they differ.\n"
            "Slow: one more translation, and one prediction per pass. The list above stays as it is.",
        )
        self.about = text_line("The largest disagreement, and where it is saved")
        self.regions: list[Place] = []
        self.list = PlaceList(80)
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.addRow(self.bar)
        layout.addRow(self.about)
        layout.addRow(self.list)
        self.list.hide()
        self.list.currentRowChanged.connect(self._go)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_found)

    def close_jobs(self) -> None:
        """Stop."""
        self.bar.close_jobs()

    def forget(self) -> None:
        """There is no translation."""
        self._source, self.layer, self.regions = None, None, []
        self.list.hide()
        self.about.setText("")
        self.bar.reset()

    def _on_clicked(self) -> None:
        try:
            self._source, asked = self._question()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        n = self._trust.count.value()
        self.about.setText("")
        self.bar.start(lambda: disputed_job(asked, n), abandon=True)

    def _on_found(self, found: Disputed) -> None:
        source = self._source
        if source is None or not self._trust.alive:
            return
        arrays, keywords = store_layer(found.sd, source.image, source.finest)
        if self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        look = {"name": LAYER, "contrast_limits": SPAN, "colormap": "inferno", "blending": "additive", "opacity": 0.8}
        data = arrays if len(arrays) > 1 else arrays[0]
        with selection_kept(self._viewer, source.image):
            self.layer = self._viewer.add_image(
                data, multiscale=len(arrays) > 1, metadata={RESULT: True}, **look, **keywords
            )
        self.regions = found.worst
        self.list.show_places(found.worst, [])
        self.list.setVisible(bool(found.worst))
        top = f"up to {found.worst[0].sd:.2f} on average over a region" if found.worst else "none: all passes agree"
        self.about.setText(f"Disagreement (sd of the probability, 0 to 0.5): {top}.")
        self.about.setToolTip(f"Saved in {Path(found.sd.source).parent}")

    def _go(self, index: int) -> None:
        layers = self._trust.layers
        if 0 <= index < len(self.regions) and layers is not None and layers.mean is not None and layers.alive:
            jump(self._viewer, layers.mean, frame(self.regions[index]).mean(axis=0)[3 - layers.mean.ndim :])


def disputed_job(asked: Disputing, n: int) -> Job[Disputed]:
    """Compute it, and find the ``n`` regions of largest disagreement."""
    yield from torch_job()
    yield Progress(0, 0, "loading translator and model")
    from napari_connecto.workflows.xray.membranes import membranes_job
    from napari_connecto.workflows.xray.trust import disputed_regions

    what, translator = asked.what, jobs.load(asked.what.model)
    model = boundary_models.load(asked.model)
    phases = Phases({"membranes": 1, "finding the most uncertain regions": 0.01})
    how: dict[str, Any] = {"out": asked.out, "region": asked.region}
    asking = what.job(lambda client: membranes_job(what.volume, translator, model, what.params, client=client, **how))
    found = yield from phases.run("membranes", asking)
    mean, grid = asked.mean, found.sd.levels[0]
    regions = yield from phases.call("finding the most uncertain regions", lambda: disputed_regions(found.sd, n))
    worst = [replace(r, box=grid.box_in(r.box, mean).clip(mean.shape)) for r in regions]
    return Disputed(found.sd, worst)
