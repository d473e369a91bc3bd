"""Params of what is done with detections; loads no torch, so that forms and ``--help`` are fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_connecto.core.params import check, param
from napari_connecto.core.predict import OnBadChunk


@dataclass(frozen=True)
class MeasureParams:
    """How objects are measured."""

    diameter_nm: float = param(
        0.0,
        "Centres: diameter of the ball in which intensities are measured; 0: the typical diameter of the search.",
        unit="nm",
        low=0,
    )
    on_bad_chunk: OnBadChunk = param(
        "fail",
        "What to do with damaged chunks and NaN: fail, fill (they count as 0), or skip (they do not count).",
        choices=get_args(OnBadChunk),
        advanced=True,
    )

    def __post_init__(self) -> None:
        check(self)
