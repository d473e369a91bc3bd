"""Judging a translation: how much of it is certain, and the places where membranes are most uncertain, one by one."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGroupBox, QPushButton, QSpinBox, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.shared.slider import SpanSlider
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.view import jump
from napari_connecto.widgets.xray.check_jobs import Checked, Listed, listing_job
from napari_connecto.widgets.xray.jobs import PARTS, Translated
from napari_connecto.widgets.xray.layers import KINDS, TranslationLayers, frame
from napari_connecto.widgets.xray.place_list import PlaceList
from napari_connecto.widgets.xray.strip import StripPlot
from napari_connecto.widgets.xray.views import LinkedViews

CERTAIN = 0.1
"""Initial standard deviation up to which the EM-like image is opaque: a tenth of the EM's range."""


class TrustBox(QGroupBox):
    """A strip of shares, the places to look at first, three linked views; behind Details, fading and kinds.

    The keys N, P and V work while the EM-like layer exists. ``changed`` is emitted when the certainty limit changes.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("Where it may be wrong")
        self._viewer = viewer
        self._keys = Keys(self)
        self.layers: TranslationLayers | None = None
        self.regions: list[Any] = []
        self.checked: Checked | None = None
        self._xray: Volume | None = None
        self.linked = LinkedViews(viewer)
        self.strip = StripPlot()
        self.report = text_line(
            "What was translated, seams at tile borders, and the translator's figures from training"
        )
        self.kind = QComboBox()
        self.kind.addItems(KINDS)
        self.kind.setToolTip(
            "membranes: entropy of the boundary model's answer, 0 to 1 bit; it finds wrong membranes best.\n"
            "Standard deviation of the image, whose range is 1: aleatoric, what the X-ray does not show; epistemic, "
            "what the translator does not know; total, both."
        )
        self.fade = QCheckBox("Opacity by certainty")
        self.fade.setToolTip("Fade the EM-like image where it is uncertain, so that the X-ray below shows")
        self.limit = SpanSlider(
            0.01,
            0.5,
            "Total standard deviation up to which a voxel counts as certain, as a share of the EM's range.\n"
            "The image is opaque up to this value and transparent from twice this value. Segments above it can be "
            "hidden below.\nThe slider spans the 5th percentile to the maximum.",
        )
        self.limit.setValue(CERTAIN)
        self.count = QSpinBox()
        self.count.setRange(1, 100)
        self.count.setValue(10)
        self.count.setToolTip("Number of regions to list, most uncertain first; they do not overlap")
        self.again = QPushButton("Update list")
        self.again.setToolTip("List the most uncertain regions of what is translated so far")
        self.list = PlaceList()
        self.previous, self.next = QPushButton("◀ Previous (P)"), QPushButton("Next (N) ▶")
        self.previous.setToolTip("Go to the previous place (key P)")
        self.next.setToolTip("Go to the next place (key N)")
        self.views = QPushButton("3 views (V)")
        self.views.setCheckable(True)
        self.views.setToolTip("X-ray, EM-like image and uncertainty side by side, moving together (key V)")
        self.error = ErrorLine()
        self._looker = Worker("most uncertain regions", self, quiet=True)
        self._lay_out()
        self._connect()
        self._show_state()

    def _lay_out(self) -> None:
        inside = QWidget()
        form = QFormLayout(inside)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.addRow("Uncertainty", self.kind)
        form.addRow(self.fade)
        form.addRow("Certain to sd", self.limit)
        form.addRow("Places", row(self.count, self.again))
        told = "Figures of the translation, kinds of uncertainty, fading"
        self.details = Details(self.report, inside, tooltip=told)  # a form would clip the report's lines
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        for part in (self.strip, self.list, row(self.previous, self.next, self.views), self.error, self.details):
            layout.addWidget(part)

    def _connect(self) -> None:
        self._limited = qthrottled(self._on_limit, timeout=80)
        self.kind.currentTextChanged.connect(self._on_kind)
        self.kind.activated.connect(lambda _: self._on_kind(self.kind.currentText()))  # also the one that is named
        self.fade.toggled.connect(self._on_fade)
        self.limit.valueChanged.connect(self._limited)
        self.limit.valueChanged.connect(lambda _: self.changed.emit())
        self.again.clicked.connect(self.look)
        self.list.currentRowChanged.connect(self.go)
        self.previous.clicked.connect(lambda: self.step(-1))
        self.next.clicked.connect(lambda: self.step(1))
        self.views.toggled.connect(self._on_views)
        self._looker.returned.connect(self.show_listed)
        self._looker.failed.connect(self.error.show_error)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def alive(self) -> bool:
        """Whether a translation is shown and its EM-like layer is still in the viewer."""
        return self.layers is not None and self.layers.alive

    def begin(self, image: Layer, level: Level, xray: Volume) -> None:
        """Another translation, of this volume, starts; layers of an earlier one stay as they are."""
        self.forget()
        self._xray, self.layers = xray, TranslationLayers(self._viewer, image, level)

    def forget(self) -> None:
        """There is no translation to judge."""
        self._keys.release()
        self.views.setChecked(False)
        self._xray = self.layers = self.checked = None
        self.strip.show_shares(None)
        self.regions = []
        self.report.setText("")
        self.list.clear()
        self.error.clear()
        self._show_state()

    def show_live(self, volumes: dict[str, Volume] | None) -> None:
        """Show what is translated so far; ``volumes`` are its stores if these are not shown yet."""
        if self.layers is None:
            return
        if self.layers.mean is None and volumes is not None:
            self.layers.show(
                volumes, kind=self.kind.currentText(), at_most=self.limit.value(), fade=self.fade.isChecked()
            )
            keys = {"N": lambda: self.step(1), "P": lambda: self.step(-1), "V": self.views.toggle}
            self._keys.bind((self._viewer, *self.layers.images), keys)
            self._show_state()
        elif self.alive:
            self.layers.refresh()

    def finish(self, made: Translated, *, complete: bool) -> None:
        """The translation, or the requested part, is done."""
        self.report.setText("\n".join(f"• {line}" for line in made.lines))
        if self.layers is not None and self.layers.alive:
            self.layers.refresh(force=True)
            self.layers.adjust()
            if complete:
                self.layers.complete()
                self.layers.volumes = {name: getattr(made.found, name) for name in PARTS}
            if made.span is not None:
                self.limit.span(*made.span)
                self.layers.set_limit(self.limit.value())
            self.checked = made.checked
            self.strip.show_shares(made.checked.shares if made.checked is not None else None)
            if made.checked is not None:
                self.layers.show_entropy(made.checked.found.entropy)
            self.show_listed(made.listed)

    def look(self) -> None:
        """List the most uncertain places of what is translated so far."""
        if self.layers is None or not self.layers.alive or self._xray is None:
            return
        volumes, n, checked, xray = dict(self.layers.volumes), self.count.value(), self.checked, self._xray
        self.error.clear()
        self._looker.start(lambda: listing_job(checked, volumes, xray, n))

    def show_listed(self, listed: Listed) -> None:
        """List and frame these places."""
        self.regions = list(listed.places)
        self.list.show_places(listed.places, listed.crops)
        if self.layers is not None:
            self.layers.show_worst(self.regions)
            if self.linked.on and self.layers.worst is not None:
                self.layers.worst.visible = False
        self._show_state()

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) region of the list, wrapping around."""
        if self.regions:
            here = self.list.currentRow()
            first = 0 if by > 0 else len(self.regions) - 1
            self.list.setCurrentRow((here + by) % len(self.regions) if here >= 0 else first)

    def go(self, index: int) -> None:
        """Centre the view on a region and highlight its frame."""
        if not 0 <= index < len(self.regions) or self.layers is None or self.layers.mean is None:
            return
        if self.layers.alive:
            layer = self.layers.mean
            jump(self._viewer, layer, frame(self.regions[index]).mean(axis=0)[3 - layer.ndim :])
            self.layers.mark(index)

    def close_jobs(self) -> None:
        """Stop the search, release the keys, and leave one view."""
        self.linked.end()
        self._looker.close(wait_s=0)
        self._keys.release()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _on_views(self, on: bool) -> None:
        if on and self.layers is not None and self.layers.alive:
            self.linked.show(self.layers.shown)
        else:
            self.linked.end()

    def _on_kind(self, kind: str) -> None:
        if self.layers is not None:
            self.layers.choose(kind)

    def _on_fade(self, on: bool) -> None:
        if self.layers is not None:
            self.layers.fade(on)

    def _on_limit(self, limit: float) -> None:
        if self.layers is not None:
            self.layers.set_limit(limit)

    def _on_layer_removed(self, _event: Any) -> None:
        if self._keys and not self.alive:
            self._keys.release()
            self.views.setChecked(False)
            self._show_state()

    def _show_state(self) -> None:
        self.report.setVisible(bool(self.report.text()))
        for widget in (self.kind, self.fade, self.again, self.list, self.views):
            widget.setEnabled(self.alive)
        self.limit.allow(self.alive)
        for button in (self.previous, self.next):
            button.setEnabled(self.alive and bool(self.regions))
