"""What is segmented raw and translated, and the job that does both; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets._adapt_train_jobs import Segmenting, segmenting_job
from napari_connecto.widgets._translate_jobs import Translating

if TYPE_CHECKING:
    from napari.layers import Layer


@dataclass(frozen=True)
class Source:
    """What is translated, and from where."""

    image: Layer
    finest: Level
    what: Translating
    complete: bool

    @property
    def out(self) -> Path:
        """The translation's folder."""
        return self.what.out


def both_job(tasks: Sequence[Segmenting]) -> Job[tuple[Volume, Volume]]:
    """Segment one after the other; stages say which."""
    made = []
    for name, task in zip(("X-ray", "EM-like"), tasks, strict=True):
        job = segmenting_job(task)
        try:
            while True:
                progress = next(job)
                yield replace(progress, stage=f"{name}: {progress.stage}", payload=None)
        except StopIteration as end:
            made.append(end.value)
        finally:
            job.close()
    return made[0], made[1]


def inside(view: Box, finest: Level, volume: Volume) -> Box:
    """A box of a layer's finest level in voxels of a volume's, clipped."""
    level = volume.levels[0]
    return finest.box_in(view, level).clip(level.shape)


def part(volume: Volume, box: Box) -> Volume:
    """A part of the finest level, read into memory."""
    from napari_connecto.workflows.examples import crop

    level = crop(volume.levels[0], box)
    metadata = {**volume.metadata, "revision": f"{box.start} to {box.stop}"}
    return replace(volume, levels=(level,), metadata=metadata)
