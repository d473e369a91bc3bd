"""Pictures of the docks: ``xvfb-run -a -s "-screen 0 1366x768x24" python docs/make_screenshots.py``

Drives a real viewer with the shipped samples and saves the whole window to ``docs/images``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication

from napari_connecto.sample_data import cascade_folder
from napari_connecto.widgets._worker import State

IMAGES = Path(__file__).parent / "images"
DOCK = ("napari-connecto", "Cascade detection")


def wait(condition: Callable[[], object], limit_s: float = 600) -> None:
    """Run the event loop until something holds."""
    end = time.perf_counter() + limit_s
    while not condition():
        if time.perf_counter() > end:
            raise SystemExit(f"waited {limit_s} s in vain")
        QApplication.processEvents()
        time.sleep(0.005)


def settle(seconds: float = 0.6) -> None:
    """Let everything be drawn."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Save the whole window."""
    settle()
    IMAGES.mkdir(exist_ok=True)
    viewer.screenshot(path=str(IMAGES / f"{name}.png"), canvas_only=False, flash=False)


def open_dock(viewer: napari.Viewer, sample: str, cascade: str, out: Path) -> Any:
    """The sample and the dock, with the estimate on the card."""
    viewer.open_sample("napari-connecto", sample)
    for layer in list(viewer.layers)[1:]:
        viewer.layers.remove(layer)
    viewer.layers.selection.active = viewer.layers[0]
    settle()
    _, dock = viewer.window.add_plugin_dock_widget(*DOCK)
    wait(lambda: dock.cascade.folder is not None)
    dock.cascade.use(cascade_folder(cascade))
    dock.options.out.setText(str(out))
    wait(lambda: dock.card.estimate is not None)
    return dock


def show_part(dock: Any, part: Any) -> None:
    """Scroll the dock so that a part begins at its top."""
    settle(0.2)
    dock.scroller.verticalScrollBar().setValue(part.y() - 6)


def cells(viewer: napari.Viewer, out: Path) -> None:
    """Before, during, and reviewing."""
    dock = open_dock(viewer, "cells", "cells", out)
    shoot(viewer, "cascade_before")
    dock.preview.click()
    wait(lambda: len(dock.results.layers.points.data) > 5 or not dock.bar.worker.state.busy)
    show_part(dock, dock.card)
    shoot(viewer, "cascade_preview")
    wait(lambda: not dock.bar.worker.state.busy)
    run_to_end(dock)
    dock.results.step(1)
    for verdict in ("accepted", "accepted", "rejected", "accepted"):
        dock.results.judge(verdict)
    viewer.scene.camera.zoom *= 1.6
    show_part(dock, dock.bar)
    shoot(viewer, "cascade_review")
    viewer.close()


def neuropil(viewer: napari.Viewer, out: Path) -> None:
    """Masks, and training from labels."""
    dock = open_dock(viewer, "neuropil", "mitochondria", out)
    run_to_end(dock)
    show_part(dock, dock.bar)
    shoot(viewer, "cascade_masks")
    dock.results.step(1)
    for _ in range(3):
        dock.results.judge("accepted")
    dock.results.make_training()
    show_part(dock, dock.cascade)
    shoot(viewer, "cascade_train")
    viewer.close()


def run_to_end(dock: Any) -> None:
    """Run all, and say so if it fails."""
    dock.bar.button.click()
    wait(lambda: not dock.bar.worker.state.busy)
    if dock.bar.worker.state is not State.DONE:
        raise SystemExit(dock.bar.error.label.text())


def main() -> None:
    get_settings().appearance.theme = "dark"
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as folder:
        for scene in (cells, neuropil):
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            viewer.window.resize(1366, 768)
            scene(viewer, Path(folder) / scene.__name__)


if __name__ == "__main__":
    main()
