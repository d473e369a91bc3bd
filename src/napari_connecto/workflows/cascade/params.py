"""The parameters of each workflow, apart from the workflows so that forms and ``--help`` load no torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param


@dataclass(frozen=True)
class DetectParams:
    """How a cascade searches."""

    target_recall: float = param(
        0.99, "Share of what one level would find that the cascade must find too.", low=0.5, high=0.9999
    )
    threshold: float | None = param(
        None,
        "Probability at which a voxel belongs to an object; empty: the best on held-out objects.",
        low=0.1,
        high=1.0,
    )
    exhaustive: bool = param(False, "Classify every chunk of the finest level: one-level detection, for comparison.")
    audit: int = param(
        300, "Rejected chunks that are run through the finest level to bound what was missed; 0: none.", low=0
    )
    on_bad_chunk: str = param(
        "fail", "What to do with a damaged chunk or NaN.", choices=("fail", "fill", "skip"), advanced=True
    )
    batch: int | None = param(None, "Tiles per forward pass; empty: timed.", low=1, high=1024, advanced=True)
    ood_check: str = param(
        "warn",
        "Out-of-distribution check: compare a sample of tissue with the training data, and warn if it looks different.",
        choices=("warn", "off"),
        advanced=True,
        old=("gate",),
    )
    seed: int = param(0, "Of the audit's sample.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainParams:
    """How a cascade is trained; every size that is 0 or empty is chosen from the data."""

    name: str = param("cascade", "What it finds; names the folder and the outputs.")
    head: str = param(
        "masks", "Objects as masks, or as centres only (touching round objects).", choices=("masks", "centres")
    )
    dims: str = param(
        "auto",
        "2-D, 2.5-D (a section with its neighbours), 3-D, or by the voxels' shape.",
        choices=("auto", "2d", "2.5d", "3d"),
    )
    levels: int = param(0, "Number of levels, finest included; 0: all that help.", low=0, high=6)
    tile: tuple[int, int, int] | None = param(
        None, "Chunk shape (z y x), the same on every level.", unit="voxels", low=1, high=1024, advanced=True
    )
    encoder: str = param(
        "small", "'small' (a U-Net), or an encoder of segmentation_models_pytorch (2-D, 2.5-D).", advanced=True
    )
    width: int = param(8, "Channels of the first layer.", low=2, high=64, advanced=True)
    steps: int = param(300, "Training steps per level.", low=10, high=100_000)
    batch: int = param(4, "Samples per step.", low=1, high=64, advanced=True)
    diameter_nm: float = param(
        0.0, "Typical object diameter; 0: measured on the labels. Points need one.", unit="nm", low=0
    )
    validation: float = param(
        0.35, "Share of the labelled objects held out to measure rates.", low=0.1, high=0.6, advanced=True
    )
    unlabelled: str = param(
        "auto",
        "What unlabelled voxels are: background where all objects are labelled, unknown where only some are. auto: "
        "unknown after a review, where only accepted and rejected detections count, else background.",
        choices=("auto", "background", "unknown"),
    )
    seed: int = param(0, "Of everything random.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)

    def sparse(self, *, reviewed: bool) -> bool:
        """Whether what is not labelled is unknown; ``reviewed``: the labels are of a review."""
        return self.unlabelled == "unknown" or (self.unlabelled == "auto" and reviewed)
