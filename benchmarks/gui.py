"""Does the viewer stay alive? ``xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/gui.py``; three minutes

A real viewer with the shipped sample and its cascade. A timer of 5 ms ticks in the event loop all the time; the longest
time without a tick is the longest stall. Clicks are real clicks on the dock's buttons.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import napari
from _gui_live import measure_live
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_connecto.widgets.shared.worker import State

ROUNDS = 3
LIVE_S = 40.0
"""Seconds of panning with Live on."""
NOTES = """
"Processor time" is the viewer's own work in one tick; what the longest stall has above it is waiting for a core, or for
Python's lock. Two threads of the model, software OpenGL (which a graphics card would take over) and the viewer share 2
cores, and other programs where the load average says so; an idle process beside it shows what any program waits.
The first result comes after a few chunks of each coarser level and the first chunk of the finest that holds an object.
"""
Row = tuple[str, str, str]


BESIDE = """
import time
last = time.perf_counter()
while True:
    time.sleep(0.005)
    now = time.perf_counter()
    print((now - last) * 1000, flush=True)
    last = now
"""


@dataclass
class Heart:
    """Remembers the longest time between two ticks of the event loop, and the most work of its thread in one."""

    worst_ms: float = 0.0
    worst_cpu_ms: float = 0.0
    last: float = field(default_factory=time.perf_counter)
    last_cpu: float = field(default_factory=time.thread_time)

    def beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        self.worst_ms, self.last = max(self.worst_ms, (now - self.last) * 1000), now
        self.worst_cpu_ms, self.last_cpu = max(self.worst_cpu_ms, (cpu - self.last_cpu) * 1000), cpu

    def restart(self) -> None:
        self.worst_ms, self.worst_cpu_ms = 0.0, 0.0
        self.last, self.last_cpu = time.perf_counter(), time.thread_time()


class Beside:
    """An idle process that ticks too: what it waits, any program waits on this machine while the job runs."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.process = subprocess.Popen([sys.executable, "-c", BESIDE], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.gaps.append(float(line))


def wait(condition: Callable[[], object], limit_s: float = 300) -> float:
    """Run the event loop until something holds; seconds it took."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > limit_s:
            raise SystemExit(f"waited {limit_s} s in vain; is the machine busy?")
        QApplication.processEvents()
        time.sleep(0.0005)
    return time.perf_counter() - start


def settle(seconds: float) -> None:
    """Run the event loop for a while."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def measure(folder: Path, rounds: int, live_s: float) -> list[Row]:
    """Drive the viewer and measure; rows of what, aim, measured."""
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(1366, 768)
    heart, timer = Heart(), QTimer()
    timer.setInterval(5)
    timer.timeout.connect(heart.beat)
    viewer.open_sample("napari-connecto", "cells")
    wait(lambda: QApplication.instance() is not None)
    start = time.perf_counter()
    _, dock = viewer.window.add_plugin_dock_widget("napari-connecto", "Cascade detection")
    QApplication.processEvents()
    rows: list[Row] = [("dock opened", "< 0.5 s", f"{time.perf_counter() - start:.2f} s")]
    timer.start()
    heart.restart()
    soon = wait(lambda: dock.picture.funnel.rungs)
    loaded = soon + wait(lambda: dock.card.estimate is not None)
    rows.append(("levels and chunks of the search shown (from the cascade's calibration)", "< 3 s", f"{soon:.1f} s"))
    rows.append(("first estimate (loads torch and the cascade, times two tiles a level)", "", f"{loaded:.1f} s"))
    rows.append(("longest stall meanwhile (libraries are loaded, once a session)", "", f"{heart.worst_ms:.0f} ms"))
    first, cancel, stall, work, idle = [], [], [], [], []
    beside = Beside()
    for n in range(rounds):
        dock.options.out.setText(str(folder / f"preview-{n}"))
        first.append(click_preview(dock))
    for n in range(rounds):
        dock.options.out.setText(str(folder / f"run-{n}"))
        heart.restart()
        beside.gaps.clear()
        dock.bar.button.click()
        wait(lambda: dock.results.review is not None and len(dock.results.review.found) > 0)
        dock.bar.button.click()
        cancel.append(wait(lambda: dock.bar.worker.state is State.CANCELLED))
        dock.bar.button.click()
        wait(lambda: dock.bar.worker.state is State.DONE)
        settle(0.3)
        stall.append(heart.worst_ms)
        work.append(heart.worst_cpu_ms)
        idle.append(max(beside.gaps))
    beside.process.kill()
    rows.append(("longest event-loop stall during run, cancel, resume", "< 100 ms", spread(stall, "ms", 0)))
    rows.append(("... processor time of the viewer's thread in one tick", "", spread(work, "ms", 0)))
    rows.append(("... longest wait of an idle process beside it", "", spread(idle, "ms", 0)))
    rows.append(("first result on screen after Preview in view", "< 1 s", spread(first, "s", 2)))
    rows.append(("Cancel to Cancelled", "< 1 s", spread(cancel, "s", 2)))
    dock.options.out.setText(str(folder / "live"))
    rows += measure_live(viewer, dock, wait, live_s)
    viewer.close()
    return rows


def click_preview(dock: object) -> float:
    """Seconds from the click to the first point on screen."""
    start = time.perf_counter()
    dock.preview.click()  # type: ignore[attr-defined]
    wait(lambda: dock.results.review is not None and len(dock.results.review.found) > 0)  # type: ignore[attr-defined]
    QApplication.processEvents()
    seconds = time.perf_counter() - start
    wait(lambda: dock.bar.worker.state is State.DONE)  # type: ignore[attr-defined]
    return seconds


def spread(values: list[float], unit: str, digits: int) -> str:
    """Median and worst."""
    return f"median {statistics.median(values):.{digits}f} {unit}, worst {max(values):.{digits}f} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    parser.add_argument("--machine", default="2-core AMD EPYC (AVX-512) virtual machine", help="named in the table")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--live", type=float, default=LIVE_S, help="seconds of panning with Live on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as folder:
        rows = measure(Path(folder), options.rounds, options.live)
    table = ["| | aim | measured |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    print("\n".join(table))
    if options.write:
        title = "# Does the viewer stay alive?\n\n"
        load = f"load average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"
        how = (
            f'`benchmarks/gui.py` on a {options.machine}, Xvfb (software OpenGL); sample "cells", its shipped cascade, '
            f"{options.rounds} rounds; {load}.\n\n"
        )
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(title + how + "\n".join(table) + "\n" + NOTES, encoding="utf-8")


if __name__ == "__main__":
    main()
