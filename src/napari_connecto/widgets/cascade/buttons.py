"""The buttons of a review, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qtpy.QtWidgets import QGridLayout, QPushButton

BUTTONS = {
    "previous": ("◀ Previous (P)", "Go to the detection with the next higher score"),
    "next": ("Next (N) ▶", "Go to the detection with the next lower score"),
    "accept": ("Accept (A)", "Mark this detection as correct (saved) and go to the next"),
    "reject": ("Reject (X)", "Mark this detection as wrong (saved) and go to the next"),
    "undo": ("Undo (U)", "Undo the last verdict; the saved review is updated too"),
    "train": ("Use for training", "Copy the accepted detections into a new layer for training"),
    "export": (
        "Export…",
        "Write the shown, not rejected detections: CSV, Parquet, XML (cellfinder), ImageJ regions, "
        "GeoJSON (QuPath) or OME-Zarr labels; ids are kept",
    ),
}


def make_buttons(slots: Mapping[str, Callable[[], Any]]) -> dict[str, QPushButton]:
    """The buttons by their names in `BUTTONS`."""
    buttons = {}
    for key, slot in slots.items():
        text, tooltip = BUTTONS[key]
        buttons[key] = QPushButton(text)
        buttons[key].setToolTip(tooltip)
        buttons[key].clicked.connect(lambda _checked=False, slot=slot: slot())
    return buttons


def in_pairs(buttons: Iterable[QPushButton]) -> QGridLayout:
    """Two per row."""
    grid = QGridLayout()
    grid.setSpacing(4)
    for i, button in enumerate(buttons):
        grid.addWidget(button, i // 2, i % 2)
    return grid
