"""Predictors, arrays and sinks whose every answer is known beforehand; importable on Dask workers."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

NM = (40.0, 4.0, 4.0)


def card_of(tile: Vec3, halo: Vec3, stride: Vec3 = (1, 1, 1), name: str = "value") -> ModelCard:
    return ModelCard("known", "test", NM, tile, halo, (Output(name, stride),))


class Identity:
    """Gives back what it gets."""

    calls = 2

    def __init__(self, tile: Vec3, halo: Vec3 = (0, 0, 0)) -> None:
        self.card = card_of(tile, halo)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        return {"value": batch[:, 0].copy()}


class LocalMean(Identity):
    """Mean over a box of radius ``halo`` around every voxel."""

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        size = [2 * h + 1 for h in self.card.halo]
        return {"value": np.stack([uniform_filter(b[0].astype(np.float64), size) for b in batch]).astype(np.float32)}


class BlockMax(Identity):
    """Largest value of every block of ``stride`` voxels."""

    def __init__(self, tile: Vec3, halo: Vec3, stride: Vec3) -> None:
        self.card = card_of(tile, halo, stride)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        (sz, sy, sx), (n, _, z, y, x) = self.card.outputs[0].stride, batch.shape
        return {"value": batch[:, 0].reshape(n, z // sz, sz, y // sy, sy, x // sx, sx).max((2, 4, 6))}


class Sleepy(Identity):
    """Takes its time, and counts the calls at once."""

    def __init__(self, tile: Vec3, seconds: float, calls: int = 2) -> None:
        super().__init__(tile)
        self.seconds, self.calls = seconds, calls
        self.now = self.most = self.total = 0
        self.lock = threading.Lock()

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        with self.lock:
            self.now, self.total = self.now + 1, self.total + 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return super().__call__(batch, seeds)


class Chunked:
    """An array in chunks that counts how often each is decoded; some may be broken, all may be slow."""

    def __init__(self, data: np.ndarray, chunk: Vec3, broken: Sequence[Vec3] = (), seconds: float = 0.0) -> None:
        self.data, self.chunks, self.broken, self.seconds = data, chunk, set(broken), seconds
        self.shape, self.dtype = data.shape, data.dtype
        self.decodes: Counter[Vec3] = Counter()

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        grid = [range(s.start // c, -(-s.stop // c)) for s, c in zip(index[-3:], self.chunks, strict=True)]
        for cell in np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 3).tolist():
            time.sleep(self.seconds)
            if tuple(cell) in self.broken:
                raise ChunkError(f"chunk {tuple(cell)} is damaged")
            self.decodes[tuple(cell)] += 1
        return self.data[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return Chunked, (self.data, self.chunks, tuple(self.broken), self.seconds)


def noise(shape: tuple[int, ...], dtype: str = "u1", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def level_of(data: Any) -> Level:
    return Level(data, NM)


def mean_of(tile: Tile, blocks: Blocks) -> float:
    """A sink: one number per tile."""
    return float(blocks["value"].astype(np.float64).mean())


class Touch:
    """A sink that leaves a mark per run of a tile; on tile ``fatal`` it ends its process, once."""

    def __init__(self, folder: Path, fatal: int = -1) -> None:
        self.folder, self.fatal = str(folder), fatal

    def __call__(self, tile: Tile, blocks: Blocks) -> int:
        folder = Path(self.folder)
        last_breath = folder / "killed"
        if tile.index == self.fatal and not last_breath.exists():
            last_breath.touch()
            os._exit(1)
        with (folder / f"tile_{tile.index}").open("a") as file:
            file.write("x")
        return tile.index
