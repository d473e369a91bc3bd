"""A search that was started from the dock "Cascade detection": whose results will be shown, in words too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_connecto.widgets.cascade.jobs import Peek

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_connecto.core.volume import Level


@dataclass(frozen=True)
class Begun:
    """A search that was started: the image layer and its level 0, the cascade (name, description), the folder."""

    image: Layer
    level: Level
    cascade: str
    peeked: Peek
    folder: Path

    @property
    def line(self) -> str:
        """Whose results these are, in words."""
        return f"Search of '{self.image.name}' with the cascade '{self.cascade}':"

    @property
    def advice(self) -> list[str]:
        """What to try where nothing was found, a sentence a line."""
        return [
            "No objects found",
            "Objects may lie elsewhere: Preview covers the view only, Run all the whole image",
            f"Scores may be too low: set Threshold below the cascade's own {self.peeked.threshold:.2f} and run again",
            f"The voxel size may be wrong: the cascade looks for objects of about {self.peeked.diameter_nm:.3g} nm",
            "The image may differ from the training data: train a cascade on labels of your own",
        ]
