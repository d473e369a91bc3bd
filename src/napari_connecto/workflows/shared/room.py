"""Memory and disk space a run needs, and whether this machine has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from napari_connecto.compute.memory import pass_bytes, process_bytes
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.compute.trial import Trial
from napari_connecto.core.model import ModelCard
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.models.inference.device import free_memory


def run_bytes(level: Level, plan: TilePlan, card: ModelCard, trial: Trial | None, batch: int) -> int:
    """Highest memory of this process while a model runs over a level's tiles.

    Based on the trial if one ran here, else on the forward passes in addition to the present memory, and on what the
    pipeline keeps: chunks, tiles read ahead, results waiting to be written.
    """
    calls = trial.calls if trial else 1
    there = trial.peak_bytes if trial else process_bytes() + pass_bytes(card, batch)
    read = int(np.prod(plan.read_shape)) * card.channels * level.dtype.itemsize
    made = int(np.prod(plan.tile)) * len(card.outputs) * 4
    return there + (2 * calls + 1) * batch * (read + made) + min(level.nbytes, ExecuteOptions().cache_bytes)


def room_for(
    memory: int, disk: int, out: str | Path | None, spare: str = "use a smaller batch"
) -> tuple[list[str], bool]:
    """What is lacking, in words, and whether nothing is.

    ``memory`` is that of the whole process, ``out`` the place of the result, ``spare`` the advice for saving memory.
    """
    notes = []
    free = free_memory("cpu")
    more = memory - process_bytes()
    if more > free:
        notes.append(f"Needs another {more / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free: {spare}.")
    folder = Path(out) if out is not None else Path.cwd()
    while not folder.exists():
        folder = folder.parent
    room = shutil.disk_usage(folder).free
    if disk > room:
        notes.append(
            f"Needs up to {disk / 1e9:.1f} GB of disk, but {room / 1e9:.1f} GB are free: choose another folder."
        )
    return notes, not notes
