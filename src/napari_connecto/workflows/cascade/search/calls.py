"""One call of a network for several chunks: larger tiles spend less on halo, and scores stay those of single chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import Output
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan


@dataclass(frozen=True, slots=True)
class Call(Tile):
    """A tile that covers a group of chunks, of which only ``chunks`` (their indices) are wanted."""

    chunks: tuple[int, ...] = ()


def grouped(plan: TilePlan, group: Vec3) -> TilePlan:
    """Tiles that each cover ``group`` tiles of ``plan`` along each axis."""
    return TilePlan(plan.shape, vec3([t * g for t, g in zip(plan.tile, group, strict=True)]), plan.halo)


def calls(plan: TilePlan, group: Vec3, chunks: np.ndarray) -> Iterator[Call]:
    """The calls that cover these chunks (n,), neighbours after each other."""
    wide = grouped(plan, group)
    chunks = np.sort(chunks)
    owner = np.ravel_multi_index(tuple((plan.cells(chunks) // group).T), wide.grid)
    order = np.argsort(owner, kind="stable")
    owners, first = np.unique(owner[order], return_index=True)
    wanted = dict(zip(owners.tolist(), np.split(chunks[order], first[1:]), strict=True)) if len(owners) else {}
    for tile in wide.tiles(wide.order(owners)):
        yield Call(tile.index, tile.write, tile.read, tuple(wanted[tile.index].tolist()))


@dataclass(frozen=True)
class EachChunk:
    """Sink: hands the wanted chunks of a call to another sink one by one; returns their indices and scores.

    Parameters
    ----------
    plan
        Of the chunks.
    output
        The output of the network that ``sink`` takes.
    sink
        Returns the score of a chunk.
    """

    plan: TilePlan
    output: Output
    sink: Callable[[Tile, Blocks], float]

    def __call__(self, tile: Tile, blocks: Blocks) -> list[tuple[int, float]]:
        block, name = blocks[self.output.name], self.output.name
        chunks = self.plan.tiles(tile.chunks if isinstance(tile, Call) else ())
        return [(chunk.index, self.sink(chunk, {name: self._part(block, tile, chunk)})) for chunk in chunks]

    def _part(self, block: np.ndarray, tile: Tile, chunk: Tile) -> np.ndarray:
        """What a chunk owns of a call's block, at the output's stride; as `napari_connecto.core.predict.owned` cuts."""
        slices = []
        for axis, (stride, trimmed) in enumerate(zip(self.output.stride, self.output.trimmed, strict=True)):
            origin = tile.read.start[axis] + trimmed
            first = (tile.write.start[axis] - origin) // stride
            start, stop = chunk.write.start[axis] - origin, chunk.write.stop[axis] - origin
            slices.append(slice(start // stride - first, -(-stop // stride) - first))
        return block[tuple(slices)]
