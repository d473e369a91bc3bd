"""Augmentation of EM training patches by MONAI's transforms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from napari_connecto.core.params import check, param
from napari_connecto.models.inference.predictor import one_thread


@dataclass(frozen=True)
class AugmentParams:
    """Probability of each change; 0 leaves it out."""

    elastic: float = param(0.25, "Share of patches with elastic deformation.", low=0, high=1, advanced=True)
    intensity: float = param(0.7, "Share with changed brightness and contrast.", low=0, high=1, advanced=True)
    blur: float = param(0.25, "Share that is blurred.", low=0, high=1, advanced=True)
    noise: float = param(0.25, "Share with added noise.", low=0, high=1, advanced=True)
    missing: float = param(0.1, "Share with a dark band, like a fold or a missing strip.", low=0, high=1, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Augment:
    """Random flips, quarter turns, bends, intensity, blur, noise and missing strips; the same for the same seed.

    The kinds are those in common use for EM.
    """

    params: AugmentParams = AugmentParams()

    @cached_property
    def _transforms(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI warns of its own imports
            from monai import transforms as t

        both, p = ["image", "labels"], self.params
        return t.Compose(
            [
                t.RandFlipd(both, 0.5, 0),
                t.RandFlipd(both, 0.5, 1),
                t.RandRotate90d(both, 0.75),
                t.Rand2DElasticd(
                    both, (24, 24), (0.0, 3.0), prob=p.elastic, mode=["bilinear", "nearest"], padding_mode="reflection"
                ),
                t.RandAdjustContrastd("image", prob=p.intensity / 2, gamma=(0.7, 1.5)),
                t.RandScaleIntensityd("image", 0.25, prob=p.intensity),
                t.RandShiftIntensityd("image", 0.1, prob=p.intensity),
                t.RandGaussianSmoothd("image", (0.3, 1.2), (0.3, 1.2), prob=p.blur),
                t.RandGaussianNoised("image", prob=p.noise, std=0.06),
                t.RandCoarseDropoutd(
                    "image", 1, (12, 4), fill_value=(0.0, 0.2), max_spatial_size=(96, 12), prob=p.missing
                ),
            ]
        )

    def __call__(self, image: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Change one patch.

        Parameters
        ----------
        image, labels
            (y, x), scaled float32, and whole numbers of any type; square.
        seed
            Decides everything.
        """
        transforms = self._transforms
        transforms.set_random_state(seed % 2**32)
        with one_thread(), warnings.catch_warnings():  # threads that fight make it ten times slower (measured)
            warnings.simplefilter("ignore")
            out = transforms({"image": image[None].astype(np.float32), "labels": labels[None].astype(np.float32)})
        return np.asarray(out["image"])[0], np.rint(np.asarray(out["labels"])[0]).astype(labels.dtype)
