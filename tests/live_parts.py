"""Looking at live views without a viewer."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_connecto.compute.live.job import Asked, Seen, live_job
from napari_connecto.compute.live.mosaic import Picture
from napari_connecto.compute.live.work import LiveWork
from napari_connecto.core.geometry import Box


def watch(work: LiveWork, *views: Box) -> Any:
    """Look at views one after the other until each is complete, then close; what was derived last."""
    asked = Asked()
    job, derived = live_job(work, asked), None
    for view in views:
        asked.look(view)
        for progress in job:
            seen = progress.payload
            if isinstance(seen, Seen):
                derived = seen.derived if seen.derived is not None else derived
                if seen.complete and seen.view == view and progress.done == progress.total > 0:
                    break
    job.close()
    return derived


def whole(picture: Picture) -> np.ndarray:
    """All of a picture on its finest grid."""
    grid = picture.grids[0]
    return picture.mosaic.read(grid, [np.arange(n) for n in grid.shape])
