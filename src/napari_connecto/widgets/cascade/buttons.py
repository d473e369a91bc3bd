"""The buttons of a review, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qtpy.QtWidgets import QGridLayout, QPushButton

SHORTEST = 44
"""Pixels; several buttons share a row of a narrow dock."""
BUTTONS = {
    "previous": ("◀ (P)", "Go to the detection with the next higher score"),
    "accept": ("Accept (A)", "Mark this detection as correct (saved) and go to the next undecided one"),
    "reject": ("Reject (X)", "Mark this detection as wrong (saved) and go to the next undecided one"),
    "next": ("(N) ▶", "Go to the detection with the next lower score"),
    "add": (
        "Add missed (M)",
        "Then click on objects that the search missed (saved); press Escape or M to end.\n"
        "In a 3-D view, the brightest place along the line of sight is taken",
    ),
    "undo": ("Undo (U)", "Undo the last verdict, tag or added object; the saved review is updated too"),
    "table": ("Table", "Show or hide the table of all detections: sort, filter, and go to any of them"),
    "train": ("Use for training", "Copy the accepted and added objects into a new layer for training"),
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
        buttons[key].setMinimumWidth(SHORTEST)
        buttons[key].clicked.connect(lambda _checked=False, slot=slot: slot())
    return buttons


def in_rows(buttons: Iterable[QPushButton], each: int = 2) -> QGridLayout:
    """``each`` in a row."""
    grid = QGridLayout()
    grid.setSpacing(4)
    for i, button in enumerate(buttons):
        grid.addWidget(button, i // each, i % each)
    return grid
