"""Run a model over tiles, locally or on a cluster, with the same results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from napari_connecto.compute.local import Pipeline
from napari_connecto.compute.options import ExecuteOptions, Meter
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import Blocks, check_channels
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

__all__ = ["ExecuteOptions", "Meter", "execute"]


@overload
def execute(
    level: Level,
    tiles: Iterable[Tile],
    predictor: Predictor,
    sink: None = None,
    *,
    options: ExecuteOptions = ...,
    client: Client | None = ...,
) -> Generator[tuple[Tile, Blocks], None, None]: ...
@overload
def execute(
    level: Level,
    tiles: Iterable[Tile],
    predictor: Predictor,
    sink: Callable[[Tile, Blocks], T],
    *,
    options: ExecuteOptions = ...,
    client: Client | None = ...,
) -> Generator[tuple[Tile, T], None, None]: ...
def execute(
    level: Level,
    tiles: Iterable[Tile],
    predictor: Predictor,
    sink: Callable[[Tile, Blocks], Any] | None = None,
    *,
    options: ExecuteOptions = ExecuteOptions(),  # noqa: B008 (frozen)
    client: Client | None = None,
) -> Generator[tuple[Tile, Any], None, None]:
    """Run a model over tiles; the one way in which every workflow does.

    Parameters
    ----------
    level
        Read chunk by chunk, each chunk once while the cache holds it. Picklable if a client is given.
    tiles
        Of a plan with the card's tile and halo, drawn as needed: a million of them cost nothing beforehand.
    predictor
        Called from ``calls`` threads at once if it has that attribute, else from one.
    sink
        Called with a tile and its blocks where the tile was computed, from any of two threads; what it returns comes
        back. Picklable if a client is given. Without it, the blocks come back.
    options
        See `ExecuteOptions`.
    client
        Runs the tiles on its workers.

    Yields
    ------
    tile, result
        In the order of ``tiles``; tiles skipped for bad chunks are left out. Closing the iterator (``.close()``, or
        leaving it) drops what has not begun and ends all threads; a forward pass under way is finished first.

    Raises
    ------
    ChunkError
        If a chunk cannot be read and ``options.on_bad`` is "fail".
    InputError
        If the level has other channels than the model takes.

    Notes
    -----
    Every forward pass has exactly ``batch`` tiles, so on CPUs the bits of a tile do not depend on the order, on which
    other tiles were asked for, on a resumption, or on where it ran; they may depend on ``batch``.
    """
    check_channels(level, predictor.card)
    if client is None:
        return Pipeline(level, predictor, sink, options).results(tiles)
    from napari_connecto.compute.cluster import run_on_cluster  # distributed costs 0.5 s: only who uses it pays

    return run_on_cluster(client, level, tiles, predictor, sink, options)
