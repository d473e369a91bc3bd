"""The line of a job in napari's activity dock."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from napari.resources import LOADING_GIF_PATH
from qtpy.QtWidgets import QApplication, QLabel

from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.viewer.activity import SPINNER, open_line, show_line


@pytest.mark.gl
def test_napari_s_sign_of_activity_turns_slowly_while_a_job_runs(own_viewer):
    """For each of its pictures Qt draws the whole window, in the viewer's thread."""
    line = open_line("search")
    labels = [label for window in QApplication.topLevelWidgets() for label in window.findChildren(QLabel)]
    movies = [label.movie() for label in labels if label.movie() is not None]
    speeds = [movie.speed() for movie in movies if movie.fileName() == LOADING_GIF_PATH]
    assert speeds
    assert set(speeds) == {SPINNER}
    line.close()


def test_a_line_shows_the_share_and_the_stage():
    line = open_line("search")
    show_line(line, "search", Progress(0, 0, "loading torch"))
    assert (line.total, line.n, line.desc) == (0, 0, "search: loading torch: ")
    show_line(line, "search", Progress(3, 4, "level 0"))
    assert (line.total, line.n, line.desc) == (100, 75, "search: level 0: ")
    line.close()
