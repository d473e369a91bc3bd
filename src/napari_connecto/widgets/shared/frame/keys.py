"""Keys that a dock takes over from the viewer and releases again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.viewer.view import RESULT

_ALL: WeakSet[Keys] = WeakSet()


class Keys:
    """Keys that work with the focus on the canvas and anywhere in the dock of ``widget``.

    napari asks the active layer before the viewer, and lists and combo boxes use letters for searching. So a key is
    bound
    to the viewer, to the given layers, and to whichever image or result layer is active; in the dock it is a shortcut.
    Layers that the user edits keep their own keys. `release` restores the previous bindings, in whatever order docks
    release them.
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        self._bound: list[tuple[Any, str, Any, Any]] = []
        self._keys: dict[str, Callable[[Any], Any]] = {}
        self._shortcuts: list[QShortcut] = []
        self._viewer: Any = None
        _ALL.add(self)

    def __bool__(self) -> bool:
        return bool(self._bound)

    def bind(self, targets: Sequence[Any], keys: Mapping[str, Callable[[], Any]]) -> None:
        """Make each key call its function; ``targets`` are the viewer and the layers whose own keys are replaced."""
        self.release()
        self._viewer, self._keys = targets[0], {key: _ignoring(act) for key, act in keys.items()}
        for target in targets:
            self._bind(target)
        dock = _dock_of(self._widget)
        for key, act in keys.items():
            shortcut = QShortcut(QKeySequence(key), dock)
            shortcut.setAutoRepeat(False)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
            self._shortcuts.append(shortcut)
        self._viewer.layers.selection.events.active.connect(self._on_active)
        self._on_active()

    def release(self) -> None:
        """Restore the previous bindings."""
        if self._viewer is not None:
            self._viewer.layers.selection.events.active.disconnect(self._on_active)
            self._viewer = None
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
        for target, key, act, before in self._bound:
            now = target.bind_key(key, None)
            if now is not act:
                _hand_down(target, key, act, before)
            back = before if now is act else now
            if back is not None:
                target.bind_key(key, back, overwrite=True)
        self._bound.clear()

    def _bind(self, target: Any) -> None:
        for key, act in self._keys.items():
            before = target.bind_key(key, act, overwrite=True)
            self._bound.append((target, key, act, before))

    def _on_active(self, _event: Any = None) -> None:
        layer = self._viewer.layers.selection.active
        if layer is None or any(target == layer for target, *_ in self._bound):
            return
        if isinstance(layer, Image) or RESULT in layer.metadata:
            self._bind(layer)


def _ignoring(act: Callable[[], Any]) -> Callable[[Any], None]:
    def press(_target: Any) -> None:
        act()

    return press


def _hand_down(target: Any, key: str, act: Any, before: Any) -> None:
    """Another dock has bound a key over ``act``: let it restore what was bound before ``act``."""
    for keys in _ALL:
        keys._bound = [(t, k, a, before if t == target and k == key and b is act else b) for t, k, a, b in keys._bound]


def _dock_of(widget: QWidget) -> QWidget:
    found: Any = widget
    while found is not None and not isinstance(found, Dock):
        found = found.parentWidget()
    return found if found is not None else widget
