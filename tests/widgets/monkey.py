"""The four docks on small volumes and networks that nobody trained, and a monkey that uses them at random, seeded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QMessageBox,
    QScrollBar,
    QWidget,
)

from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.adapt import dock as adapt
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.inspect import dock as inspect
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.viewer.view import RESULT
from napari_connecto.widgets.xray import dock as translate
from tests import adapt_parts, tiny, translate_dock_parts

TEXTS = ("", "1", "-3", "1e999", "nan", "abc", "tcp://127.0.0.1:9", "é" * 200, "1 2 3", "../..", "/proc/x")


@dataclass(frozen=True)
class Scene:
    """A dock: the image it starts with, how it is opened and made ready, and its jobs by what starts them."""

    image: Path
    open: Callable[[Any], Dock]
    ready: Callable[[Any], bool]
    jobs: dict[str, Callable[[Any], QAbstractButton]]
    bars: Callable[[Any], list[JobBar]]

    def shown(self, viewer: Any, name: str) -> Dock:
        """The dock in a viewer that shows the image."""
        data, keywords, _ = layer_data(open_volume(self.image))
        viewer.add_image(data, **keywords)
        dock = self.open(viewer)
        viewer.window.add_dock_widget(dock, name=name)
        until(lambda: self.ready(dock), f"{name} is not ready")
        return dock


def scenes(folder: Path, library: Path) -> dict[str, Scene]:
    """Each dock, on files in ``folder`` and a library of domains."""
    cells = tiny.volume(folder)
    found = tiny.cascade(cells, folder / "cascade")
    neuropil, _ = adapt_parts.image_and_truth(folder)
    xray, _ = translate_dock_parts.pair(folder)
    translator = translate_dock_parts.translator(folder / "translator")

    def open_cascade(viewer: Any) -> Dock:
        dock = cascade.CascadeWidget(viewer)
        until(lambda: dock.cascade.folder is not None, "no cascade")
        dock.cascade.use(found)
        return dock

    def open_adapt(viewer: Any) -> Dock:
        dock = adapt.AdaptWidget(viewer)
        until(lambda: dock.image.full is not None, "no image")
        dock.choose.use_library(library)
        until(lambda: "near" in dock.choose.folders, "no library")
        dock.choose.choose("near")
        return dock

    def open_translate(viewer: Any) -> Dock:
        dock = translate.TranslateWidget(viewer)
        dock.translator.use(translator)
        return dock

    def open_inspect(viewer: Any) -> Dock:
        dock = inspect.InspectWidget(viewer)
        until(lambda: dock.image.full is not None and dock.model.folder is not None, "no image or model")
        dock.model.use(library / "near")
        return dock

    def at(step: int, button: Callable[[Any], QAbstractButton]) -> Callable[[Any], QAbstractButton]:
        def go(dock: Any) -> QAbstractButton:
            dock.go_to(step)
            return button(dock)

        return go

    estimated: Callable[[Any], bool] = lambda dock: dock.card.estimate is not None  # noqa: E731
    whole = {"run": lambda dock: dock.bar.button, "preview": lambda dock: dock.preview}
    steps = {
        "rank": at(1, lambda dock: dock.choose.bar.button),
        "suggest": at(2, lambda dock: dock.annotate.bar.button),
        "segment": at(5, lambda dock: dock.segment.bar.button),
    }
    return {
        "Cascade detection": Scene(cells, open_cascade, estimated, whole, lambda dock: [dock.bar]),
        "Adapt to my data": Scene(
            neuropil,
            open_adapt,
            lambda dock: True,
            steps,
            lambda dock: [dock.choose.bar, dock.annotate.bar, dock.segment.bar],
        ),
        "X-ray to EM": Scene(xray, open_translate, estimated, whole, lambda dock: [dock.bar]),
        "Inspect a model": Scene(
            neuropil,
            open_inspect,
            lambda dock: True,
            {"smaller": lambda dock: dock.tabs.setCurrentWidget(dock.smaller) or dock.smaller.bar.button},
            lambda dock: [dock.smaller.bar],
        ),
    }


class Monkey:
    """Acts on the visible, enabled widgets of a dock and on the viewer's layers; ``done`` tells what it did.

    ``strays`` are result layers whose units no layer of the user's has: napari then warns of "inconsistent units".
    """

    def __init__(self, viewer: Any, dock: QWidget, seed: int) -> None:
        self.viewer, self.dock, self.rng, self.done = viewer, dock, Random(seed), list[str]()
        self.strays: list[str] = []
        viewer.layers.events.inserted.connect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        self.strays += [
            f"after {self.done[-1:]}: {stray}" for stray in strays(self.viewer) if stray == event.value.name
        ]

    def play(self, actions: int) -> None:
        """So many actions, each given a few turns of the event loop."""
        answers = [QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.Cancel]
        with (
            patch.object(QFileDialog, "getExistingDirectory", lambda *_, **__: ""),
            patch.object(QFileDialog, "getSaveFileName", lambda *_, **__: ("", "")),
            patch.object(QFileDialog, "getOpenFileName", lambda *_, **__: ("", "")),
            patch.object(QMessageBox, "exec", lambda *_: self.rng.choice(answers)),
        ):
            for _ in range(actions):
                self._on_layers() if self.rng.random() < 0.15 else self._on_widget()
                turn(self.rng.choice((0.0, 0.02, 0.2)))

    def _on_widget(self) -> None:
        kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QAbstractSlider)
        shown = [w for w in self.dock.findChildren(QWidget) if isinstance(w, kinds) and not isinstance(w, QScrollBar)]
        widget = self.rng.choice([w for w in shown if w.isVisibleTo(self.dock) and w.isEnabled()])
        self.done.append(f"{type(widget).__name__} {_words(widget)!r}")
        if isinstance(widget, QAbstractButton):
            widget.click()
        elif isinstance(widget, QComboBox):
            index = self.rng.randrange(max(1, widget.count()))
            widget.setCurrentIndex(index)
            widget.activated.emit(index)
        elif isinstance(widget, QAbstractSpinBox):
            widget.stepBy(self.rng.choice((-1, 1)))
        elif isinstance(widget, QAbstractSlider):
            low, high = widget.minimum(), widget.maximum()
            widget.setValue(type(low)(low + self.rng.random() * (high - low)))
        elif not widget.isReadOnly():
            before = widget.text()
            widget.setText(self.rng.choice(TEXTS))
            if widget.hasAcceptableInput():  # nobody leaves a box whose validator says no
                widget.editingFinished.emit()
            else:
                widget.setText(before)

    def _on_layers(self) -> None:
        layers = self.viewer.layers
        kind = self.rng.choice(("remove", "add", "rename", "choose", "move", "key"))
        self.done.append(kind)
        if kind == "add":
            layers_data = np.random.default_rng(self.rng.randrange(99)).integers(0, 255, (4, 40, 40), np.uint8)
            self.viewer.add_image(layers_data, name=f"added {len(self.done)}")
        elif kind == "move":
            self.viewer.dims.set_current_step(0, self.rng.randrange(8))
        elif kind == "key":
            for target in (self.viewer, *self.viewer.layers.selection):
                for act in self.rng.sample(list(target.keymap.values()), min(1, len(target.keymap))):
                    act(target)
        elif layers and kind == "remove":
            layers.remove(self.rng.choice(list(layers)))
        elif layers and kind == "rename":
            self.rng.choice(list(layers)).name = f"renamed {len(self.done)}"
        elif layers:
            layers.selection.active = self.rng.choice(list(layers))


def strays(viewer: Any) -> list[str]:
    """Result layers whose units are those of no layer of the user's."""
    own = [layer for layer in viewer.layers if RESULT not in layer.metadata]
    made = [layer for layer in viewer.layers if RESULT in layer.metadata]
    return [layer.name for layer in made if own and not any(_alike(layer, other) for other in own)]


