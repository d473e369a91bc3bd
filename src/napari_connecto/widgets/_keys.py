"""Keys that a dock borrows from the viewer and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Keys:
    """Bindings on the viewer and on layers, whose own keys would come first while they are active."""

    def __init__(self) -> None:
        self._bound: list[tuple[Any, str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._bound)

    def bind(self, targets: Sequence[Any], keys: Mapping[str, Callable[[], Any]]) -> None:
        """Make each key of each target call its function."""
        for target in targets:
            for key, act in keys.items():
                before = target.bind_key(key, lambda _, act=act: act(), overwrite=True)
                self._bound.append((target, key, before))

    def release(self) -> None:
        """Give them back to whoever had them."""
        for target, key, before in self._bound:
            target.bind_key(key, None)
            if before is not None:
                target.bind_key(key, before, overwrite=True)
        self._bound.clear()
