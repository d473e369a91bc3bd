"""A model's answers tile by tile, as Dask tasks: in the calling thread, or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import cached_property
from typing import Any

from dask.delayed import delayed

from napari_connecto.compute.lazy import Tiles
from napari_connecto.compute.parcel import Parcel
from napari_connecto.core.errors import ClusterError
from napari_connecto.core.predict import Blocks, OnBadChunk


class Answers:
    """Every output of a model in the tiles that are asked for; from any thread.

    Parameters
    ----------
    tiles
        Model and level.
    batch
        Tiles per forward pass; fewer are filled up to as many, so that bits do not depend on what else was asked for.
    on_bad
        What to do with chunks that cannot be read.
    client
        A ``distributed.Client`` that computes them; the model is sent to its workers once.
    """

    def __init__(self, tiles: Tiles, batch: int = 1, on_bad: OnBadChunk = "fail", client: Any = None) -> None:
        self.tiles, self.batch, self.on_bad, self._client = tiles, batch, on_bad, client

    def __call__(self, indices: Sequence[int]) -> list[Blocks | None]:
        """The blocks of these tiles, at most ``batch``; None for those that are skipped as damaged.

        Raises
        ------
        ChunkError, TooBigError
            See `read_tile`, and if not even one tile fits into memory.
        ClusterError
            If the workers, or the cluster, are lost.
        """
        if self._client is None:
            task = delayed(self.tiles.answers, pure=False, traverse=False)(list(indices), self.batch, self.on_bad)
            return list(task.compute(scheduler="synchronous"))
        future = self._client.submit(_answers, self._shared, list(indices), self.batch, self.on_bad, pure=False)
        try:
            return list(future.result())
        except (CancelledError, OSError, RuntimeError) as error:
            raise ClusterError(
                f"lost the workers of the cluster ({' '.join(str(error).split())}); check that it runs"
            ) from error

    @cached_property
    def _shared(self) -> Any:
        """The model on every worker."""
        return self._client.scatter(Parcel.pack(self.tiles), broadcast=True, hash=False)


def _answers(shared: Parcel[Tiles], indices: list[int], batch: int, on_bad: OnBadChunk) -> list[Blocks | None]:
    """On a worker."""
    return shared.open().answers(indices, batch, on_bad)
