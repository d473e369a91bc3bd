"""The image a job runs on, shown while the job runs even if another layer is chosen or the layer is deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal


@dataclass(frozen=True)
class Subject:
    """Image and result folder of a running job; the folder is None if the job keeps nothing."""

    layer: Layer
    out: Path | None = None

    @property
    def name(self) -> str:
        """Its name in the layer list."""
        return str(self.layer.name)


class Choice(QObject):
    """The chosen layer, and whether layers still exist. ``changed`` is emitted when either changes.

    Each dock has one; all its job bars and cards refer to it, so that they name the same image.
    """

    changed = Signal()

    def __init__(self, viewer: Any, chosen: Callable[[], Layer | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._chosen = viewer, chosen
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Layer | None:
        """The chosen one."""
        return self._chosen()

    def has(self, layer: Layer) -> bool:
        """Whether a layer is still in the viewer."""
        return layer in self._viewer.layers

    def release(self) -> None:
        """Stop following the layer list."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_removed(self, _event: Any) -> None:
        self.changed.emit()


def subject_line(subject: Subject | None, choice: Choice | None, busy: bool) -> str:
    """One line about the image of a job; "" if there is nothing to say."""
    if subject is None or choice is None:
        return ""
    if not choice.has(subject.layer):
        after = "the job continues until it ends or is cancelled" if busy else "its result is saved"
        kept = f" in {subject.out}" if subject.out is not None and not busy else ""
        return f"Image: '{subject.name}'. Its layer was deleted; {after}{kept}."
    other = choice.layer
    if other is not None and other is not subject.layer:
        return f"Image: '{subject.name}', not the chosen layer '{other.name}'."
    return f"Image: '{subject.name}'." if busy else ""


def stopped_line(what: str, subject: Subject, resumable: bool, run_text: str) -> str:
    """Notice about a job that ended because its dock was closed."""
    stopped = f"The dock was closed: the job '{what}' on '{subject.name}' was stopped."
    if not resumable:
        return f"{stopped} Nothing was saved."
    kept = f" in {subject.out}" if subject.out is not None else ""
    return f"{stopped} Finished parts are saved{kept}. Open the dock again and press '{run_text}' to resume."
