"""Choosing the cascade: the second box of the dock "Cascade detection"."""

from __future__ import annotations

from napari_connecto.widgets.cascade.jobs import list_job, peek
from napari_connecto.widgets.shared.choice import ChoiceBox, Words

TRAIN = "Train from labels…"
WORDS = Words(
    title="Detector",
    row="Find with",
    train=TRAIN,
    training="Paint masks in a Labels layer, or set points; then train below.",
    folder="Folder of a cascade (with cascade.json)",
    tooltip="A shipped cascade, one from a folder or trained on your labels; or any detector, without training",
)


class CascadeBox(ChoiceBox):
    """Which cascade: shipped, from a folder, to be trained, or around a detector."""

    def __init__(self) -> None:
        super().__init__(WORDS, lambda: list_job(), lambda folder: peek(folder))
