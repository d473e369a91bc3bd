"""What is shown of each detector before it is chosen: a picture of what it finds, and whether it fits the image."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.cascade.jobs import CascadeAbout, peek

SIDE = 64
"""Voxels of a picture's side."""
NEAR = 4.0
"""How many times finer the voxels of an image of the same kind may be; beyond it, it is probably another kind."""
MOST = 12
"""Own cascades that are listed, the newest."""
Match = Literal["fits", "computed", "no", "unknown"]


@dataclass(frozen=True)
class Fit:
    """Whether a detector can read an image, and why in words."""

    match: Match
    line: str


@dataclass(frozen=True)
class Card:
    """A detector: its description, and a picture (y, x) uint8 of what it finds, None if there is none."""

    about: CascadeAbout
    picture: np.ndarray | None = None


def fit(about: CascadeAbout, volume: Volume | None, within: float = 1.25) -> Fit:
    """Whether a level of the volume has the voxel size of the detector, within a factor.

    Coarser voxels can be computed from finer ones; finer voxels than the image has cannot.
    """
    if volume is None:
        return Fit("unknown", "no image is open")
    if not volume.calibrated or about.unit == "pixels":
        both = not volume.calibrated and about.unit == "pixels"
        return Fit("fits", "works in pixels, as this image") if both else Fit("unknown", "the voxel size is unknown")
    for index, level in enumerate(volume.levels):
        if all(1 / within <= ratio <= within for ratio in _ratios(level.voxel_nm, about.voxel_nm)):
            return Fit("fits", f"reads level {index}")
    if all(ratio <= within for ratio in _ratios(volume.levels[0].voxel_nm, about.voxel_nm)):
        return Fit("computed", "reads a level computed from finer voxels")
    return Fit("no", "needs finer voxels than this image has")


def fitting(cards: Mapping[str, Card], volume: Volume) -> str:
    """The detector to begin with: the first that reads a level of the volume, else the first that reads one computed
    from voxels at most `NEAR` times finer; "" if none does, or the voxel size is unknown.
    """
    if not volume.calibrated:
        return ""
    match, finest = {name: fit(card.about, volume).match for name, card in cards.items()}, volume.levels[0].voxel_nm
    fits = [name for name in cards if match[name] == "fits"]
    computed = [name for name in cards if match[name] == "computed"]
    near = [name for name in computed if min(_ratios(finest, cards[name].about.voxel_nm)) >= 1 / NEAR]
    return next(iter(fits + near), "")


def _ratios(have: FVec3, wanted: FVec3) -> list[float]:
    return [a / b for a, b in zip(have, wanted, strict=True)]


def own_job(folder: Path) -> Job[dict[str, Path]]:
    """Cascades that the user trained, in the folder of results, the newest first: folder by name."""
    yield Progress(0, 0, "listing cascades")
    found = sorted(folder.glob("*/cascade.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    own: dict[str, Path] = {}
    for path in found[:MOST]:
        with suppress(ConnectoError):
            own[f"{peek(path.parent).name} ({path.parent.name})"] = path.parent
    return own


def cards_job(folders: Mapping[str, Path]) -> Job[dict[str, Card]]:
    """The cards of these folders, by name; those that cannot be read are left out."""
    from napari_connecto.sample_data import list_cascades  # with the readers of files: not for the opening of a dock

    yield Progress(0, len(folders), "reading cascades")
    shipped, cards = set(list_cascades().values()), {}
    for name, folder in folders.items():
        with suppress(ConnectoError):
            about = peek(folder)
            cards[name] = Card(about, _picture(about) if folder in shipped else None)
    return cards


def _picture(about: CascadeAbout) -> np.ndarray | None:
    """The largest object of the sample that a shipped cascade was trained on, and what is around it."""
    from napari_connecto.sample_data import SAMPLES, open_sample

    sample = about.trained_on
    if sample not in SAMPLES:
        return None
    labels, image = open_sample(sample, SAMPLES[sample][0]).levels[-1], open_sample(sample).levels[0]
    ids = np.asarray(labels.read(labels.box))
    sizes = np.bincount(ids.ravel())
    sizes[0] = 0
    centre = np.argwhere(ids == int(sizes.argmax())).mean(axis=0)
    z, y, x = image.to_voxels(labels.to_nm(centre)).astype(int)
    high, wide = image.shape[1:]
    top, left = min(max(0, y - SIDE // 2), high - SIDE), min(max(0, x - SIDE // 2), wide - SIDE)
    crop = image.read(Box(vec3((z, top, left)), vec3((z + 1, top + SIDE, left + SIDE))))[0].astype(np.float32)
    low, top_value = np.percentile(crop, (1, 99.5))
    return np.asarray(np.clip((crop - low) / max(1e-6, top_value - low), 0, 1) * 255, np.uint8)
