"""The buttons of a review, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qtpy.QtWidgets import QGridLayout, QPushButton

BUTTONS = {
    "previous": ("◀ Previous (P)", "Go to the detection with the next higher score"),
    "next": ("Next (N) ▶", "Go to the detection with the next lower score"),
    "accept": ("Accept (A)", "Mark this detection as right (saved), and go on"),
    "reject": ("Reject (X)", "Mark this detection as wrong (saved), and go on"),
    "undo": ("Undo (U)", "Undo the last verdict, on disk too"),
    "train": ("Use for training", "Put the accepted detections into a new layer for training"),
    "export": (
        "Export…",
        "Write the detections that are shown and not rejected: CSV, Parquet, XML (cellfinder), ImageJ regions, "
        "GeoJSON (QuPath) or OME-Zarr labels; ids are kept",
    ),
}


def make_buttons(slots: Mapping[str, Callable[[], Any]]) -> dict[str, QPushButton]:
    """A button for each slot, by its name in `BUTTONS`."""
    buttons = {}
    for key, slot in slots.items():
        text, tooltip = BUTTONS[key]
        buttons[key] = QPushButton(text)
        buttons[key].setToolTip(tooltip)
        buttons[key].clicked.connect(lambda _checked=False, slot=slot: slot())
    return buttons


def in_pairs(buttons: Iterable[QPushButton]) -> QGridLayout:
    """Two in a row."""
    grid = QGridLayout()
    grid.setSpacing(4)
    for i, button in enumerate(buttons):
        grid.addWidget(button, i // 2, i % 2)
    return grid
