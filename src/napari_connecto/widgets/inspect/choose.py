"""Choosing the model to inspect: the second box of the dock "Inspect a model"."""

from __future__ import annotations

from napari_connecto.widgets.inspect.jobs import list_job, peek
from napari_connecto.widgets.shared.choice import ChoiceBox, Words

WORDS = Words(
    title="Model",
    row="Inspect",
    train="",
    training="",
    folder="Folder of a model (with card.json): shipped, fine-tuned or imported",
    tooltip="A shipped boundary model, or the folder of one that you fine-tuned or imported",
)


class ModelBox(ChoiceBox):
    """Which model: a shipped domain, or one from a folder."""

    def __init__(self) -> None:
        super().__init__(WORDS, lambda: list_job(None), lambda folder: peek(folder))
