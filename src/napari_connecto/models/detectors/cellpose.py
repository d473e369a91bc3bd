"""Cellpose as a detector: the extra ``cellpose``, whose weights Cellpose fetches itself.

Stringer, Wang, Michaelos, Pachitariu, Nature Methods 2021; Pachitariu, Rariden, Stringer, bioRxiv 2025 (Cellpose-SAM).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, ClassVar

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.params import check, param

PIXELS = 30
"""Width of an object that Cellpose was trained at."""


@dataclass(frozen=True)
class Cellpose:
    """Cells or nuclei by a pretrained Cellpose model, section by section."""

    model: str = param("cpsam", "Name of a Cellpose model.")
    diameter_nm: float = param(0.0, "Typical diameter of an object; 0: 30 pixels.", unit="nm", low=0)
    flow_threshold: float = param(0.4, "Maximum flow error of an object.", low=0.0, high=10.0)
    cellprob_threshold: float = param(
        0.0, "Threshold on the cell probability (as a logit); lower finds more and larger objects.", low=-6.0, high=6.0
    )
    gpu: bool = param(True, "Use a GPU where there is one.")

    answers: ClassVar[str] = "labels"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check(self)

    def reads(self, voxel_nm: FVec3, shape: Vec3) -> dict[str, Any]:
        """Sections, with two diameters around a tile."""
        halo = min(256, ceil(2 * (self.diameter_nm / voxel_nm[1] or PIXELS)))
        return {"tile": (1, 512, 512), "halo": (0, halo, halo)}

    def __call__(self, image: np.ndarray, voxel_nm: FVec3) -> np.ndarray:
        """Instances (1, y, x)."""
        network = _network(self.model, self.gpu)
        masks = network.eval(
            image[0],
            diameter=self.diameter_nm / voxel_nm[1] or None,
            flow_threshold=self.flow_threshold,
            cellprob_threshold=self.cellprob_threshold,
            normalize=False,  # the whole volume's range is 0 to 1 already: tiles must not differ in brightness
        )[0]
        return np.asarray(masks)[None].astype(np.int32)


@lru_cache(maxsize=1)
def _network(model: str, gpu: bool) -> Any:
    """Loaded once in a process; Cellpose downloads the weights the first time."""
    try:
        from cellpose import core, models
    except ImportError as error:
        raise ModelError(f"Cellpose is not installed ({error}); pip install napari-connecto[cellpose]") from error
    if model not in models.MODEL_NAMES:  # a path would be a file that a cascade from elsewhere names
        raise ModelError(f"Cellpose has no model '{model}'; allowed: {', '.join(models.MODEL_NAMES)}")
    return models.CellposeModel(gpu=gpu and bool(core.use_gpu()), pretrained_model=model)
