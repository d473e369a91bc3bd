"""Seconds that a stage takes per call, by the number of chunks that a call covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration

ONE: Vec3 = (1, 1, 1)
TIMINGS = "timings.json"
"""In a result folder: measured when the job began, so that it goes on as it was planned."""


@dataclass(frozen=True)
class Price:
    """One way to run a stage.

    Parameters
    ----------
    group
        Chunks along each axis, (z, y, x), that one call covers: its tile is so many times the card's.
    seconds
        Per call: reading and model.
    batch
        Tiles per forward pass; 0 if that was not timed.
    calls
        Per chunk, where all chunks are classified: 1 / number of chunks in a call, and more where the volume is no
        multiple of the tile.
    """

    group: Vec3
    seconds: float
    batch: int = 0
    calls: float = 1.0

    @property
    def chunk_s(self) -> float:
        """Seconds per chunk where all chunks are classified."""
        return self.seconds * self.calls


Prices: TypeAlias = tuple[tuple[Price, ...], ...]
"""Per stage, finest first: at least one price, that of single chunks first."""


def calibrated(calibration: Calibration) -> Prices:
    """Of single chunks, as measured when the cascade was trained."""
    return tuple((Price(ONE, cost),) for cost in calibration.cost_s)


def exhaustive_price(prices: Prices) -> Price:
    """The cheapest way to run the finest stage everywhere."""
    return min(prices[0], key=lambda price: price.chunk_s)


def called(calibration: Calibration, level: int, price: Price, chunks: np.ndarray) -> float:
    """Calls per chunk of a level if ``chunks`` (n_k,) booleans say which are classified.

    Where an older calibration does not know which chunks are neighbours, as many calls as chunks.
    """
    groups = calibration.groups(level, price.group)
    if groups is None:
        return min(price.calls, calibration.share(chunks, level))
    weights = calibration.group_weight(level, groups)
    return price.calls * float(weights[np.unique(groups[chunks])].sum() / weights.sum())


@dataclass(frozen=True)
class Timings:
    """What a search takes on this machine.

    Parameters
    ----------
    prices
        Seconds per call of every stage.
    write_s, object_s
        Seconds per chunk with an object: to store its map, and to extract and draw the object; 0 if that was not timed.
    """

    prices: Prices
    write_s: float = 0.0
    object_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        stages = [[asdict(price) for price in ways] for ways in self.prices]
        return {"stages": stages, "write_s": self.write_s, "object_s": self.object_s}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], stages: int) -> Timings:
        """From the output of `to_json`.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        try:
            prices = tuple(
                tuple(Price(vec3(p["group"]), float(p["seconds"]), int(p["batch"]), float(p["calls"])) for p in ways)
                for ways in data["stages"]
            )
            found = cls(prices, float(data["write_s"]), float(data["object_s"]))
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(f"the folder's {TIMINGS} is damaged ({error!r}); remove it") from error
        each = [price for ways in prices for price in ways]
        sound = len(prices) == stages and all(ways and ways[0].group == ONE for ways in prices)
        sound = sound and all(0 <= s < 1e9 for s in (found.write_s, found.object_s))
        if not sound or not all(0 < p.seconds < 1e9 and 0 < p.calls <= 1 and min(p.group) > 0 <= p.batch for p in each):
            raise StoreError(f"the folder's {TIMINGS} is damaged; remove it")
        return found