def _alike(one: Any, other: Any) -> bool:
    n = min(one.ndim, other.ndim, 3)
    return one.units[-n:] == other.units[-n:]


def _words(widget: QWidget) -> str:
    text = getattr(widget, "text", lambda: "")() or getattr(widget, "currentText", lambda: "")()
    return text or widget.toolTip()[:40]


def turn(seconds: float = 0.0) -> None:
    """Let the event loop run."""
    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() >= end:
            return
        time.sleep(0.005)


def until(condition: Callable[[], object], otherwise: str, seconds: float = 180.0) -> None:
    """Let the event loop run until something holds; beside other jobs a step of one may take a minute."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        turn(0.02)


def close(viewer: Any, dock: QWidget) -> None:
    """Close a dock for good, and those of ours that it opened."""
    window = viewer.window
    others = [w for w in window.dock_widgets.values() if type(w).__module__.startswith("napari_connecto")]
    for one in {id(w): w for w in (dock, *others)}.values():
        if one in window.dock_widgets.values():  # a dock may take with it what it opened
            window.remove_dock_widget(one)
        one.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    turn()


def threads() -> list[str]:
    """Of our jobs that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("connecto ")]


def widgets() -> list[str]:
    """Of ours that are alive."""
    return [type(w).__name__ for w in QApplication.allWidgets() if type(w).__module__.startswith("napari_connecto")]
