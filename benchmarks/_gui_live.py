"""The button *Live* while the view moves: first tile after a move, gaps of the event loop, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import psutil
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

JUMPS = 6
STEP_MS = 30
"""Of the camera in steady panning."""
Row = tuple[str, str, str]
Wait = Callable[..., float]


@dataclass
class Ticks:
    """When the event loop ticked, and the processor time of its thread."""

    times: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def beat(self) -> None:
        self.times.append(time.perf_counter())
        self.work.append(time.thread_time())

    def gaps_ms(self, values: list[float]) -> np.ndarray:
        return np.array([1000 * (b - a) for a, b in pairwise(values)])


def measure_live(viewer: Any, dock: Any, wait: Wait, seconds: float) -> list[Row]:
    """Rows of what, aim, measured: jumps to places that were never seen, then panning to and fro."""
    image, camera = dock.image.layer, viewer.scene.camera
    low, high = image.extent.world[:, -2:]
    camera.zoom *= 3
    alone = _pan(camera, low, high, wait, seconds / 2)
    dock.live.click()
    wait(lambda: dock.live.complete)
    first = []
    for n in range(JUMPS):
        share = 0.15 + 0.7 * (n * 0.38 % 1)
        place = low + (high - low) * (share, 1 - share)
        viewer.dims.set_current_step(0, (n * 5) % max(1, image.data[0].shape[0]))
        if _there(dock, place):
            continue
        begin = time.perf_counter()
        camera.center = (0.0, *map(float, place))
        wait(lambda place=place: _there(dock, place))
        first.append(time.perf_counter() - begin)
        wait(lambda: dock.live.complete)
    live = _pan(camera, low, high, wait, seconds)
    begin = time.perf_counter()
    dock.live.click()
    QApplication.processEvents()
    off = time.perf_counter() - begin
    named = f"{statistics.median(first):.2f} s, worst {max(first):.2f} s, of {len(first)}" if first else "nothing new"
    return [
        ("Live: first tile on screen after a move", "< 0.7 s", f"median {named}"),
        (f"Live: event-loop gaps in {seconds:.0f} s of panning", "p99 <= 100 ms", _spread(live.gaps)),
        (f"... in {seconds / 2:.0f} s of the same panning without Live", "", _spread(alone.gaps)),
        ("... CPU time of the viewer's thread in one tick, with Live", "", _spread(live.work)),
        ("... without Live", "", _spread(alone.work)),
        ("Live: memory above the start of the panning", "flat", f"{live.grown_mb:.0f} MB at most"),
        ("Live: the click that switches it off", "< 1 s", f"{off:.2f} s"),
    ]


@dataclass(frozen=True)
class Panned:
    """Gaps of the event loop and CPU time of its thread between two ticks, ms; memory above the start at most."""

    gaps: np.ndarray
    work: np.ndarray
    grown_mb: float


def _pan(camera: Any, low: np.ndarray, high: np.ndarray, wait: Wait, seconds: float) -> Panned:
    """Move the camera to and fro over the image."""
    ticks, timer = Ticks(), QTimer()
    timer.setInterval(5)
    timer.timeout.connect(ticks.beat)
    process = psutil.Process()
    before, begun, most = process.memory_info().rss, time.perf_counter(), 0
    timer.start()
    while (passed := time.perf_counter() - begun) < seconds:
        around = np.array([np.sin(passed * 0.9), np.cos(passed * 0.63)]) * 0.35 + 0.5
        camera.center = (0.0, *map(float, low + (high - low) * around))
        end = time.perf_counter() + STEP_MS / 1000
        wait(lambda end=end: time.perf_counter() > end)
        most = max(most, process.memory_info().rss)
    timer.stop()
    return Panned(ticks.gaps_ms(ticks.times), ticks.gaps_ms(ticks.work), (most - before) / 2**20)


def _spread(gaps: np.ndarray) -> str:
    return f"median {np.median(gaps):.0f} ms, p99 {np.percentile(gaps, 99):.0f} ms, worst {gaps.max():.0f} ms"


def _there(dock: Any, place: np.ndarray) -> bool:
    """Whether the picture of live scores holds a value at this place of the section in view."""
    layers = dock.live.layers
    shown = [layer for layer in layers.layers if layer.name.startswith("live scores")] if layers is not None else []
    if not shown:
        return False
    world = (*dock._viewer.dims.point[:-2], *place)
    value = shown[0].get_value(world, view_direction=None, dims_displayed=[1, 2], world=True)
    value = value[1] if isinstance(value, tuple) else value
    return value is not None and bool(np.isfinite(value))
