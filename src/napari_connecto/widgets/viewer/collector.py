"""Short pauses of Python's garbage collector while docks are open.

A full collection searches every object of the process and stops all threads meanwhile: with torch, MONAI and napari
loaded, 770 000 objects and 0.4 s. Nearly all of them belong to modules, which are never garbage. So what has survived a
long collection is left out of the next ones, until a layer is removed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Hashable

LONG_S = 0.03
"""A full collection that takes longer is the last one to search what it has searched."""


class Collector:
    """One for the process, on while any dock is open.

    Does nothing where another program has frozen objects (``gc.freeze``). Objects that are left out and die are freed
    after `search_all`.
    """

    def __init__(self) -> None:
        self._docks: set[Hashable] = set()
        self._began = 0.0
        self._on = self._spare = False

    def open(self, dock: Hashable) -> None:
        """A dock opens."""
        self._docks.add(dock)
        if not self._on and not gc.get_freeze_count():
            self._on = True
            gc.callbacks.append(self._on_collection)
            gc.collect()  # 0.1 s; what is garbage now, such as a layer that was removed, would stay with the rest
            gc.freeze()

    def close(self, dock: Hashable) -> None:
        """A dock closes; after the last one Python collects as before."""
        self._docks.discard(dock)
        if self._on and not self._docks:
            self._on = False
            gc.callbacks.remove(self._on_collection)
            gc.unfreeze()

    def search_all(self) -> None:
        """Something is about to go: the next two full collections search everything.

        napari starts the first of them while it still holds the layer that it removes.
        """
        if self._on:
            self._spare = True
            gc.unfreeze()

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        """Called by Python, in any thread, before and after each collection."""
        if phase == "start":
            self._began = time.perf_counter()
        elif info["generation"] == 2 and self._spare:
            self._spare = False
        elif info["generation"] == 2 and time.perf_counter() - self._began > LONG_S:
            gc.freeze()


COLLECTOR = Collector()
