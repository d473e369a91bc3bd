"""A place of a translation where it may be wrong: the one record, whichever uncertainty found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_connecto.core.geometry import Box, FVec3, fvec3
from napari_connecto.core.volume import Level
from napari_connecto.io.disk import write_json


@dataclass(frozen=True)
class Place:
    """A place where a translation may be wrong.

    Parameters
    ----------
    box
        Voxels of the mean's finest level.
    centre_nm
        World, (z, y, x).
    reason
        The uncertainty in words.
    entropy, undecided
        Mean entropy of the boundary probability, bits, and share of voxels with a probability between 0.25 and 0.75;
        None if no boundary model was asked.
    sd
        Mean standard deviation: total, on the mean's scale; or, where passes disagree, of the membrane probability.
        None if not known.
    epistemic
        Share of the variance that is epistemic; the rest is aleatoric. None if not known.
    """

    box: Box
    centre_nm: FVec3
    reason: str
    entropy: float | None = None
    undecided: float | None = None
    sd: float | None = None
    epistemic: float | None = None

    @classmethod
    def of(cls, box: Box, level: Level, finest: Level, reason: str, **figures: float | None) -> Place:
        """A box of a level, as a place of the finest level."""
        there = level.box_in(box, finest).clip(finest.shape)
        return cls(there, fvec3(level.to_nm(box.centre).tolist()), reason, **figures)

    def to_json(self) -> dict[str, Any]:
        """Plain types; figures that are not known are left out."""
        figures = {k: v for k, v in asdict(self).items() if k not in ("box", "centre_nm") and v is not None}
        return {"centre_nm": list(self.centre_nm), "box": [*self.box.start, *self.box.stop], **figures}

    @property
    def sentence(self) -> str:
        """Position and reason."""
        return f"least certain at z y x {', '.join(f'{c:.0f}' for c in self.centre_nm)} nm: {self.reason}"


def write_places(places: Sequence[Place], path: Path) -> None:
    """Write places, worst first."""
    write_json(path, [place.to_json() for place in places])
