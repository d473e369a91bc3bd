"""Options of running tiles, and counters of the cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import DIRECTIONS, ModelCard, Scaling
from napari_connecto.core.predict import OnBadChunk

BIG = 2**20
"""Voxels read of a big tile."""


@dataclass
class Meter:
    """Counters of a run; may be read while it runs.

    ``read_s`` and ``model_s`` add up over threads, so their sum may exceed the time that passed.
    ``bytes_read`` and ``chunks_read`` count what was decoded, uncompressed.
    """

    tiles: int = 0
    bytes_read: int = 0
    chunks_read: int = 0
    read_s: float = 0.0
    model_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **amounts: float) -> None:
        """Add to the counts of these names."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def counts(self) -> dict[str, float]:
        """All of them, JSON."""
        names = ("tiles", "bytes_read", "chunks_read", "read_s", "model_s")
        with self._lock:
            return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class ExecuteOptions:
    """How to run tiles; the defaults suit most.

    Parameters
    ----------
    scaling
        From ``card.normalisation.resolve(volume)``.
    batch
        Tiles per forward pass; None takes `default_batch`. Bits of the answer may depend on it (not on anything else
        here): a job that is resumed must keep it.
    on_bad
        What to do with chunks that cannot be read.
    readers
        Threads that read ahead; None takes 2, or 8 where the level is ``remote``, for they mostly wait.
    calls
        Forward passes at once, fewer where memory is short; None asks the predictor (its ``calls``), else 1. On a
        cluster: per task, default 1.
    cache_bytes
        Decoded chunks kept in memory.
    tiles_per_task
        On a cluster: what is lost at most when a worker dies.
    meter
        Counts what the run takes, where given.
    """

    scaling: Scaling = field(default_factory=Scaling)
    batch: int | None = None
    on_bad: OnBadChunk = "fail"
    readers: int | None = None
    calls: int | None = None
    cache_bytes: int = 2**29
    tiles_per_task: int = 8
    meter: Meter | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "readers", "calls", "tiles_per_task"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"got {name}={value}; it must be at least 1")
        if self.on_bad not in ("fail", "fill", "skip"):
            raise InputError(f"got on_bad={self.on_bad!r}; allowed: fail, fill, skip")


def default_batch(card: ModelCard) -> int:
    """What measured best on CPUs: 1 for flat tiles, for tiles that are read by sections and for big ones, else 4.

    Of big tiles (of 136^3 voxels read, the U-Net of 16 channels), a batch of 2 is as fast as one of 1 and takes twice
    the memory.
    """
    z, y, x = (t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    if card.tile[0] == 1 or DIRECTIONS in card.network:
        return 1
    return 1 if z * y * x > BIG else 4
