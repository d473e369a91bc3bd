"""Finished tiles as OME-Zarr images: each whole or absent, resumable, viewable while they fill."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike
from zarr.storage import LocalStore

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Kind, Level, Volume
from napari_connecto.io.disk import read_json, storing, write_json
from napari_connecto.io.stores.chunk_files import ChunkFiles
from napari_connecto.io.stores.journal import Journal
from napari_connecto.io.volumes.ngff import Image, create_group, create_level, finish_group
from napari_connecto.io.volumes.pyramid import Grid, downsample, halving
from napari_connecto.io.volumes.views import view
from napari_connecto.io.volumes.zarr_arrays import ZarrSource, open_node

_DESCRIPTION, _JOURNAL = "tiles.json", "tiles.journal"


@dataclass(frozen=True)
class TileStore:
    """A `core.predict.TileCache` on a local disk; made by `TileStore.open`.

    Each tile owns whole chunks on every level (a chunk of level k is a tile downsampled to level k), so any number of
    processes may write different tiles at once. Chunks are written to a temporary file and renamed (`ChunkFiles`),
    and a tile counts as done only when the journal says so, after its last chunk: killed at any moment, a tile is done
    or will be made again.

    Pickled, it is a path and a description; workers call `write_blocks`, the one client calls `mark`.
    """

    path: Path
    grids: tuple[Grid, ...]
    tile: Vec3
    outputs: Mapping[str, np.dtype]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        level: Level,
        tile: Vec3,
        outputs: Mapping[str, DTypeLike],
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> TileStore:
        """Make the store, or come back to it.

        Parameters
        ----------
        path
            A folder; the images are ``path/<output>.zarr``.
        level
            Gives the shape and place of the outputs (not their values).
        tile
            What a tile owns, voxels; the plan's.
        outputs
            Type of each. Integers wider than 8 bits are labels (coarser levels by mode), others images (by mean);
            float blocks written to uint8 become ``round(255 * block)``.
        metadata
            Kept in the volumes' metadata.

        Raises
        ------
        StoreError
            If what is there has another shape, tile or outputs, or cannot be written.
        """
        path, tile = Path(path).absolute(), vec3(tile)
        types = {name: np.dtype(dtype) for name, dtype in outputs.items()}
        store = cls(path, tuple(_live_grids(level, tile)), tile, types, dict(metadata or {}))
        described = store._describe()
        with storing(path):
            if (path / _DESCRIPTION).exists():
                _refuse_other(path, described)
            else:
                _refuse_foreign(path, types)
                path.mkdir(parents=True, exist_ok=True)
                write_json(path / _DESCRIPTION, described)
            for name in types:
                if not store._image_path(name).exists():
                    store._create(name)
        return store

    def write_blocks(self, tile: Tile, blocks: Blocks) -> None:
        """Write a tile's voxels on all levels; it is not done until it is marked. Any process.

        Parameters
        ----------
        tile
            Of `plan`.
        blocks
            Per output (z, y, x) of ``tile.write``'s shape; outputs that the store does not keep are left out.
        """
        index = vec3([a // t for a, t in zip(tile.write.start, self.tile, strict=True)])
        for name, dtype in self.outputs.items():
            block = np.asarray(blocks[name])
            if block.shape != tile.write.shape:
                raise InputError(f"got '{name}' of shape {block.shape} for a tile of {tile.write.shape}; stride 1 only")
            block = _convert(block, dtype)
            with storing(self.path):
                for grid, files in zip(self.grids, self._files[name], strict=True):
                    block = downsample(block, grid.factor, _kind(dtype))
                    files.write(index, block)

    def mark(self, indices: ArrayLike) -> None:
        """Say that these tiles are done. One process only, after `write_blocks` returned for all of them."""
        values = np.atleast_1d(np.asarray(indices, np.int64))
        if len(values):
            self._journal.append(values)

    def write(self, tile: Tile, blocks: Blocks) -> None:
        """`write_blocks`, then `mark`."""
        self.write_blocks(tile, blocks)
        self.mark(tile.index)

    def done(self) -> np.ndarray:
        """Indices of finished tiles, ascending, each once."""
        return np.unique(Journal(self.path / _JOURNAL, np.int64).records())

    @staticmethod
    def holds_tiles(path: str | os.PathLike[str]) -> bool:
        """Whether a tile of the store in a folder is finished; False where there is no store."""
        return bool(len(Journal(Path(path) / _JOURNAL, np.int64).records()))

    def missing(self, indices: Iterable[int] | None = None) -> np.ndarray:
        """Which of ``indices`` (all tiles of the plan by default) are not done, in their order."""
        wanted = np.arange(len(self.plan)) if indices is None else np.fromiter(indices, np.int64)
        return wanted[~np.isin(wanted, self.done())]

    @property
    def plan(self) -> TilePlan:
        """The tiles, without halo."""
        return TilePlan(self.grids[0].shape, self.tile)

    def volume(self, name: str) -> Volume:
        """The live image of one output, read-only, that shows each tile as soon as it is written.

        A chunk that was damaged since is a `ChunkError` that names it.
        """
        if name not in self.outputs:
            raise InputError(f"got output '{name}'; the store keeps {sorted(self.outputs)}")
        path = self._image_path(name)
        shown = [
            view(ZarrSource(array, f"level {k} of '{path}'", advice="run again into a new folder"), "zyx")
            for k, array in enumerate(self._arrays(name))
        ]
        levels = (Level(array, g.voxel_nm, g.origin_nm) for array, g in zip(shown, self.grids, strict=True))
        return Volume(
            tuple(levels),
            name=name,
            kind=_kind(self.outputs[name]),
            source=str(path),
            metadata=dict(self.metadata),
        )

    def __getstate__(self) -> dict[str, Any]:
        fields = ("path", "grids", "tile", "outputs", "metadata")
        return {name: getattr(self, name) for name in fields}

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self.path / _JOURNAL, np.int64)

    @cached_property
    def _files(self) -> dict[str, list[ChunkFiles]]:
        found = {}
        for name in self.outputs:
            path = self._image_path(name)
            found[name] = [ChunkFiles(path / str(k), array) for k, array in enumerate(self._arrays(name))]
        return found

    def _arrays(self, name: str) -> list[zarr.Array]:
        """The levels of an output, read-only; `StoreError` if they are not what was made."""
        path, found, chunk = self._image_path(name), [], self.tile
        for k, grid in enumerate(self.grids):
            try:
                array = open_node(str(path), str(k))
            except InputError as error:
                raise StoreError(f"{error}; workers must see the result folder too, else choose a new one") from error
            chunk = vec3([c // f for c, f in zip(chunk, grid.factor, strict=True)])
            expected = (grid.shape, chunk, self.outputs[name])
            if not isinstance(array, zarr.Array) or (array.shape, array.chunks, array.dtype) != expected:
                raise StoreError(f"'{path}/{k}' is damaged: it is not the array that was made; choose a new folder")
            found.append(array)
        return found

    def _image_path(self, name: str) -> Path:
        return self.path / f"{name}.zarr"

    def _create(self, name: str) -> None:
        """Under a hidden name first, so that an image is there with all levels or not at all."""
        dtype, partial = self.outputs[name], self.path / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        image, store, chunk = Image(name, self.grids, dtype, kind=_kind(dtype)), LocalStore(partial), self.tile
        create_group(store, image)
        for k, grid in enumerate(self.grids):
            chunk = vec3([c // f for c, f in zip(chunk, grid.factor, strict=True)])
            create_level(store, image, k, chunk)
        finish_group(store, image)
        partial.rename(self._image_path(name))

    def _describe(self) -> dict[str, Any]:
        first = self.grids[0]
        return {
            "shape": list(first.shape),
            "voxel size": list(first.voxel_nm),
            "place": list(first.origin_nm),
            "tile": list(self.tile),
            "outputs": {name: str(dtype) for name, dtype in self.outputs.items()},
        }


def _kind(dtype: np.dtype) -> Kind:
    return "labels" if dtype.kind in "iu" and dtype.itemsize > 1 else "image"


def _convert(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if block.dtype.kind == "f" and dtype == np.uint8:
        return np.rint(np.clip(block, 0.0, 1.0) * 255).astype(np.uint8)
    return block.astype(dtype, copy=False)


def _live_grids(level: Level, tile: Vec3, until: int = 64, smallest: int = 8) -> list[Grid]:
    """Levels on which a tile owns whole chunks of at least ``smallest`` voxels along each halved axis."""
    found, chunk = [Grid(level.shape, level.voxel_nm, level.origin_nm)], tile
    while max(found[-1].shape) > until:
        factor = halving(found[-1].shape, found[-1].voxel_nm)
        if any(f > 1 and (c % f or c // f < smallest) for c, f in zip(chunk, factor, strict=True)):
            break
        chunk = vec3([c // f for c, f in zip(chunk, factor, strict=True)])
        found.append(found[-1].coarser(factor))
    return found


def _refuse_other(path: Path, described: Mapping[str, Any]) -> None:
    stored = read_json(path / _DESCRIPTION)
    different = [k for k in described if not isinstance(stored, dict) or stored.get(k) != described[k]]
    if different:
        raise StoreError(f"'{path}' holds tiles of another {' and '.join(different)}; choose another folder")


def _refuse_foreign(path: Path, outputs: Iterable[str]) -> None:
    if path.exists() and not path.is_dir():
        raise StoreError(f"'{path}' is a file; choose a new folder")
    for name in outputs:
        if (path / f"{name}.zarr").exists():
            raise StoreError(f"'{path / name}.zarr' exists and is not part of a tile store; choose a new folder")
