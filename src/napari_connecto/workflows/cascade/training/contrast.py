"""How much the contrast of training patches is changed: where labelled objects differ in contrast, others will too."""

from __future__ import annotations

import cc3d
import numpy as np

from napari_connecto.workflows.cascade.training.samples import Patches

CONTRAST = 2.0
"""Greatest factor by which contrast is raised or lowered."""
VARIED = 0.3
"""Range of the middle half of the objects' contrasts, of their median, from which they differ."""
FEW, SECTIONS = 10, 64
"""Parts of objects that tell at least; sections that are looked at, at most."""


def contrast_factor(train: Patches, held_out: Patches) -> float:
    """`CONTRAST` where the labelled objects differ in contrast, else 1.

    Contrast is the mean intensity of an object's part in a section, above the median of the training part. If all are
    alike, intensity tells objects from others, and a network that must ignore it finds fewer.
    """
    contrasts = np.concatenate([_means(patches) for patches in (train, held_out)]) - float(train.middle.mean())
    if len(contrasts) < FEW:
        return 1.0
    low, middle, high = np.quantile(contrasts, [0.25, 0.5, 0.75])
    return CONTRAST if high - low > VARIED * abs(middle) else 1.0


def _means(patches: Patches) -> np.ndarray:
    """(n,) mean scaled intensity of each connected part in a section, over all channels."""
    found = [np.empty(0)]
    for z in range(0, len(patches.target), max(1, -(-len(patches.target) // SECTIONS))):
        parts = cc3d.connected_components(patches.target[z] >= 128, connectivity=8)
        sizes = np.bincount(parts.ravel())[1:]
        if not sizes.size:
            continue
        _, rows, columns = patches.block.slices
        image = np.asarray(patches.level.array[..., patches.block.start[0] + z, rows, columns])
        image = patches.scaling(image.reshape(-1, 1, *parts.shape)).mean(axis=(0, 1))
        there = sizes > 0  # numbers may have gaps
        found.append(np.bincount(parts.ravel(), image.ravel())[1:][there] / sizes[there])
    return np.concatenate(found)
