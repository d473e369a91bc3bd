"""State shared by the five steps of "Adapt to my data": image, model to start from, session, results."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.views.invert import INVERTED, inverted
from napari_connecto.widgets.adapt.annotate.session_jobs import SCRATCH_FOLDER, Begin, Work
from napari_connecto.widgets.adapt.jobs import Source
from napari_connecto.widgets.adapt.kept import Gain, Kept, default_model
from napari_connecto.widgets.adapt.layers import Canvas
from napari_connecto.widgets.adapt.state import STATES, ImageState
from napari_connecto.widgets.adapt.steps.sessions import words_of
from napari_connecto.widgets.shared.boundary_models import model_name, peek_card
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.settings import output_folder
from napari_connecto.widgets.viewer.layers import SOURCE
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.viewer.view import RESULT
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.core.volume import Level, Volume


WAIT_MS = 100
"""How often to check whether the job on another image has ended."""


class Project(QObject):
    """Shared state of one image, `layer`; ``changed`` is emitted when any of it changes.

    Another chosen image is followed once no job of the session runs, see `follow`: ``switched`` is emitted when its
    state
    has replaced the previous one, ``failed`` when its session cannot be reopened. ``voxel_size_asked`` is emitted when
    the
    voxel size must come from the user. ``mode`` is the segmentation mode of step 5.
    """

    changed = Signal()
    switched = Signal()
    failed = Signal(object)
    voxel_size_asked = Signal()

    def __init__(self, viewer: Any, image: InputBox) -> None:
        super().__init__(image)
        self.viewer, self.image = viewer, image
        self._closed = False
        self.layer: Layer | None = None
        self.left: Work | None = None
        self.busy: Callable[[], str] = str
        self._finest: Level | None = None
        self._waiting = QTimer(self)
        self._waiting.setInterval(WAIT_MS)
        self._waiting.timeout.connect(self.follow)
        image.layers.chosen.connect(self.follow)
        image.changed.connect(self._on_image_changed)
        self.library: Path | None = None
        self.invert = False
        self.source: Source | None = None
        self.work: Work | None = None
        self.committing = False
        self.tuned: Path | None = None
        self.kept: Kept | None = None
        self.mode = SegmentParams().mode
        self._folder: tuple[str, Path] | None = None

    def update(self, **values: Any) -> None:
        """Set attributes, then emit `changed`."""
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.emit()

    @property
    def settled(self) -> bool:
        """Whether this state belongs to the chosen image, rather than to one whose job still runs."""
        return self.layer is self.image.layer

    def follow(self) -> None:
        """Load the state of the chosen image; if a job of the present one runs, once it has ended."""
        if self._closed:
            return
        if self.settled or self.busy():
            (self._waiting.stop if self.settled else self._waiting.start)()
            return
        self._waiting.stop()
        self.leave()
        self.layer, self._finest = self.image.layer, None
        state = ImageState() if self.layer is None else STATES.pop(self.layer, ImageState())
        self.work, self.tuned, self.kept, self.invert = state.work, state.tuned, state.kept, state.invert
        self.source, self._folder = self.source or state.source, state.folder
        problem = None
        try:
            self.reopen_session()
        except ConnectoError as error:
            problem, self.work, self.tuned, self.kept = error, None, None, None
        self._on_image_changed()
        self.switched.emit()
        self.changed.emit()
        if problem is not None:
            self.failed.emit(problem)

    def leave(self) -> None:
        """Close the session, and store the state with the image's layer."""
        self.left = self.work or self.left
        self.close_session()
        if self.layer is not None:
            STATES[self.layer] = ImageState(self.source, self.work, self.tuned, self.kept, self.invert, self._folder)

    def close(self) -> None:
        """The dock is closed: keep the state for the next one."""
        self._closed = True
        self._waiting.stop()
        self.leave()

    def forget_session(self) -> None:
        """Close the session and forget its results, for another session in another folder."""
        self.close_session()
        self.left, self._folder = self.work or self.left, None
        self.work = self.tuned = self.kept = None
        self.switched.emit()
        self.changed.emit()

    def need_settled(self) -> None:
        """Raise while a job on another image than the chosen one runs.

        Raises
        ------
        InputError
            The message names that image.
        """
        if not self.settled and (line := self.busy()):
            raise InputError(line)

    def _on_image_changed(self) -> None:
        if self.settled and self.image.full is not None:
            self._finest = self.image.full.levels[0]

    @property
    def results(self) -> Path:
        """Folder that projects are made in."""
        return output_folder()

    @property
    def folder(self) -> Path:
        """Folder of the project: the session's parent, or a new folder named after the image."""
        if self.work is not None:
            return self.work.session.path.parent
        volume = self.image.volume()
        name = volume.name.split(".")[0] if volume is not None else "image"
        if self._folder is None or self._folder[0] != name:
            made = self.results / f"adapt-{words_of(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
            others = (made.with_name(f"{made.name}-{n}") for n in count(2))
            self._folder = (name, next(path for path in chain([made], others) if not path.exists()))
        return self._folder[1]

    def volume(self) -> Volume:
        """The image, inverted if the user chose so.

        Raises
        ------
        InputError
            If no image is open.
        """
        volume = self.image.need_volume()
        return inverted(volume) if self.invert else volume

    def spec(self) -> VolumeSpec | None:
        """How a recipe names the image; None if it is not stored in a file."""
        if self.work is not None:
            return self.work.spec
        spec = self.image.spec(self.volume())
        return dataclasses.replace(spec, invert=True) if spec is not None and self.invert else spec

    def begin(self) -> Begin:
        """What a new session would start with.

        Raises
        ------
        InputError
            If the image or the model to start from is not chosen yet.
        """
        self.need_settled()
        if self.source is None:
            raise InputError("no model is chosen; rank the library in step 1 and choose one, or start from scratch")
        return Begin(self.volume(), self.spec(), self.source, self.folder)

    def need_work(self) -> Work:
        """The open session.

        Raises
        ------
        InputError
            If there is none, a commit is being written into it, or it is not of the chosen image.
        """
        self.need_settled()
        if self.committing:
            raise InputError("a patch is being committed; try again in a moment")
        if self.work is None:
            raise InputError("no session is open; suggest patches in step 2, or resume a session")
        return self.work

    def canvas(self, *, chosen: bool = False) -> Canvas:
        """Where layers go: on the image of this state, whose job may still run, or on the ``chosen`` one.

        Raises
        ------
        InputError
            If no image is open.
        """
        if not chosen and self.layer is not None and self._finest is not None:
            return Canvas(self.viewer, self.layer, self._finest)
        self.image.need_volume()
        layer, full = self.image.layer, self.image.full
        assert layer is not None
        assert full is not None
        return Canvas(self.viewer, layer, full.levels[0])

    def adopt(self, work: Work) -> None:
        """Continue a session: its image in the viewer, its model, and the latest fine-tuned one."""
        base = work.base
        source = self.source or Source(model_name(base), None if base.name == SCRATCH_FOLDER else base)
        folder = work.session.path.parent
        made = [path for path in folder.glob("tuned-*") if (path / "model" / "card.json").exists()]
        last = max(made, key=lambda path: (path / "model" / "card.json").stat().st_mtime, default=None)
        kept = None if last is None else default_model(base, last, Gain.of(last))
        invert = bool(work.volume.metadata.get(INVERTED))
        self.update(work=work, source=source, tuned=last, kept=kept, invert=invert)

    def show_image(self, volume: Volume) -> None:
        """Choose the layer that shows this volume; open it if there is none."""
        if self.image.full is not None and self.image.full.source == volume.source:
            self.image.newest.keep()
            return
        names = [
            layer.name
            for layer in self.viewer.layers
            if volume.source in (layer.source.path, layer.metadata.get(SOURCE)) and RESULT not in layer.metadata
        ]
        if not names:
            data, keywords, _ = layer_data(volume)
            names = [self.viewer.add_image(data, **keywords).name]
        self.image.layers.setCurrentText(names[0])
        self.image.newest.keep()

    def reopen_session(self) -> None:
        """Lock the session again after a separate process used it."""
        if self.work is None:
            return
        from napari_connecto.workflows.adapt.annotate.session import Session

        work, old = self.work, self.work.session
        session = Session.open(old.path, work.volume, peek_card(work.base), spec=work.spec, model=str(work.base))
        self.update(work=dataclasses.replace(work, session=session))

    def close_session(self) -> None:
        """Unlock the session's folder."""
        if self.work is not None:
            self.work.session.close()

    def next_folder(self, stem: str) -> Path:
        """``stem-1``, ``stem-2``, ...: the first that does not exist."""
        n = 1
        while (self.folder / f"{stem}-{n}").exists():
            n += 1
        return self.folder / f"{stem}-{n}"
