"""Whether a volume's membranes have the contrast, dark or bright, that a boundary model expects.

Membranes are thin. Top hats (Meyer 1979) show whether thin structures of an image are darker or brighter than their
surroundings, and the model's predicted boundary shows which of the two it follows: a model of dark membranes keeps
following dark lines in an inverted image. Neither needs a label or an image of the training data.
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
"""Approximate cost of the check, in calls of the model; used for progress only."""
SIGMA, WIDTH = 1.0, 5
"""Blur before, and extent of the top hats, voxels of the model: thin is what is narrower than five voxels."""
FAINT, LOOSE = 0.02, 0.05
"""Below either of these the contrast is undecided: `Contrast.lines` of an image, `Contrast.follows` of a model."""


@dataclass(frozen=True)
class Contrast:
    """Contrast of thin structures in an image and of a model's boundaries, and how intensities reach the model.

    Parameters
    ----------
    lines
        (dark - bright) / (dark + bright), sums of black and white top hats: 1 if all thin structures are dark, -1 if
        bright. Inverting the image changes the sign.
    follows
        Mean correlation of the model's boundary with dark less bright: above 0 it follows dark lines.
    low, high
        1st and 99th percentile of the patches.
    scaled
        The same two after the model's normalisation.
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
        """Whether the model follows the opposite kind of lines to the image's."""
        return abs(self.lines) > FAINT and abs(self.follows) > LOOSE and self.lines * self.follows < 0

    @property
    def narrow(self) -> bool:
        """Whether the image reaches the model with hardly any contrast, or far outside the 0..1 it was trained on."""
        low, high = self.scaled
        return high - low < 0.2 or low < -1.0 or high > 2.0

    def verdict(self) -> str:
        """Whether the image looks inverted to the model, and why, in words; "" if not."""
        here, there = ("dark", "bright") if self.lines > 0 else ("bright", "dark")
        said = f"the contrast of '{self.name}' looks inverted: its thin structures are {here}, '{self.model}' expects"
        return f"{said} {there} membranes" if self.inverted else ""

    def loss(self) -> str:
        """Whether intensities reach the model outside its training range, and what helps; "" if not."""
        low, high = self.scaled
        said = (
            f"'{self.name}' ({self.dtype}, values {self.low:g} to {self.high:g}) reaches '{self.model}' as {low:.2g} "
            f"to {high:.2g}, but it expects 0 to 1: rescale the image to the full range of its type first"
        )
        return said if self.narrow else ""

    def notices(self) -> list[str]:
        """Notices for the command line, one sentence each; [] if there are none."""
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
        raise InputError(
            f"found no patch of {shape} voxels with tissue in '{volume.name}'; choose a region with tissue"
        )
    hats, follows, values = [], [], []
    for n, box in enumerate(boxes):
        yield Progress(n, len(boxes), "checking the contrast")
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
    """Notices about a volume's contrast before a long job; each sentence is also reported as a stage.

    [] if there are none, or if no patch contains tissue.
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
    """How much darker, and how much brighter, thin structures are than their surroundings, per pixel; both (y, x)."""
    smooth = gaussian_filter(section, SIGMA)
    return grey_closing(smooth, (WIDTH, WIDTH)) - smooth, smooth - grey_opening(smooth, (WIDTH, WIDTH))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
