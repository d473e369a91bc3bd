"""The moving picture at the top of the README:

``xvfb-run -a -s "-screen 0 1366x768x24" python docs/make_screencast.py``

Drives a real viewer with a shipped sample and saves what the window shows, with a pointer and a caption, as an animated
WebP. Waits are shown as long as they take, up to `LONGEST_S` a step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari
import numpy as np
from make_screenshots import IMAGES, settle
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QWidget

SIZE = (1024, 576)
FRAME_S = 0.25
LONGEST_S = 9.0
"""Seconds of a step that are shown; what takes longer is cut."""
CAPTION = 30
"""Height of the caption, pixels."""


@dataclass
class Film:
    """Frames of a viewer's window, with how long each is shown.

    Parameters
    ----------
    viewer
        Visible.
    caption
        Text below the window.
    pointer
        Pixel of the window, (x, y), or None.
    """

    viewer: napari.Viewer
    caption: str = ""
    pointer: tuple[int, int] | None = None
    frames: list[Image.Image] = field(default_factory=list)
    shown_ms: list[int] = field(default_factory=list)

    def shoot(self, seconds: float = FRAME_S) -> None:
        """Add the window as it is; one that looks as before is shown for longer."""
        window = np.asarray(self.viewer.screenshot(canvas_only=False, flash=False))[..., :3]
        frame = self._framed(Image.fromarray(np.ascontiguousarray(window)))
        if self.frames and np.array_equal(np.asarray(frame), np.asarray(self.frames[-1])):
            self.shown_ms[-1] += round(seconds * 1000)
            return
        self.frames.append(frame)
        self.shown_ms.append(round(seconds * 1000))

    def until(self, condition: Callable[[], object], limit_s: float = 300) -> None:
        """Film while waiting for something; its last frame is what was waited for."""
        start = time.perf_counter()
        while not condition():
            settle(FRAME_S)
            if time.perf_counter() - start < LONGEST_S:
                self.shoot()
            if time.perf_counter() - start > limit_s:
                raise SystemExit(f"waited {limit_s} s in vain")
        settle()
        self.shoot()

    def pause(self, seconds: float) -> None:
        """Show the window as it is."""
        settle()
        self.shoot(seconds)

    def click(self, button: Any) -> None:
        """Move the pointer to a button, then press it."""
        self.point(button)
        self.pause(0.8)
        button.click()

    def point(self, widget: QWidget) -> None:
        """Move the pointer to the middle of a widget, in four steps."""
        place = widget.mapTo(widget.window(), QPoint(widget.width() // 2, widget.height() // 2))
        start = self.pointer or (SIZE[0] // 2, SIZE[1] // 2)
        for share in (0.25, 0.5, 0.75, 1.0):
            self.pointer = tuple(  # type: ignore[assignment]
                round(a + share * (b - a)) for a, b in zip(start, (place.x(), place.y()), strict=True)
            )
            self.shoot(0.06)

    def save(self, path: Path) -> None:
        """Write an animated WebP."""
        first, *rest = self.frames
        first.save(path, save_all=True, append_images=rest, duration=self.shown_ms, loop=0, quality=55, method=4)
        seconds = sum(self.shown_ms) / 1000
        print(f"{path}: {len(self.frames)} frames, {seconds:.0f} s, {path.stat().st_size / 1e6:.2f} MB")

    def _framed(self, window: Image.Image) -> Image.Image:
        pen = ImageDraw.Draw(window)
        if self.pointer is not None:
            x, y = self.pointer
            pen.polygon([(x, y), (x, y + 18), (x + 5, y + 14), (x + 12, y + 13)], fill="white", outline="black")
        picture = Image.new("RGB", (SIZE[0], SIZE[1] + CAPTION), "#1b1c20")
        picture.paste(window.resize(SIZE, Image.Resampling.LANCZOS), (0, 0))
        font = ImageFont.load_default(16)
        ImageDraw.Draw(picture).text((SIZE[0] // 2, SIZE[1] + CAPTION // 2), self.caption, "white", font, anchor="mm")
        return picture


def story(film: Film, out: Path) -> None:
    """Sparse cells: open, see the cost, look around live, search, review."""
    viewer = film.viewer
    film.caption = "File > Open Sample > Connecto: the image, and the dock beside it"
    viewer.open_sample("napari-connecto", "cells")
    film.until(lambda: viewer.window.dock_widgets)
    (dock,) = viewer.window.dock_widgets.values()
    dock.options.out.setText(str(out))
    film.caption = "Before anything is searched: what each level will look at, how long it takes, what may be missed"
    film.until(lambda: dock.card.estimate is not None)
    film.pause(3)
    film.caption = "Live: what is in view is searched while you move"
    film.click(dock.live)
    for step in (16, 24, 32, 40):
        viewer.dims.set_current_step(0, step)
        for _ in range(4):
            settle(FRAME_S)
            film.shoot()
    film.click(dock.live)
    for layer in viewer.layers[1:]:
        layer.visible = False
    film.caption = "Run all: background is ruled out on coarse levels, only what remains is read finely"
    film.click(dock.bar.button)
    film.until(lambda: not dock.bar.worker.state.busy)
    film.pause(2)
    film.caption = "Review: each object in turn, accept (A) or reject (X)"
    dock.results.step(1)
    for verdict in ("accepted", "accepted", "rejected", "accepted"):
        film.pause(0.9)
        dock.results.judge(verdict)
    film.pause(3)


def main() -> None:
    """Film the story."""
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(1366, 768)
    film = Film(viewer)
    with tempfile.TemporaryDirectory() as folder:
        story(film, Path(folder) / "cells")
        viewer.close()
    film.save(IMAGES / "screencast.webp")


if __name__ == "__main__":
    main()
