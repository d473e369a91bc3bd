"""Saving the verdicts of the running review: read once when a search begins, written at every change."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QCoreApplication, QObject, Signal

from napari_connecto.core.errors import ConnectoError, StoreError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.workflows.cascade.verdicts import Verdicts, read_verdicts, write_verdicts

MEANWHILE = "until then verdicts are only in memory: export before you close napari"


class Keeper(QObject):
    """Saves the verdicts of a search in its result folder, off the GUI thread.

    One job at a time: changes made meanwhile are written next, so a burst of verdicts ends in the latest state. A file
    that cannot be read is never overwritten; reading is tried again at the next verdict. Signals: ``found(Verdicts)``
    with the stored verdicts, ``failed(error, traceback text)`` once, until a write succeeds again.
    """

    found = Signal(object)
    failed = Signal(object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self._worker = Worker("review", self, quiet=True)
        self._worker.returned.connect(self._on_returned)
        self._worker.failed.connect(self._on_failed)
        self._read = self._told = False
        self._latest = self._tried = self._written = Verdicts.none()
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)

    def open(self, folder: Path) -> None:
        """Use this folder from now on; read its verdicts first."""
        self.close()
        self.folder = folder
        self._read = self._told = False
        self._latest = self._tried = self._written = Verdicts.none()
        self._start()

    def keep(self, verdicts: Verdicts) -> None:
        """Save these verdicts."""
        self._latest = verdicts
        if not self._worker.state.busy:
            self._start()

    def close(self) -> None:
        """Wait briefly for pending writes."""
        self._worker.close()
        if not self._read and self._latest is not self._written and self.folder is not None:
            with suppress(ConnectoError):  # already shown, or a file that must not be overwritten
                held = read_verdicts(self.folder)
                self._read = True
                self.found.emit(held)
        if self._read and self._latest is not self._written:
            self._start()
            self._worker.close()
            self._written = self._tried

    def _start(self) -> None:
        folder, verdicts = self.folder, self._latest
        assert folder is not None  # no review exists before a search
        self._tried = verdicts
        self._worker.start((lambda: _write_job(folder, verdicts)) if self._read else (lambda: _read_job(folder)))

    def _on_returned(self, result: Verdicts | None) -> None:
        self._told = False
        if result is None:
            self._written = self._tried
        else:
            self._read = True
            self.found.emit(result)
        if self._latest is not self._written and not self._worker.state.busy:
            self._start()

    def _on_failed(self, error: BaseException, text: str) -> None:
        if not self._told:
            told = StoreError(f"{error}; {MEANWHILE}") if isinstance(error, ConnectoError) else error
            self.failed.emit(told, text)
        self._told = True
        if self._latest is not self._tried:
            self._start()


def _read_job(folder: Path) -> Job[Verdicts]:
    yield Progress(0, 1, "reading verdicts")
    return read_verdicts(folder)


def _write_job(folder: Path, verdicts: Verdicts) -> Job[None]:
    """Written before the first report, so that closing the dock does not stop it."""
    write_verdicts(folder, verdicts)
    yield Progress(1, 1, "writing verdicts")
