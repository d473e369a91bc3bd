"""The open patch of the step "Annotate": its layers, its draft, and its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets.adapt.annotate.patch import PatchLayers
from napari_connecto.widgets.adapt.annotate.session_jobs import Work, commit_job, open_patch_job
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.shared.worker import Worker

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.session import Draft, PatchState


WRITTEN_S = 10.0
"""How long closing the dock waits for a commit in progress."""


class Desk(QObject):
    """One open patch, or none.

    ``changed`` is emitted when a patch is opened or closed; ``failed(error, traceback text)`` when it cannot be opened
    or
    committed; ``committed(state)`` when its labels are on disk; ``unedited()`` when they are the unchanged pre-fill,
    which
    must be accepted first. The keys work while a patch is open.
    """

    changed = Signal()
    failed = Signal(object, str)
    committed = Signal(object)
    unedited = Signal()

    def __init__(self, project: Project, widget: QWidget, actions: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(widget)
        self.project = project
        self.patch: PatchLayers | None = None
        self.opened: PatchState | None = None
        self.keys, self._actions = Keys(widget), dict(actions)
        self._opener = Worker("opening a patch", self, quiet=True)
        self._opener.returned.connect(self._on_opened)
        self._opener.failed.connect(self.failed)
        self._committer = Worker("committing", self, quiet=True)
        self._committer.returned.connect(self._on_committed)
        self._committer.failed.connect(self._on_not_committed)
        project.viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def busy(self) -> bool:
        """Whether a patch is being opened or committed."""
        return self._opener.state.busy or self._committer.state.busy

    def open(self, work: Work, id: int, prefill: str) -> None:
        """Open a patch of a session; the previous one is closed, its draft is on disk."""
        self._opener.start(lambda: open_patch_job(work, id, prefill))

    def commit(self, work: Work, *, accept: bool) -> None:
        """Write the open patch's labels in a thread; painting is disabled meanwhile.

        ``accept``: also write an unchanged pre-fill; otherwise `unedited` is emitted and nothing is written.
        """
        if self.opened is None or self.patch is None or self.busy:
            return
        id, labels = self.opened.id, self.patch.replaced
        self.patch.lock(True)
        self.project.committing = True
        self._committer.start(lambda: commit_job(work, id, labels, accept))

    def close(self) -> None:
        """Remove the patch from the viewer and release the keys."""
        self.keys.release()
        if self.patch is not None:
            self.patch.close()
        self.opened = None
        self.changed.emit()

    def close_jobs(self) -> None:
        """Stop opening patches and following the viewer."""
        self._opener.close()
        self._committer.close(wait_s=WRITTEN_S)
        self.keys.release()
        self.project.viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _on_opened(self, found: tuple[PatchState, Draft]) -> None:
        state, draft = found
        self.keys.release()
        try:
            canvas = self.project.canvas()
        except ConnectoError as error:
            self.failed.emit(error, "")
            return
        self.opened = None  # so that removing the last labels layer is not taken for the user's doing
        if self.patch is None or self.patch.canvas.image is not canvas.image:
            if self.patch is not None:
                self.patch.close()
            self.patch = PatchLayers(canvas)
        labels = self.patch.show(state.id, draft)
        self.opened = state
        self.keys.bind((self.project.viewer, labels), self._actions)
        self.changed.emit()

    def _on_committed(self, state: PatchState | None) -> None:
        self._unlock()
        if state is None:
            self.unedited.emit()
        else:
            self.committed.emit(state)

    def _on_not_committed(self, error: Exception, text: str) -> None:
        self._unlock()
        self.failed.emit(error, text)

    def _unlock(self) -> None:
        self.project.committing = False
        if self.patch is not None:
            self.patch.lock(False)

    def _on_layer_removed(self, _event: Any) -> None:
        """The user removed the labels layer: the draft is on disk; release the keys."""
        if self.opened is not None and self.patch is not None and not self.patch.alive:
            self.keys.release()
            self.opened = None
            self.changed.emit()
