"""Docks whose jobs are disturbed, and a monkey in each of them: a table for docs/reliability.md.

``xvfb-run -a -s "-screen 0 1366x768x24" python -m benchmarks.gui_faults [--tries N] [--actions N] [--seeds N]`` starts
each job of each dock in a real viewer and does each of `tests.widgets.faults` to it; then, a seed at a time and in a
process of its own (Mesa's software OpenGL crashes where one process has had some forty viewers), a monkey clicks,
types and pulls at random. Wrong is an exception in the event loop, a job that neither ends nor says why, and a thread
or widget that is left. It ends with exit code 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
from tests import adapt_parts
from tests.widgets.faults import FAULTS, disturbed
from tests.widgets.monkey import Monkey, Scene, close, scenes, threads, turn, until, widgets

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=1, help="of each fault, with each job")
    parser.add_argument("--actions", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--play", nargs=2, metavar=("DOCK", "SEED"), help="one monkey only, no table")
    asked = parser.parse_args()
    faulthandler.enable()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gui-faults-") as folder:
        os.environ["HOME"] = folder
        napari.settings._CFG_PATH = f"{folder}/settings.yaml"  # nobody's preferences are read or changed
        os.chdir(folder)
        docks = scenes(Path(folder), adapt_parts.library(Path(folder) / "library", steps=1))
        if asked.play:
            name, seed = asked.play
            tried(partial(_played, scene=docks[name], name=name, actions=asked.actions, seed=int(seed)), name, wrong)
            sys.exit(bool(wrong))
        print("| fault | tries | outcome |\n|---|---:|---|", flush=True)
        for fault in FAULTS:
            cases = [(name, job) for name, scene in docks.items() for job in scene.jobs] * asked.tries
            told = Counter(
                tried(partial(_hurt, scene=docks[name], name=name, job=job, fault=fault), f"{fault}, {job}", wrong)
                for name, job in cases
            )
            print(f"| {fault}, {len(cases) // asked.tries} kinds of job | {len(cases)} | {_words(told)} |", flush=True)
    for name in docks:
        ends = [_in_a_process_of_its_own(name, n, asked.actions) for n in range(asked.seeds)]
        wrong += [f"{name}, seed {n}: exit code {end}" for n, end in enumerate(ends) if end]
        told = Counter("wrong" if end else "no exception, no thread and no widget left" for end in ends)
        print(f"| {asked.actions} random actions in '{name}' | {asked.seeds} | {_words(told)} |", flush=True)
    sys.exit(bool(wrong))


def _in_a_process_of_its_own(name: str, seed: int, actions: int) -> int:
    command = [sys.executable, "-m", "benchmarks.gui_faults", "--play", name, str(seed), "--actions", str(actions)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def tried(case: Callable[[napari.Viewer], str], title: str, wrong: list[str]) -> str:
    """What became of a case in a viewer of its own: a few words, "wrong" if anything is."""
    caught: list[str] = []
    sys.excepthook = lambda *error: caught.append("".join(traceback.format_exception(*error)))
    viewer = napari.Viewer()
    try:
        told = case(viewer)
        if hasattr(viewer.window, "_qt_window"):  # a closed viewer has none
            viewer.close()
        turn(0.1)
        until(lambda: threads() == [], "a thread is left")
    except Exception:  # noqa: BLE001 - one case must not end the others
        told = "wrong"
        caught.append(traceback.format_exc())
    for line in caught:
        print(f"wrong: {title}: {line}", file=sys.stderr, flush=True)
    wrong += caught
    return "wrong" if caught else told


def _hurt(viewer: napari.Viewer, scene: Scene, name: str, job: str, fault: str) -> str:
    told = disturbed(viewer, scene, name, job, FAULTS[fault])
    if "ended before" in told:
        return "ended before anything was done to them"
    assert told in ("done", "cancelled") or told.startswith("said: "), told
    return {"done": "went on to their end", "cancelled": "were cancelled"}.get(told, "ended with a line that says why")


def _played(viewer: napari.Viewer, scene: Scene, name: str, actions: int, seed: int) -> str:
    dock = scene.shown(viewer, name)
    monkey = Monkey(viewer, dock, seed)
    monkey.play(actions)
    close(viewer, dock)
    del dock, monkey
    until(lambda: threads() == [], "a job outlives its dock")
    assert widgets() == [], widgets()
    return "no exception, no thread and no widget left"


def _words(told: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in told.most_common())


if __name__ == "__main__":
    main()
