"""Whether a volume's membranes are as dark, or as bright, as a boundary model expects them.

Membranes are thin. Top hats (Meyer 1979) say whether what is thin in an image is darker or brighter than what is around
it, and what the model calls boundary says which of the two it looks for: a model of dark membranes goes on following
dark lines in an image that is inverted. Neither needs a label or an image of what the model learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, grey_closing, grey_opening

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.views.pedestal import percentiles
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.shared.whole import boundary_of

PATCHES, SIZE = 4, 256
CALLS = 8
"""What looking takes in calls of the model on tiles of its own, about: it shares out the bar."""
SIGMA, WIDTH = 1.0, 5
"""Blur before, and extent of the top hats, voxels of the model: what is narrower than five voxels is thin."""
FAINT, LOOSE = 0.02, 0.05
"""Below one of these no side is taken: `Contrast.lines` of an image, and `Contrast.follows` of a model."""


@dataclass(frozen=True)
class Contrast:
    """What is thin in an image, what a model takes for boundary, and how values reach the model.

    Parameters
    ----------
    lines
        (dark - bright) / (dark + bright), sums of black and white top hats: 1 all thin structures are dark, -1 bright.
        Inverting the image turns the sign.
    follows
        Mean correlation of the model's boundary with dark less bright: above 0 it looks for dark lines.
    low, high
        1st and 99th percentile of the patches.
    scaled
        The same two as the model sees them, after its normalisation.
    """

    name: str
    model: str
    dtype: str
    lines: float
    follows: float
    low: float
    high: float
    scaled: tuple[float, float]

    @property
    def inverted(self) -> bool:
        """Whether the model looks for the other kind of lines than the image has."""
        return abs(self.lines) > FAINT and abs(self.follows) > LOOSE and self.lines * self.follows < 0

    @property
    def narrow(self) -> bool:
        """Whether the image reaches the model with hardly any contrast, or far from the 0..1 it learnt on."""
        low, high = self.scaled
        return high - low < 0.2 or low < -1.0 or high > 2.0

    def verdict(self) -> str:
        """Whether the image looks inverted to the model, and why, in words; "" if not."""
        here, there = ("dark", "bright") if self.lines > 0 else ("bright", "dark")
        said = f"the contrast of '{self.name}' looks inverted: its thin structures are {here}, '{self.model}' looks for"
        return f"{said} {there} membranes" if self.inverted else ""

    def loss(self) -> str:
        """Whether the image reaches the model in a range it did not learn on, and what helps; "" if not."""
        low, high = self.scaled
        said = (
            f"'{self.name}' ({self.dtype}, values {self.low:g} to {self.high:g}) reaches '{self.model}' as {low:.2g} "
            f"to {high:.2g}, and it expects 0 to 1: rescale the image to the full range of its type first"
        )
        return said if self.narrow else ""

    def notices(self) -> list[str]:
        """What a user of the command line should know, a sentence each; [] where all is well."""
        how = "; use it inverted (--invert, in a recipe's volume 'invert: true')"
        return [self.verdict() + how] * self.inverted + [self.loss()] * self.narrow

    def figures(self) -> dict[str, Any]:
        """JSON."""
        return {"lines": self.lines, "follows": self.follows, "inverted": self.inverted, "narrow": self.narrow}


def contrast_job(volume: Volume, model: Predictor, *, seed: int = 0) -> Job[Contrast]:
    """Look at a few tissue patches of a volume with a boundary model.

    Parameters
    ----------
    volume
        Image with a voxel size.
    model
        Of boundaries, see `fine_tune`.
    seed
        Of the patches' places.

    Raises
    ------
    InputError
        If no patch holds tissue.
    VoxelSizeError
        If the volume is too coarse or too fine for the model.
    """
    level, scaling = fitting_level(volume, model.card), model.card.normalisation.resolve(volume)
    shape = vec3([1, *(min(SIZE, n) for n in level.shape[1:])])
    boxes = candidates(level, shape, PATCHES, seed).boxes
    if not boxes:
        raise InputError(f"got no patch of {shape} voxels with tissue in '{volume.name}'; choose a region with tissue")
    hats, follows, values = [], [], []
    for n, box in enumerate(boxes):
        yield Progress(n, len(boxes), "looking at the contrast")
        image = np.asarray(level.read(box))
        seen = scaling(image)
        dark, bright = thin(seen[0])
        hats.append((float(dark.mean()), float(bright.mean())))
        follows.append(_correlation(dark - bright, boundary_of(model, seen)[0]))
        values.append(image.ravel())
    black, white = np.sum(hats, axis=0)
    base, ends = percentiles(np.concatenate(values), [1, 99])
    low, high = (base + end for end in ends)
    scaled = (np.array(ends) + (base - scaling.base) - scaling.offset) / scaling.scale
    return Contrast(
        volume.name,
        model.card.name,
        str(volume.levels[0].dtype),
        float((black - white) / max(black + white, 1e-12)),
        float(np.mean(follows)),
        low,
        high,
        (float(scaled[0]), float(scaled[1])),
    )


def notices_job(volume: Volume, model: Predictor) -> Job[list[str]]:
    """What a user should know of a volume's contrast before a long job; each sentence is also reported as a stage.

    [] where all is well, or where nothing can be said because no patch holds tissue.
    """
    try:
        found = yield from contrast_job(volume, model)
    except InputError:
        return []
    told = found.notices()
    for sentence in told:
        yield Progress(1, 1, sentence)
    return told


def thin(section: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much darker, and how much brighter than its surroundings every pixel of thin structures is; both (y, x)."""
    smooth = gaussian_filter(section, SIGMA)
    return grey_closing(smooth, (WIDTH, WIDTH)) - smooth, smooth - grey_opening(smooth, (WIDTH, WIDTH))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
