"""Memory of this process, and the number of parallel forward passes that fits."""

from __future__ import annotations

import threading
from math import prod
from types import TracebackType

import psutil

from napari_connecto.core.model import DIRECTIONS, SECTIONS, ModelCard

EVERY_S = 0.002
FOLD = "fold"
"""Of a card's network: voxels per cell, (z, y, x)."""
CHANNELS = 10
"""Activations of a U-Net at full size, as a multiple of its first layer's channels: about 10 measured, 2-D and 3-D."""
COPIES = 3
"""Of a tile that is read by sections: what is read, scaled, and the answer."""
SHARE = 0.5
"""Share of the free memory for all forward passes together."""


def process_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """The highest resident memory of this process while the block is entered: ``peak_bytes``."""

    def __enter__(self) -> PeakMemory:
        self.peak_bytes = process_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_bytes = max(self.peak_bytes, int(process.memory_info().rss))
            if self._stop.wait(EVERY_S):
                return


def pass_bytes(card: ModelCard, batch: int) -> int:
    """Approximate memory of one forward pass over this many tiles, float32."""
    width = card.network.get("width", 16)
    read = prod(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    layers = CHANNELS * (width if isinstance(width, int) else 16)
    if FOLD in card.network:  # its layers compute on cells of voxels; only its answers have all of them
        layers = -(-layers // prod(card.network[FOLD])) + COPIES * len(card.outputs)
    if DIRECTIONS in card.network:  # the network has a few sections at a time
        sections = SECTIONS * read // (card.tile[0] + 2 * card.halo[0])
        return batch * (read * COPIES + sections * layers) * 4
    return batch * read * 4 * layers


def affordable(card: ModelCard, batch: int, calls: int) -> int:
    """How many of these calls fit into memory at once; at least 1."""
    return max(1, min(calls, int(SHARE * psutil.virtual_memory().available) // max(1, pass_bytes(card, batch))))
