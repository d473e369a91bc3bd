"""Params of guards; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_connecto.core.params import check, param
from napari_connecto.workflows.shared.em_labels import LabelKind


@dataclass(frozen=True)
class GuardParams:
    """How a guard is fitted to a model."""

    kind: str = param(
        "auto",
        "What the model's answer is: membranes (a boundary map), masks (objects); auto: by the model's task.",
        choices=("auto", "membranes", "masks"),
    )
    label_kind: str = param(
        "instances",
        "Meaning of the labels: instances (0 is membrane or background), membranes (0 is inside), or em: 0 unlabelled, "
        "1 membrane or background, 2 inside, 3 and more instances.",
        choices=get_args(LabelKind),
    )
    false_alarm: float = param(
        0.05, "Share of good tiles, like those of the examples, that may be flagged.", low=0.01, high=0.5
    )
    scenes: int = param(120, "Views of the examples that the model answers for training.", low=8, high=10_000)
    pairs: int = param(900, "Pairs of image and answer that the judge learns from.", low=16, high=100_000)
    steps: int = param(500, "Training steps of the judge.", low=1, high=100_000)
    tiles: int = param(200, "Tiles of the held-out part for calibration.", low=20, high=10_000)
    held_out: float = param(
        0.25,
        "Share of each example, at its far end, kept for calibration; unused if held-out examples are given.",
        low=0.1,
        high=0.5,
    )
    batch: int = param(8, "Pairs per step.", low=1, high=256, advanced=True)
    width: int = param(12, "Channels of the judge's first layer.", low=4, high=64, advanced=True)
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CheckParams:
    """How an answer is checked."""

    places: int = param(10, "Number of worst places to list.", low=1, high=10_000)
    tiles: int = param(
        64, "Tissue tiles for the verdict; the error map covers everything.", low=8, high=100_000, advanced=True
    )
    seed: int = param(0, "Random seed of these tiles.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)
