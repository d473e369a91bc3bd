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


@dataclass(frozen=True)
class Chosen:
    """Which detections are used; what was rejected in a review never is."""

    min_score: float = param(0.0, "Leave out new detections with a lower score.", low=0, high=1)
    accepted_only: bool = param(False, "Use only objects accepted or added in a review.")


@dataclass(frozen=True)
class RegionParams(Chosen):
    """How detections are counted per region."""

    on_bad_chunk: OnBadChunk = param(
        "fail",
        "Damaged chunks of the regions: fail, or treat them as outside all regions (fill, skip).",
        choices=get_args(OnBadChunk),
        advanced=True,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FieldParams(Chosen):
    """Fields of view of a microscope, and its stage."""

    size: tuple[float, float] = param(
        (200.0, 200.0), "Height and width (y x) of a field of view.", unit="um", low=0.01, high=1e9
    )
    depth: float = param(
        0.0, "Depth of a field of view in z; 0: a stack through the objects in it.", unit="um", low=0, high=1e9
    )
    margin: float = param(10.0, "Margin around each object inside its field.", unit="um", low=0, high=1e9)
    origin: tuple[float, float, float] = param(
        (0.0, 0.0, 0.0), "Stage position (z y x) of the image's origin.", unit="stage units", advanced=True
    )
    scale: tuple[float, float, float] = param(
        (1.0, 1.0, 1.0),
        "Stage units per um (z y x): 0.001 for mm; negative where a stage axis points the other way.",
        advanced=True,
    )

    def __post_init__(self) -> None:
        check(self)
