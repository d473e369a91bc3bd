"""Pre- and postprocessing of imported models, voxel by voxel: nothing here depends on how a volume is tiled.

Steps that need statistics of the image are left to the card's `Normalisation`, one pair of numbers for a volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import Normalisation

Step = Mapping[str, Any]
POINTWISE = ("binarize", "clip", "ensure_dtype", "fixed_zero_mean_unit_variance", "scale_linear", "sigmoid", "softmax")
DTYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool")
BY_VOLUME = ("scale_range", "zero_mean_unit_variance")


def split(steps: Sequence[Step], axes: str, channels: int) -> tuple[Normalisation, list[dict[str, Any]]]:
    """What of the preprocessing is done once for a volume, and what for each voxel.

    Parameters
    ----------
    steps
        In the terms of the bioimage.io format 0.5, axes by letters.
    axes, channels
        Of the network's input.

    Raises
    ------
    ModelError
        If a step is not supported, by name and reason.
    """
    rest = [dict(step) for step in steps]
    normalisation = Normalisation("none")
    if rest and rest[0]["id"] in BY_VOLUME:
        first = rest.pop(0)
        whole = set(axes) - {"b"} - ({"c"} if channels == 1 else set())
        if first.get("axes") is not None and not whole <= set(first["axes"]):
            raise ModelError(
                f"got the step '{first['id']}' over the axes '{first['axes']}' of '{axes}'; allowed: the whole image"
            )
        normalisation = _for_volume(first)
    return normalisation, pointwise(rest, "preprocessing")


def _for_volume(step: Step) -> Normalisation:
    if step["id"] == "zero_mean_unit_variance":
        return Normalisation("standard")
    return Normalisation("percentile", float(step["min_percentile"]), float(step["max_percentile"]))


def pointwise(steps: Sequence[Step], where: str) -> list[dict[str, Any]]:
    """The steps, if each can be done voxel by voxel.

    Raises
    ------
    ModelError
        If one is not supported here.
    """
    kept: list[dict[str, Any]] = []
    for step in steps:
        name = step.get("id")
        if name in BY_VOLUME or (name == "clip" and (step.get("min_percentile") or step.get("max_percentile"))):
            raise ModelError(
                f"got the step '{name}' by statistics in the {where}; supported is 'scale_range' or "
                "'zero_mean_unit_variance' as the first step on the input"
            )
        if name not in POINTWISE or step.get("axis") not in (None, "c"):
            raise ModelError(
                f"got the step '{name!s:.60}' in the {where}; supported: {', '.join(POINTWISE)} by channel"
            )
        if name == "ensure_dtype" and step.get("dtype") not in DTYPES:
            raise ModelError(f"got the type {step.get('dtype')!s:.20} in the {where}; allowed: {', '.join(DTYPES)}")
        kept.append(dict(step))
    return kept


def dtype_after(steps: Sequence[Step]) -> str:
    """Name of the type that the last step leaves."""
    return str(steps[-1]["dtype"]) if steps and steps[-1]["id"] == "ensure_dtype" else "float32"


def apply(steps: Sequence[Step], image: np.ndarray) -> np.ndarray:
    """The steps on (n, c, z, y, x) float32, in order."""
    for step in steps:
        image = _one(step, image).astype(np.float32, copy=False)
    return image


def _one(step: Step, x: np.ndarray) -> np.ndarray:
    name = step["id"]
    if name == "scale_linear":
        return x * _along(step["gain"]) + _along(step["offset"])
    if name == "fixed_zero_mean_unit_variance":
        return (x - _along(step["mean"])) / _along(step["std"])
    if name == "clip":
        return np.clip(x, step.get("min"), step.get("max"))
    if name == "binarize":
        return x > _along(step["threshold"])
    if name == "ensure_dtype":
        return _whole(x, np.dtype(step["dtype"]))
    if name == "sigmoid":
        return 0.5 * (1 + np.tanh(0.5 * x))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _whole(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values that the type can hold, still float32; what is beyond it goes to its ends."""
    if dtype.kind == "f":
        return x
    if dtype.kind == "b":
        return x != 0
    return np.clip(np.trunc(x), np.iinfo(dtype).min, np.iinfo(dtype).max)


def _along(value: Any) -> np.ndarray:
    """A number, or one per channel."""
    values = np.asarray(value, np.float32)
    return values if values.ndim == 0 else values[:, None, None, None]
