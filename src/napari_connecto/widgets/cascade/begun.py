"""A search started from the dock "Cascade detection", which the results refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_connecto.widgets.cascade.jobs import CascadeAbout
from napari_connecto.widgets.cascade.layers import ResultLayers

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_connecto.core.volume import Level, Volume


@dataclass(frozen=True)
class Begun:
    """A started search: the image layer, its volume, the cascade (folder, description), the result folder."""

    image: Layer
    volume: Volume
    model: Path
    peeked: CascadeAbout
    folder: Path

    @property
    def alone(self) -> bool:
        """Whether it is a detector without coarse levels."""
        return bool(self.peeked.detector) and self.peeked.levels == 1

    @property
    def cascade(self) -> str:
        """Name of the cascade's folder; of a detector alone its own."""
        return self.peeked.detector if self.alone else self.model.name

    @property
    def level(self) -> Level:
        """Level 0 of the image."""
        return self.volume.levels[0]

    @property
    def boxes(self) -> Level:
        """A stand-in for the level that `Detections.box` is in."""
        return replace(self.level, voxel_nm=self.peeked.voxel_nm)

    @property
    def line(self) -> str:
        """Title of the results."""
        return f"Search of '{self.image.name}' with the {self._kind} '{self.cascade}':"

    def layers(self, viewer: Any, before: ResultLayers | None, *, reuse: bool) -> ResultLayers:
        """Layers for its results; see `ResultLayers` for ``before`` and ``reuse``."""
        return ResultLayers(
            viewer,
            self.image,
            self.level,
            self.peeked.voxel_nm,
            by=self.cascade,
            diameter_nm=self.peeked.diameter_nm,
            before=before,
            reuse=reuse,
        )

    def summary(self, count: int, lines: Sequence[str]) -> str:
        """Title and ``lines`` of a finished search; with advice if it found nothing."""
        told = lines if count else [*self.advice, *lines]
        return "\n".join([self.line, *(f"• {line}" for line in told)])

    def orphaned(self, count: int) -> str:
        """Summary of a search whose image layer was deleted meanwhile."""
        return (
            f"{self.line} {count} detections, saved in {self.folder}. The layer of their image was deleted; open the "
            "image again to see them."
        )

    @property
    def _kind(self) -> str:
        return "detector" if self.alone else "cascade"

    @property
    def advice(self) -> list[str]:
        """What to try if nothing was found, one sentence per line."""
        return [
            "No objects found",
            "Objects may lie elsewhere: Preview covers only the view, Run all the whole image",
            f"Scores may be too low: set Threshold below the {self._kind}'s {self.peeked.threshold:.2f} and run again",
            f"The voxel size may be wrong: the {self._kind} looks for objects near {self.peeked.diameter_nm:.3g} nm",
            "The image may differ from the training data: train a cascade on your own labels",
        ]
