"""Suggested patches as boxes on the volume."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets.adapt.layers import Canvas
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.viewer.view import OKABE_ITO, TITLE, jump, selection_kept

if TYPE_CHECKING:
    from napari_connecto.core.volume import Level
    from napari_connecto.workflows.adapt.annotate.patch_states import PatchState

NAME = "suggested"
MOST = 16
"""Largest number of sections of a patch that are outlined."""
COLOURS = {"waiting": OKABE_ITO["new"], "committed": OKABE_ITO["accepted"], "skipped": "#999999"}


class SuggestedBoxes:
    """A Shapes layer with one outline per patch and section, and its number; held-out ones say so."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.layer: Any = None
        self._canvas: Canvas | None = None
        self._shown: tuple[Any, ...] = ()

    def show_state(self, wanted: bool) -> None:
        """Show the patches of the session where they are ``wanted``; without a session there are none."""
        work = self.project.work
        if work is None or not work.session.patches:
            self.remove()
        elif not wanted or not self.project.settled:
            self.hide()
        else:
            with suppress(ConnectoError):
                self._show(self.project.canvas(), work.volume.levels[0], work.session.patches)

    def look_at(self, id: int) -> None:
        """Centre the view on a patch, without changing the zoom."""
        work, canvas = self.project.work, self._canvas
        if work is None or canvas is None or self.layer not in canvas.viewer.layers or not self.project.settled:
            return
        box = work.session.patches[id - 1].box
        z = (box.start[0] + box.stop[0] - 1) // 2
        jump(canvas.viewer, self.layer, [z, *(c - 0.5 for c in box.centre[1:])])

    def _show(self, canvas: Canvas, finest: Level, states: Sequence[PatchState]) -> None:
        wanted = (id(canvas.image), *((state.id, state.status) for state in states))
        if wanted == self._shown:
            if self.layer in canvas.viewer.layers:  # else the user has removed it
                self.layer.visible = True
            return
        self.remove()
        corners, names, colours = [], [], []
        for state in states:
            for z in list(range(state.box.start[0], state.box.stop[0]))[:MOST]:
                corners.append(_outline(state.box.start[1:], state.box.stop[1:], z))
                names.append(f"{state.id}{' held out' if state.held_out else ''}")
                colours.append(COLOURS[state.status])
        if not corners:
            return
        text = {"string": "{patch}", "anchor": "upper_left", "color": TITLE, "size": 9}
        look = {"shape_type": "polygon", "face_color": "transparent", "edge_color": colours, "edge_width": 2}
        with selection_kept(canvas.viewer, canvas.image):
            made = canvas.add("add_shapes", corners, finest, name=NAME, features={"patch": names}, text=text, **look)
        made.editable = False
        self.layer, self._canvas, self._shown = made, canvas, wanted

    def hide(self) -> None:
        """Hide them; they are shown again by `show`."""
        if self.layer is not None and self._canvas is not None and self.layer in self._canvas.viewer.layers:
            self.layer.visible = False

    def remove(self) -> None:
        """Remove the layer."""
        if self.layer is not None and self._canvas is not None:
            self._canvas.remove([self.layer])
        self.layer, self._canvas, self._shown = None, None, ()


def _outline(start: Sequence[int], stop: Sequence[int], z: int) -> np.ndarray:
    """Corners (4, 3) of a rectangle of whole voxels in a section."""
    (y, x), (yy, xx) = (np.array(start, float) - 0.5).tolist(), (np.array(stop, float) - 0.5).tolist()
    return np.array([[z, y, x], [z, y, xx], [z, yy, xx], [z, yy, x]])
