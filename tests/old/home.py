"""The folder of a user as an older version left it: copied, with its paths and times as that version saw them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

V0_1 = Path(__file__).parent / "v0_1"
HOME = "/home/ann"
"""Stands for the user's folder in the documents that are kept here."""
SECONDS = 1_795_946_400
"""When every file was last changed: results know their input again by size and time of change."""
ANSWERS, CORNER = "answers.npz", 12
"""What the version's networks said, and voxels of it that are kept along each axis."""
DOCUMENTS = (".json", ".jsonl", ".yaml", ".csv")


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def stamp(folder: Path) -> None:
    """Let every file below a folder have been changed at `SECONDS`."""
    for path in files(folder):
        os.utime(path, (SECONDS, SECONDS))


def rename(folder: Path, old: str, new: str) -> None:
    """Write another path for one, in all documents below a folder."""
    for path in files(folder):
        if path.suffix in DOCUMENTS and old.encode() in (data := path.read_bytes()):
            path.write_bytes(data.replace(old.encode(), new.encode()))


def restored(home: Path, folder: Path = V0_1) -> Path:
    """Copy what a version left to ``home``, which does not exist yet; documents and times are as if made there."""
    shutil.copytree(folder, home)
    rename(home, HOME, str(home))
    stamp(home)
    return home


def answers(network: Any) -> dict[str, np.ndarray]:
    """What a model says of noise: a corner (z, y, x) of each output."""
    card = network.card
    size = [tile + 2 * halo for tile, halo in zip(card.tile, card.halo, strict=True)]
    noise = np.random.default_rng(0).random((1, card.channels, *size), np.float32)
    corner = (0, *[slice(0, CORNER)] * 3)
    return {name: np.asarray(answer)[corner] for name, answer in network(noise, [0]).items()}
