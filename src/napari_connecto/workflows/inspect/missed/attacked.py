"""What an attack did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import binomtest

from napari_connecto.core.amounts import percent
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.shown import shown


@dataclass(frozen=True)
class Planted:
    """How many places flipped with one kind of pattern and ablation.

    Parameters
    ----------
    flips, tried
        Inputs whose answer flipped, of all; controls count every random channel at every place.
    logit
        Mean over discs.
    """

    flips: int
    tried: int
    logit: float

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %, of the share of flips."""
        found = binomtest(self.flips, self.tried).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.flips} of {self.tried} ({percent(self.flips / self.tried)}, {percent(low)}-{percent(high)})"


@shown
@dataclass(frozen=True)
class Attack:
    """What a channel answers to, put where it does not belong.

    Parameters
    ----------
    channel
        Place and number.
    pattern
        Voxel (z, y, x) in the middle of the pattern, where it was taken.
    places, flipped
        Clean places it was put in, voxels (z, y, x), and whether the answer flipped there.
    runs
        "pattern", "pattern, ablated"; controls "other pattern" (of a random channel), "random piece" (of the image),
        "pattern, other ablated" (a random channel).
    kept, kept_other
        Share of what the model calls an object that it still does with the channel ablated, or a random one.
    """

    channel: tuple[str, int]
    pattern: Vec3
    places: tuple[Vec3, ...]
    flipped: tuple[bool, ...]
    runs: Mapping[str, Planted]
    kept: float
    kept_other: float

    def lines(self) -> list[str]:
        """The answer in sentences."""
        name_of = ":".join(map(str, self.channel))
        told = [f"{name}: {planted}, mean logit {planted.logit:.2f}" for name, planted in self.runs.items()]
        return [
            f"flipped answers at {len(self.places)} clean places with the pattern of {name_of} "
            f"from voxel {', '.join(str(v) for v in self.pattern)} (share, 95 % interval)",
            *told,
            f"of all that the model finds there, it still finds {percent(self.kept)} with the channel ablated, "
            f"{percent(self.kept_other)} with a random one ablated",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "lines": self.lines()}
