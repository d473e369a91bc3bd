"""Three stories of users, by hand: ``xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/stories.py em --out DIR``

A real viewer, driven by mouse and keys alone (see `_hand`); stops where a user could not go on. Prints each wait with
the gaps of the event loop meanwhile, and the number of clicks; pictures of the window go to ``--out``, to be looked at.
Stories, up to 15 minutes each: ``tiff`` (found objects in one's own TIFF), ``em`` (models, patches, fine-tuning,
segments, proofreading on the sample), ``xray`` (preview, uncertain places, comparison, all of it).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from _hand import Hand, strokes
from napari.settings import get_settings
from qtpy.QtCore import QMimeData as Mime
from qtpy.QtCore import QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QWidget

import napari_connecto as nc

STEP = 3
"""Pixels of a membrane between two positions of the mouse."""


def dock_of(hand: Hand, name: str) -> Any:
    """The dock of a class, once it is open."""
    found: list[Any] = []

    def opened() -> bool:
        found[:] = [w for w in hand.window.findChildren(QWidget) if type(w).__name__ == name]
        return bool(found)

    hand.until("dock", opened)
    return found[0]


def job(hand: Hand, bar: Any, what: str) -> None:
    """Wait for a job that was started to end, and show what it made."""
    hand.until(what, lambda: not bar.worker.state.busy)
    hand.shot(what)


def tiff(hand: Hand, out: Path) -> None:
    """A TIFF without a voxel size, dragged into the window; objects found in it."""
    image = np.asarray(nc.open_sample("cells").levels[0].array[20])
    tifffile.imwrite(out / "my cells.tif", image)
    drop(hand, out / "my cells.tif")
    hand.until("dropped", lambda: len(hand.viewer.layers))
    hand.menu("Plugins", "Connecto", "Cascade detection (Connecto)")
    dock = dock_of(hand, "CascadeWidget")
    hand.until("estimate", lambda: dock.card.estimate is not None)
    hand.shot("estimate")
    hand.click(dock.bar.button)
    hand.until("first object", lambda: dock.results.review is not None and len(dock.results.review.found))
    job(hand, dock.bar, "all found")
    print(len(dock.results.review.found), "objects")


def drop(hand: Hand, path: Path) -> None:
    """Drag a file onto the canvas."""
    data, target, middle = Mime(), hand.viewer.window._qt_viewer, QPoint(200, 200)
    data.setUrls([QUrl.fromLocalFile(str(path))])
    how = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    hand.clicks += 1
    QApplication.sendEvent(target, QDragEnterEvent(middle, *how))
    QApplication.sendEvent(target, QDropEvent(QPointF(middle), *how))


def em(hand: Hand, out: Path) -> None:
    """From the sample to a corrected segmentation; held-out patches are painted along their membranes."""
    hand.menu("File", "Open Sample", "Connecto", "Neuropil, electron microscopy (synthetic)")
    dock = dock_of(hand, "AdaptWidget")
    hand.until("models", lambda: dock.next.button.isEnabled())
    hand.shot("sample")
    hand.click(dock.next.button)
    job(hand, dock.choose.bar, "ranked")
    hand.click(dock.next.button)
    job(hand, dock.annotate.bar, "suggested")
    hand.click(dock.next.button)
    hand.until("patch 1 opened", lambda: dock.annotate.opened is not None)
    truth = hand.viewer.layers["neurons (truth)"]
    while dock.annotate.opened is not None:
        id = dock.annotate.opened.id
        paint(hand, dock, truth, whole=dock.annotate.opened.held_out)
        hand.shot(f"patch {id}")
        hand.key(Qt.Key.Key_C)
        hand.until(f"patch {id} committed", lambda id=id: dock.annotate.opened is None or dock.annotate.opened.id != id)
    hand.shot("all committed")
    hand.click(dock.next.button)
    hand.shot("fine-tune")
    hand.click(dock.next.button)
    job(hand, dock.tune.bar, "fine-tuned")
    hand.click(dock.next.button)
    job(hand, dock.compare.bar, "compared")
    hand.click(dock.next.button)
    hand.shot("segment")
    hand.click(dock.next.button)
    job(hand, dock.segment.bar, "segmented")
    proofread(hand, dock)


def paint(hand: Hand, dock: Any, truth: Any, *, whole: bool) -> None:
    """One stroke along the longest membrane of the open patch; a whole patch is filled and all are drawn."""
    labels = dock.annotate.patch.labels
    start = np.rint(truth.world_to_data(labels.data_to_world((0, 0, 0)))).astype(int)
    box = tuple(slice(s, s + n) for s, n in zip(start, labels.data.shape, strict=True))
    lines = sorted(strokes(np.asarray(truth.data[0][box])[0] == 0), key=len)
    if whole:
        hand.click("Inside (2)")
        controls = hand.viewer.window._qt_viewer.controls.widgets[labels]
        hand.click(next(b for b in controls.findChildren(QWidget) if "fill bucket" in b.toolTip() and b.isVisible()))
        hand.touch(hand.pixels(labels, np.array([[0, *np.array(labels.data.shape[1:]) / 2]]))[0])
        hand.key(Qt.Key.Key_1)
    for line in lines if whole else lines[-1:]:
        at = np.vstack([line[::STEP], line[-1:]])
        hand.drag(hand.pixels(labels, np.column_stack([np.zeros(len(at)), at])))


def proofread(hand: Hand, dock: Any) -> None:
    """Merge two neighbours, undo it, split one, leave."""
    hand.click(dock.next.button)
    hand.until("proofreading", lambda: dock.segment.proofread.work is not None)
    layer = hand.viewer.layers.selection.active
    one, two, apart = places(layer, hand)
    for place in (one, two):
        hand.touch(place)
    hand.until("merged", lambda: dock.segment.proofread.panel.undo.isEnabled())
    hand.shot("merged")
    hand.key(Qt.Key.Key_U)
    hand.until("undone", lambda: not dock.segment.proofread.panel.undo.isEnabled())
    hand.key(Qt.Key.Key_S)
    for place in (one, apart):
        hand.touch(place)
    hand.until("split", lambda: dock.segment.proofread.panel.undo.isEnabled())
    hand.shot("split")
    hand.click(dock.next.button)
    hand.shot("left")


def places(layer: Any, hand: Hand) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of the canvas: in the largest segment in view, in its neighbour, and far away in it."""
    z = round(float(layer.world_to_data(hand.viewer.dims.point)[0]))
    full = layer.data[0] if layer.multiscale else layer.data
    section = np.asarray(full[z])
    size, inner = hand.canvas.size(), np.zeros(section.shape, bool)
    pixels = hand.pixels(layer, np.array([[z, 0, 0], [z, section.shape[0] - 1, section.shape[1] - 1]]))
    per = (pixels[1] - pixels[0]) / (np.array(section.shape[::-1]) - 1)
    low = np.maximum(0, np.ceil((20 - pixels[0]) / per)).astype(int)[::-1]
    high = np.floor((np.array([size.width(), size.height()]) - 20 - pixels[0]) / per).astype(int)[::-1]
    inner[low[0] : high[0], low[1] : high[1]] = True
    ids, counts = np.unique(section[inner & (section > 0)], return_counts=True)
    big = ids[counts.argmax()]
    mine = np.argwhere(inner & (section == big))
    first, last = mine[len(mine) // 20], mine[-len(mine) // 20]
    others = np.argwhere(inner & (section > 0) & (section != big))
    near = others[np.linalg.norm(others - first, axis=1).argsort()[200]]  # well inside, not on its edge
    at = np.column_stack([np.full(3, z), np.stack([first, near, last])])
    return tuple(hand.pixels(layer, at))


def xray(hand: Hand, out: Path) -> None:
    """Preview of the sample, uncertain places, three views, comparison of segments, all of it, its report."""
    hand.menu("File", "Open Sample", "Connecto", "Neuropil, X-ray and EM (simulated)")
    dock = dock_of(hand, "TranslateWidget")
    hand.shot("sample")
    hand.until("estimate", lambda: dock.card.estimate is not None)
    hand.shot("estimate")
    hand.click("Preview in view")
    hand.until("first tile", lambda: dock.trust.alive)
    hand.shot("first tile")
    job(hand, dock.bar, "previewed")
    hand.click("Next (N)")
    hand.shot("first place")
    hand.click("3 views (V)")
    hand.shot("three views")
    hand.click("3 views (V)")
    hand.click("Compare")
    job(hand, dock.segment.bar, "compared")
    hand.click(dock.segment.aside)
    hand.shot("side by side")
    hand.click(dock.segment.aside)
    hand.click("Hide uncertain segments")
    hand.shot("uncertain segments hidden")
    hand.click("Run all")
    job(hand, dock.bar, "run all")
    hand.click("Next (N)")
    hand.shot("worst place of all")


STORIES: dict[str, Callable[[Hand, Path], None]] = {"tiff": tiff, "em": em, "xray": xray}


def main() -> None:
    """Tell one story."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("story", choices=STORIES)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures")
    parser.add_argument("--size", type=int, nargs=2, default=(1366, 768), help="of the window, pixels")
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    told = parser.parse_args()
    get_settings().appearance.theme = told.theme
    viewer = napari.Viewer()
    hand = Hand(viewer, told.out)
    hand.window.setGeometry(0, 0, *told.size)
    hand.settle(1)
    print("| wait | time | gaps, 99 % | longest | over 100 ms |\n|---|---|---|---|---|")
    STORIES[told.story](hand, told.out)
    print(f"{hand.clicks} clicks, {hand.scrolled} turns of the wheel")
    for text in notes():
        print("notification:", text, file=sys.stderr)
    viewer.close()


def notes() -> list[str]:
    """What napari has told the user."""
    from napari.utils.notifications import notification_manager

    return [str(n.message) for n in notification_manager.records]


if __name__ == "__main__":
    main()
