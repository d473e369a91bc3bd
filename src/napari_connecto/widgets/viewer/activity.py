"""A job's line in napari's activity dock."""

from __future__ import annotations

from napari.resources import LOADING_GIF_PATH
from napari.utils import cancelable_progress
from qtpy.QtWidgets import QApplication, QLabel

from napari_connecto.core.jobs import Progress
from napari_connecto.core.phases import share_of

STEPS = 100
SPINNER = 10
"""Speed of napari's activity spinner, per cent: 3 frames a second, not 35. Qt draws the whole window for each, which
takes one of two cores where there is no graphics card.
"""


def open_line(name: str) -> cancelable_progress:
    """Add a line for a job; it can be cancelled there, too."""
    line = cancelable_progress(total=0, desc=name)
    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            if (movie := label.movie()) is not None and movie.fileName() == LOADING_GIF_PATH:
                movie.setSpeed(SPINNER)
    return line


def show_line(line: cancelable_progress, name: str, progress: Progress) -> None:
    """Show a job's progress in its line."""
    share = share_of(progress)
    total = 0 if share is None or (share == 0 and not progress.total) else STEPS
    if line.total != total:
        line.reset(total=total)
    text = f"{name}: {progress.stage}" if progress.stage else name
    if line.desc != f"{text}: ":  # as tqdm stores it; each change lays out the activity dock again
        line.set_description(text)
    line.update(max(0, round(STEPS * (share or 0)) - line.n))
