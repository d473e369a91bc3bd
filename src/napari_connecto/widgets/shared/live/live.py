"""The button *Live*, and what it switches on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QPushButton

from napari_connecto.compute.live.job import Asked
from napari_connecto.compute.live.mosaic import Blocks
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.live.layers import LiveLayers
from napari_connecto.widgets.shared.live.line import LiveLine
from napari_connecto.widgets.shared.live.request import Request
from napari_connecto.widgets.shared.worker import State, Worker
from napari_connecto.widgets.viewer.view import view_box

if TYPE_CHECKING:
    from napari_connecto.compute.live.job import Seen

MOVED_MS = 50
"""How often a view that moves is asked for."""
CHANGED_MS = 200
"""How long the choices in a dock must rest before Live follows them."""
KEY = "l"
OPEN_IMAGE = "open an image"
ABOUT = (
    "Compute what is on screen while you move, from the middle outwards. What is computed is kept: coming back costs "
    "nothing. Key: L"
)


class LiveButton(QPushButton):
    """Switches a live view on and off. It goes off by itself when a job starts, when its image or one of its layers is
    removed, and when something fails, which is shown once. ``closed`` is emitted when it is switched off for good.
    It is grey, with the reason in its tooltip, while a job runs or a choice is missing.

    Parameters
    ----------
    viewer
        Whose view is followed.
    bar
        The button is put there, and errors and counts are shown there.
    jobs
        Bars of the jobs that switch it off.
    make
        What is asked for, as set in the dock; raises `ConnectoError` if a choice is missing.
    changes
        Signals of the dock after which something else may be asked for.
    missing
        What must be chosen first, as a request; "" if nothing is.
    """

    closed = Signal()

    def __init__(
        self,
        viewer: Any,
        bar: JobBar | LiveLine,
        jobs: Sequence[JobBar],
        make: Callable[[], Request],
        changes: Sequence[Any],
        missing: Callable[[], str],
    ) -> None:
        super().__init__("Live (L)")
        self.setCheckable(True)
        self._viewer, self._bar, self._jobs, self._make, self._missing = viewer, bar, jobs, make, missing
        self._blocks, self._asked = Blocks(), Asked()
        self._fresh = self._waiting = self._following = self._replacing = False
        self.layers: LiveLayers | None = None
        self.complete = False
        """Whether everything that is in view now is there."""
        self.worker = Worker("live", self, quiet=True)
        self._moved, self._changed = _timer(self, MOVED_MS, self._look), _timer(self, CHANGED_MS, self._restart)
        self._keys = Keys(self)
        bar.add_toggle(self)
        self.toggled.connect(self._on_toggled)
        self.worker.reported.connect(self._on_reported)
        self.worker.failed.connect(self._on_failed)
        for job in jobs:
            job.worker.state_changed.connect(self._on_job)
        for signal in changes:
            signal.connect(self._on_changed)
        self._show_enabled()

    def bind(self) -> None:
        """Take the key; the button must be in its dock."""
        self._keys.bind((self._viewer,), {KEY: self._on_key})

    def close_jobs(self) -> None:
        """Switch off for good, and release the key."""
        self._keys.release()
        self._off()
        self.worker.close(wait_s=0.1)
        self.closed.emit()

    def _on_key(self) -> None:
        if self.isEnabled():
            self.toggle()

    def _on_toggled(self, on: bool) -> None:
        self._bar.error.clear()
        if on:
            self._bar.say("Live: starting")
            self._follow(True)
            self._restart()
        else:
            self._off()
            self._bar.say("Live is off. What was computed stays in the viewer.")

    def _off(self) -> None:
        self._follow(False)
        for timer in (self._moved, self._changed):
            timer.stop()
        self.worker.cancel()
        self.blockSignals(True)
        self.setChecked(False)
        self.blockSignals(False)
        self._show_enabled()

    def _show_enabled(self) -> None:
        """On, it can always be switched off."""
        busy = any(job.worker.state.busy for job in self._jobs)
        why = "" if busy or self.isChecked() else self._missing()
        self.setEnabled(not (busy or why))
        self.setToolTip(f"{ABOUT}\nFirst {why}." if why else ABOUT)

    def _restart(self) -> None:
        """Ask for what is set in the dock; tiles of the same question are shown again."""
        try:
            request = self._make()
        except ConnectoError as error:
            self._off()
            self._bar.error.show_error(error)
            return
        if self.layers is None or not self.layers.fits(request):
            if self.layers is not None:
                self.layers.hide()
            self._blocks, self.layers = Blocks(), LiveLayers(self._viewer, request)
        self.layers.request, self._fresh = request, True
        asked, blocks = Asked(), self._blocks
        self._asked = asked
        self._look()
        self.worker.start(lambda: request.job(asked, blocks), abandon=True)

    def _look(self) -> None:
        """Ask for what is on screen now."""
        request = self.layers.request if self.layers is not None else None
        if request is None or request.image not in self._viewer.layers:
            return
        box = view_box(self._viewer, request.image, request.level, depth=request.depth)
        finest, self.complete = request.volume.levels[0], False
        self._asked.look(request.level.box_in(box, finest).clip(finest.shape))

    def _on_reported(self, progress: Progress, payloads: list[Any]) -> None:
        if not self.isChecked() or self.layers is None:
            return
        for seen in payloads:
            self._show(self.layers, seen)
        if self._waiting:
            self._waiting = not self.layers.refresh()
        if self.complete:
            self._bar.say(f"Live: all {progress.total} tiles in view" if progress.total else "Live: nothing in view")
        else:
            counts = f"{progress.done} of {progress.total} tiles in view" if progress.total else progress.stage
            self._bar.say(f"Live: {counts}")

    def _show(self, layers: LiveLayers, seen: Seen) -> None:
        if self._fresh:
            self._fresh, self._replacing = False, True  # which is no reason to switch off
            layers.show(seen.work.pictures)
            self._replacing = False
        if layers.request.watch is not None:
            layers.request.watch(seen)
        self._waiting = True
        self.complete = seen.complete and seen.view == self._asked.view

    def _on_failed(self, error: Exception, text: str) -> None:
        self._off()
        self._bar.say("Live is off.")
        self._bar.error.show_error(error, text)

    def _on_job(self, state: State) -> None:
        """A job of the dock writes the same results, and shows them itself."""
        if state is State.RUNNING and self.isChecked():
            self._off()
            if isinstance(self._bar, LiveLine):  # another bar now says what its job is doing
                self._bar.say("Live is off, because a job started.")
            if self.layers is not None:
                self.layers.hide()
        self._show_enabled()

    def _on_changed(self, *_: Any) -> None:
        if self.isChecked():
            self._changed.start()
        self._show_enabled()

    def _on_moved(self, _event: Any = None) -> None:
        if not self._moved.isActive():  # while it moves, ask again and again
            self._moved.start()

    def _on_removed(self, event: Any) -> None:
        layers = self.layers
        if not self._replacing and layers is not None and layers.owns(event.value):
            self._off()
            self._bar.say("Live is off, because its layer was removed.")

    def _follow(self, on: bool) -> None:
        """Follow the view and the layer list, or stop it."""
        if on == self._following:
            return
        self._following = on
        camera, dims, layers = self._viewer.scene.camera, self._viewer.dims, self._viewer.layers
        moves = (camera.events.center, camera.events.zoom, dims.events.current_step, dims.events.ndisplay)
        pairs = [*((move, self._on_moved) for move in moves), (layers.events.removed, self._on_removed)]
        for emitter, slot in pairs:
            (emitter.connect if on else emitter.disconnect)(slot)


def _timer(parent: Any, ms: int, act: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(ms)
    timer.timeout.connect(act)
    return timer
