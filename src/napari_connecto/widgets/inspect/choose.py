"""Choosing the model to inspect: the second box of the dock "Inspect a model"."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.detectors import finest, models_job
from napari_connecto.widgets.inspect.jobs import peek
from napari_connecto.widgets.shared.choice import ChoiceBox, Words
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.settings import output_folder

WORDS = Words(
    title="Model",
    row="Inspect",
    train="",
    training="",
    folder="Folder of a model or a detector: shipped, trained, fine-tuned or imported",
    tooltip="A boundary model or a detector that is shipped or that you trained, or the folder of another model",
)


class ModelBox(ChoiceBox):
    """Which model: a shipped domain, the finest level of a detector, or one from a folder."""

    def __init__(self) -> None:
        super().__init__(WORDS, lambda: models_job(output_folder()), lambda folder: peek(folder))

    def use(self, folder: Path) -> None:
        """As `ChoiceBox.use`; of a detector, its finest level."""
        super().use(finest(folder))

    @property
    def pixels(self) -> bool:
        """Whether the chosen model works in pixels."""
        return bool(self.peeked is not None and self.peeked.pixels)

    def reads(self, image: InputBox) -> Volume:
        """The chosen image as the chosen model reads it: one without a voxel size is read by a model in pixels.

        Raises
        ------
        InputError
            If none is open.
        """
        volume = image.need_volume()
        return volume.in_pixels() if self.pixels else volume
