"""Activations of a network at chosen pixels of an image, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Scaling
from napari_connecto.core.predict import read_tile
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.models.inspect.features import features_at
from napari_connecto.models.inspect.taps import Network


@dataclass(frozen=True)
class View:
    """An image as a network reads it.

    Parameters
    ----------
    level
        Of the network's voxel size; read tile by tile.
    scaling
        Of the whole volume's intensities.
    """

    level: Level
    scaling: Scaling

    def patch(self, tile: Tile) -> np.ndarray:
        """(c, z, y, x) float32 as a tile reads it."""
        block = read_tile(self.level, tile)
        assert block is not None  # only on_bad="skip" leaves tiles out
        return self.scaling(block)


@dataclass(frozen=True)
class Seen:
    """What a network shows at pixels.

    Parameters
    ----------
    activations
        (n, channels) float32 by stage.
    logits
        (n, outputs) float32.
    """

    activations: Mapping[str, np.ndarray]
    logits: np.ndarray


def stages_of(opened: Network, wanted: str) -> list[str]:
    """Stages to look at: those named, or all of encoder and decoder (a skip repeats its encoder stage).

    Raises
    ------
    InputError
        If the network has no stage of a name.
    """
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    odd = [name for name in names if name not in opened.taps]
    if odd:
        raise InputError(f"got stage '{odd[0]}'; '{opened.card.name}' has {', '.join(opened.taps)}")
    return names or [name for name, tap in opened.taps.items() if tap.kind != "skip"]


def touched(opened: Network, level: Level, at: np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
    """The tiles that own pixels (n, 3), each with the indices of its own."""
    plan = TilePlan(level.shape, opened.card.tile, opened.card.halo)
    cells = np.asarray(at) // np.array(plan.tile)
    index = np.ravel_multi_index(tuple(cells.T), plan.grid)
    order = np.argsort(index, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(index[order])) + 1):
        yield plan[int(index[mine[0]])], mine


def within(opened: Network, tile: Tile, at: np.ndarray) -> np.ndarray:
    """Pixels (n, 3) of the level in voxels of what the network answers to a tile."""
    return np.asarray(at) - np.array(tile.read.start) - np.array(opened.card.outputs[0].trimmed)


def seen_job(opened: Network, view: View, at: np.ndarray, stages: Sequence[str], name: str) -> Job[Seen]:
    """Run a network over the tiles that own pixels (n, 3); reports once a tile, under ``name``."""
    tiles = list(touched(opened, view.level, at))
    activations = {stage: np.empty((len(at), opened.taps[stage].channels), np.float32) for stage in stages}
    logits = np.empty((len(at), len(opened.card.outputs)), np.float32)
    for done, (tile, mine) in enumerate(tiles, 1):
        found, logits[mine] = features_at(opened, stages, view.patch(tile), within(opened, tile, at[mine]))
        for stage, values in found.items():
            activations[stage][mine] = values
        yield Progress(done, len(tiles), name)
    return Seen(activations, logits)
