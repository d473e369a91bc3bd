"""What a live view shows, as its scheduler sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from napari_connecto.compute.live.mosaic import Picture
from napari_connecto.core.geometry import Box

Key: TypeAlias = tuple[str, int]
"""Name of a map, and the index of one of its tiles."""


class LiveWork(Protocol):
    """Maps that are computed tile by tile. Contract:

    - `order` reads no voxel; it is asked while others compute.
    - `compute` gets keys of one map, at most ``group`` of it, none of which `has` holds or another thread computes.
    - After `compute` returns, `has` holds for its keys, and `pictures` show them.
    - `derive` is called by one thread, while others may compute.
    - `close` is called once, when nothing computes any more.
    """

    @property
    def threads(self) -> int:
        """How many calls of `compute` at once serve best."""

    @property
    def pictures(self) -> Sequence[Picture]:
        """What is shown."""

    def order(self, view: Box) -> Sequence[Key]:
        """Tiles that the view (voxels of the volume's finest level) needs as far as is known, most wanted first.

        With those that are there already, but no more than memory can hold.
        """

    def has(self, key: Key) -> bool:
        """Whether a tile is there."""

    def group(self, name: str) -> int:
        """How many tiles of a map one call computes at most."""

    def compute(self, keys: Sequence[Key]) -> bool:
        """Compute tiles, or read them where they are stored; whether the view may need others now."""

    def derive(self, view: Box) -> Any:
        """What follows from the tiles of a view as a whole, such as its objects; None if there is nothing new."""

    def close(self) -> None:
        """Write what is not yet written, and let go of the folder."""
