"""Clicks on the canvas that are no drags, so that dragging still pans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

STILL = 4.0
"""Largest movement of the mouse during a click, pixels."""


def still_clicks(act: Callable[[Any], Any]) -> Callable[[Any, Any], Iterator[None]]:
    """A mouse callback for napari that calls ``act`` with the event of each click of the left button."""

    def on_mouse(_viewer: Any, event: Any) -> Iterator[None]:
        """A press, moves and a release, as napari reports them."""
        if event.button != 1 or len(event.modifiers):
            return
        start = np.array(event.pos, float)
        yield
        while event.type == "mouse_move":
            yield
        if np.linalg.norm(np.array(event.pos, float) - start) <= STILL:
            act(event)

    return on_mouse
