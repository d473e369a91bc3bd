"""Degraded inputs from which a judge learns: blur, noise, and contrast, by `workflows.shared.degrade`."""

from __future__ import annotations

import numpy as np

from napari_connecto.workflows.shared.degrade import CENTRES, coloured, filtered

FAMILIES = ("blur", "noise", "grain", "contrast")


def degraded(image: np.ndarray, family: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A scaled image, worse.

    Parameters
    ----------
    image
        (..., y, x), scaled so that 0 and 1 are its dark and bright end.
    family
        "blur": high frequencies fade; "noise": white; "grain": noise correlated over some voxels; "contrast": towards
        grey, with a shift of brightness.
    strength
        0 (nothing) to 1 (hardly recognisable).
    rng
        Of noise and brightness.

    Returns
    -------
    np.ndarray
        float32, of the same shape.
    """
    if family == "blur":
        cut = 0.25 * (1 - strength) ** 2 + 0.015
        changed = filtered(image, np.exp(-((CENTRES / cut) ** 2)))
    elif family in ("noise", "grain"):
        power = np.ones_like(CENTRES) if family == "noise" else np.exp(-((CENTRES / rng.uniform(0.06, 0.2)) ** 2))
        noise = coloured(rng.standard_normal(image.shape), power)
        changed = image + 0.6 * strength * noise / noise.std()
    elif family == "contrast":
        middle = rng.uniform(-0.3, 1.3)
        changed = middle + (image - middle) * (1 - 0.9 * strength)
    else:
        raise ValueError(f"got family {family!r}; known: {', '.join(FAMILIES)}")
    return np.asarray(changed, np.float32)
