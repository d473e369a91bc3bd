"""How many patches to suggest, and folded below it how, and what they begin with."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.workflows.adapt.params import PREFILLS, SuggestParams

PATCHES, AT_RANDOM = 8, 4
"""Suggestions at first, and how many of them are held out: fewer than four prove little."""


class SuggestOptions(QWidget):
    """Number of patches, pre-fill and `SuggestParams`."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.prefill = QSpinBox(), QComboBox()
        self.count.setRange(1, 1000)
        self.count.setValue(PATCHES)
        self.count.setToolTip("Number of patches to suggest; those drawn at random are held out to measure the gain")
        self.prefill.addItems(PREFILLS)
        self.prefill.setToolTip(
            "Initial labels of a patch: the model's prediction, to be corrected.\n"
            "Held-out patches start empty, so that a model is never measured by its own output"
        )
        self.form: ParamsForm[SuggestParams] = ParamsForm(SuggestParams)
        self.form.value = SuggestParams(random_arm=AT_RANDOM)
        rows, inside = QFormLayout(), QWidget()
        rows.addRow("Patches", self.count)
        inner = QFormLayout(inside)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addRow("Pre-fill with", self.prefill)
        tip = "Sampling strategy and size of the patches, and what they begin with"
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(rows)
        layout.addWidget(Details(inside, self.form, title="Options", tooltip=tip))
