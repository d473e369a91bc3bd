"""Open zarr arrays read-only from any location, and name the damaged chunk when reading fails."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.errors import NodeNotFoundError
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

from napari_connecto.core.documents import check_plain
from napari_connecto.core.errors import ChunkError, InputError, out_of_memory
from napari_connecto.io.files import is_url, stat_text
from napari_connecto.io.limits.damage import ADVICE, cells, damaged, header_errors, read_errors
from napari_connecto.io.limits.zarr_limits import limited
from napari_connecto.io.volumes.patient_store import http_store


def open_store(path: str, *, read_only: bool = True) -> Store:
    """The zarr store at a local path or fsspec URL.

    Raises
    ------
    InputError
        If the URL's protocol is unknown or needs a package that is not installed.
    """
    if not is_url(path):
        return LocalStore(Path(path), read_only=read_only)
    try:
        if read_only and path.startswith(("http://", "https://")):
            return http_store(path)
        return FsspecStore.from_url(path, read_only=read_only)
    except (ValueError, ImportError) as error:
        raise InputError(f"cannot open '{path}': {error}; for s3:// install napari-connecto[s3]") from error


def open_node(path: str, inner: str = "") -> zarr.Group | zarr.Array:
    """The zarr group or array at ``path`` (and below it at ``inner``), read-only.

    Raises
    ------
    InputError
        If there is none, its metadata are damaged or declare what is beyond reason, or it cannot be reached.
    """
    shown = f"{path.rstrip('/')}/{inner}" if inner else path
    try:
        with warnings.catch_warnings():
            # written by bioformats2raw and harmless
            warnings.filterwarnings("ignore", message="Found an empty list of filters")
            node = zarr.open(open_store(path), path=inner, mode="r")
            check_plain(node.attrs.asdict(), f"the attributes of '{shown}'")
            return limited(node, shown) if isinstance(node, zarr.Array) else node
    except InputError:
        raise
    except (NodeNotFoundError, FileNotFoundError) as error:
        raise InputError(f"no zarr group or array at '{shown}'; check the path (and array=, --array NAME)") from error
    except header_errors() as error:
        if out_of_memory(error) and not isinstance(error, MemoryError):  # that one may be a shape beyond reason
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot open '{shown}' as zarr: {reason}; check that it is complete and reachable") from error


def above(path: str, inner: str | None) -> list[tuple[str, str, str]]:
    """Groups that may hold a node: path and inner path of each, nearest first, and what they call the node."""
    parts = [part for part in (inner or "").split("/") if part]
    if parts:
        return [(path, "/".join(parts[:k]), "/".join(parts[k:])) for k in reversed(range(len(parts)))]
    if not is_url(path):
        return [(str(Path(path).parent), "", Path(path).name)]
    parent, _, name = path.rstrip("/").rpartition("/")
    return [(parent, "", name)] if name and is_url(f"{parent}/") and not parent.endswith(":/") else []


@dataclass(frozen=True)
class ZarrSource:
    """A zarr array as a `views.Source`.

    Parameters
    ----------
    array
        Opened read-only.
    label
        How messages name it.
    missing
        "fill" takes a chunk that is not stored for its fill value (legal, and usual in sparse stores); "error" raises.
    advice
        What to do about a damaged chunk.
    """

    array: zarr.Array
    label: str
    missing: str = "fill"
    advice: str = ADVICE

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the stored axes."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of one voxel."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of what is decoded at once (inside a shard, where there are shards)."""
        return tuple(self.array.chunks)

    @property
    def remote(self) -> bool:
        """Whether each read waits for a network."""
        return not any(isinstance(store, LocalStore | MemoryStore) for store in _layers(self.array.store))

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels; `ChunkError` names the first chunk that is damaged (or missing, if asked for)."""
        if self.missing == "error":
            self._check_present(index)
        try:
            return self.read_raw(index)
        except read_errors() as error:
            raise damaged(self, index, error, self._key, self.advice) from error

    def _check_present(self, index: tuple[slice, ...]) -> None:
        stored = self.array.shards or self.array.chunks
        for box in cells(index, stored, self.shape):
            key = self._file(tuple(part.start for part in box))
            if not sync(self.array.store.exists(f"{self.array.path}/{key}".lstrip("/"))):
                raise ChunkError(f"chunk {key} of {self.label} is missing; {self.advice}")

    def read_raw(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels, with the errors of zarr and its codecs."""
        return np.asarray(self.array[index])

    def _key(self, start: tuple[int, ...]) -> str:
        """Name of the file a chunk lies in, with its place inside where that is a shard."""
        if self.array.shards is None:
            return f"'{self._file(start)}'"
        inside = [
            a % shard // chunk for a, shard, chunk in zip(start, self.array.shards, self.array.chunks, strict=True)
        ]
        return f"{tuple(inside)} in shard '{self._file(start)}'"

    def _file(self, start: tuple[int, ...]) -> str:
        stored = self.array.shards or self.array.chunks
        return self.array.metadata.encode_chunk_key(tuple(a // n for a, n in zip(start, stored, strict=True)))


def _layers(store: Store) -> Iterator[Store]:
    """A store and those it wraps."""
    yield store
    while isinstance(store, WrapperStore):
        store = store._store
        yield store


def store_revision(path: str, arrays: Sequence[zarr.Array], attributes: Mapping[str, Any], samples: int = 32) -> str:
    """The metadata documents; for a local store also size and time of change of some of its files.

    Per level the array's own document and ``samples`` chunks spread over it are looked at: a store that was written
    again is noticed for certain, a few changed chunks of many are not.
    """
    documents = [json.dumps(attributes, sort_keys=True, default=str)]
    for array in arrays:
        documents.append(json.dumps(array.metadata.to_dict(), sort_keys=True, default=str))
        if is_url(path):
            continue
        folder = Path(path) / array.path
        stored = array.shards or array.chunks
        grid = [math.ceil(n / c) for n, c in zip(array.shape, stored, strict=True)]
        count = math.prod(grid)
        for i in sorted({count * k // samples for k in range(samples)} | {count - 1}):
            at = []
            for n in reversed(grid):
                i, rest = divmod(i, n)
                at.append(rest)
            documents.append(stat_text(folder / array.metadata.encode_chunk_key(tuple(reversed(at)))))
        documents += [stat_text(folder / name) for name in (".zarray", "zarr.json")]
    return "\n".join(documents)
