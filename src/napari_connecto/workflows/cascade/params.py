"""Params of searching with a cascade and of training one; loads no torch, so that forms and ``--help`` are fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from napari_connecto.core.params import check, param
from napari_connecto.core.predict import OnBadChunk


@dataclass(frozen=True)
class DetectParams:
    """How a cascade searches."""

    target_recall: float = param(
        0.99, "Share of the objects found by an exhaustive search that the cascade must find too.", low=0.5, high=0.9999
    )
    threshold: float | None = param(
        None,
        "Probability above which a voxel belongs to an object; empty: the best on held-out objects.",
        low=0.1,
        high=1.0,
    )
    exhaustive: bool = param(False, "Exhaustive search: classify every chunk of the finest level, for comparison.")
    force_cascade: bool = param(
        False,
        "Use the cascade even where an exhaustive search is expected to be faster; no effect if Exhaustive is set.",
        advanced=True,
    )
    audit: int = param(
        300,
        "Number of rejected chunks to re-examine at the finest level, for a bound on what was missed; 0: none.",
        low=0,
    )
    audit_bound: float | None = param(
        None,
        "Re-examine as many rejected chunks as it takes to show that at most this share was missed; empty: the number "
        "above.",
        low=0.001,
        high=1.0,
    )
    on_bad_chunk: OnBadChunk = param(
        "fail", "What to do with damaged chunks and NaN.", choices=get_args(OnBadChunk), advanced=True
    )
    batch: int | None = param(None, "Tiles per forward pass; empty: timed.", low=1, high=1024, advanced=True)
    ood_check: str = param(
        "warn",
        "Out-of-distribution check: compare a sample of tissue with the training data, and warn if it looks different.",
        choices=("warn", "off"),
        advanced=True,
        old=("gate",),
    )
    seed: int = param(0, "Random seed of the audit sample.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)

    def audit_size(self, needed: Callable[[float], int]) -> int:
        """Chunks to re-examine; ``needed`` says how many a bound takes."""
        return self.audit if self.audit_bound is None else needed(self.audit_bound)

    @property
    def damaged(self) -> bool:
        """Whether the volume may be damaged: bad chunks do not end the search."""
        return self.on_bad_chunk != "fail"


@dataclass(frozen=True)
class TrainParams:
    """How a cascade is trained; every size that is 0 or empty is chosen from the data."""

    name: str = param("cascade", "Name of the objects; also of the folder and the outputs.")
    head: str = param("masks", "Predict masks, or only centres (touching round objects).", choices=("masks", "centres"))
    dims: str = param(
        "auto",
        "2-D, 2.5-D (a section with its neighbours), 3-D, or by the shape of the voxels.",
        choices=("auto", "2d", "2.5d", "3d"),
    )
    levels: int = param(0, "Number of levels, finest included; 0: all that help.", low=0, high=6, zero="all that help")
    tile: tuple[int, int, int] | None = param(
        None, "Chunk shape (z y x), the same on every level.", unit="voxels", low=1, high=1024, advanced=True
    )
    encoder: str = param(
        "small", "'small' (a U-Net), or an encoder of segmentation_models_pytorch (2-D, 2.5-D).", advanced=True
    )
    encoder_weights: str = param(
        "",
        "Start the encoder from published weights: 'imagenet' (see `models encoders`), or a file of weights "
        "(safetensors, state dict); empty: random weights.",
        advanced=True,
    )
    width: int = param(8, "Channels of the first layer.", low=2, high=64, advanced=True)
    budget: str = param(
        "standard",
        "Time for training: quick 1 minute, standard 5, best 20; shorter if all steps are done earlier.",
        choices=("quick", "standard", "best"),
    )
    steps: int = param(0, "Training steps per level; 0: by the budget.", low=0, high=100_000, zero="by the budget")
    batch: int = param(4, "Samples per step.", low=1, high=64, advanced=True)
    calls: int = param(
        0,
        "With a detector: number of its calls that train the coarse levels; 0: set by the budget.",
        low=0,
        high=10**6,
        zero="by the budget",
    )
    diameter_nm: float = param(
        0.0,
        "Typical object diameter; 0: measured on the labels (required for points).",
        unit="nm",
        low=0,
        zero="from the labels",
    )
    validation: float = param(
        0.35, "Share of the labelled objects held out to measure rates.", low=0.1, high=0.6, advanced=True
    )
    unlabelled: str = param(
        "auto",
        "Treat unlabelled voxels as background (all objects are labelled) or as unknown (only some are). auto: "
        "unknown after a review, where only accepted and rejected detections count, outside a reviewed region, and "
        "between the labelled sections where only single ones are labelled; else background.",
        choices=("auto", "background", "unknown"),
    )
    background_label: int = param(
        0, "Label of background, if 0 means unlabelled; 0: background has no label of its own.", low=0, advanced=True
    )
    object_label: int = param(
        0, "Label of the objects; 0: every label except 0 and that of background.", low=0, advanced=True
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)

    def sparse(self, *, reviewed: bool) -> bool:
        """Whether unlabelled voxels are unknown; ``reviewed``: the labels come from a review."""
        return self.unlabelled == "unknown" or (self.unlabelled == "auto" and reviewed)
