"""Small pictures of what models answer: segments in colour over the image; no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Ranking

SIDE = 84
"""Pixels of a picture."""
COLOURS = np.array(
    [(86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)], float
)
"""Okabe and Ito's, without black."""
OPACITY = 0.45


def coloured(image: np.ndarray, labels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Segments over an image.

    Parameters
    ----------
    image, labels
        (y, x), of one shape. 0 is no segment.
    side
        The middle square of this many pixels is kept, each the voxel nearest its centre, of at most three voxels.

    Returns
    -------
    numpy.ndarray
        RGB uint8 (y, x, 3), stretched to the contrast of the image; outlines of segments are dark.
    """
    step = max(1, min(3, -(-min(image.shape) // side)))
    height, width = (min(n, side * step) for n in image.shape)
    y, x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    seen = (slice(y, y + height, step), slice(x, x + width, step))
    grey, found = image[seen].astype(float), labels[seen]
    low, high = np.percentile(grey, [1, 99])
    grey = np.clip((grey - low) / max(high - low, 1e-12), 0, 1)[..., None] * 255
    tint = COLOURS[(found.astype(np.int64) * 2654435761 >> 7) % len(COLOURS)]
    mixed = np.where((found > 0)[..., None], (1 - OPACITY) * grey + OPACITY * tint, grey)
    edge = np.zeros(found.shape, bool)
    edge[:-1] |= found[:-1] != found[1:]
    edge[:, :-1] |= found[:, :-1] != found[:, 1:]
    return np.rint(np.where(edge[..., None], 0.4 * mixed, mixed)).astype(np.uint8)


def answer_picture(ranking: Ranking, name: str, place: int) -> np.ndarray | None:
    """What a model answered at a place, RGB; None if it did not."""
    if ranking.places is None or name not in ranking.answers:
        return None
    return coloured(ranking.places.image(place), np.asarray(ranking.answers[name].labels[place]))
