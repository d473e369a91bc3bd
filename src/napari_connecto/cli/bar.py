"""The bar on a terminal: one for a whole job, with what is being done and the time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from napari_connecto.core.jobs import Progress
from napari_connecto.core.phases import Watch, left_text

STEPS = 1000
EACH_S = 0.1
"""A line is drawn again after this time at most as often, and whenever something else is done."""


class Bar:
    """One line on stderr while the context lasts; nothing where that is no terminal."""

    def __enter__(self) -> Bar:
        from tqdm import tqdm

        self._watch, self._stage, self._drawn = Watch(), "", 0.0
        look = "{percentage:3.0f} %|{bar:25}| {desc}"
        self._line = tqdm(total=STEPS, file=sys.stderr, disable=None, bar_format=look, dynamic_ncols=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line.refresh()
        self._line.close()

    def show(self, progress: Progress) -> None:
        """Draw a report."""
        self._watch.see(progress)
        self._line.n = round(STEPS * (self._watch.share or 0.0))
        count = f" {progress.done}/{progress.total}" if progress.total else ""
        self._line.set_description_str(f"{progress.stage}{count}{left_text(self._watch.left_s)}", refresh=False)
        if progress.stage != self._stage or time.monotonic() - self._drawn > EACH_S:
            self._stage, self._drawn = progress.stage, time.monotonic()
            self._line.refresh()
