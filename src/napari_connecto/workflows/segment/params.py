"""Params of instance segmentation; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param


@dataclass(frozen=True)
class SegmentParams:
    """How a boundary probability becomes instances. Lengths are in voxels of the finest in-plane axis."""

    mode: str = param(
        "auto",
        "2d: section by section; 2d-linked: then linked across sections; 3d; auto: 3d if voxels are at most 3 times as "
        "deep as wide, else 2d-linked.",
        choices=("auto", "2d", "2d-linked", "3d"),
    )
    boundary_threshold: float = param(0.5, "Boundary probability above which a voxel is boundary.", low=0.0, high=1.0)
    merge_threshold: float = param(
        0.5, "Fragments merge while the mean boundary probability between them is below this.", low=0.0, high=1.0
    )
    min_size: int = param(
        50,
        "Smaller segments (per section in the 2-D modes) are merged across their weakest boundary.",
        unit="voxels",
        low=0,
    )
    seed_distance: float = param(
        1.5, "Smallest distance of a seed from the boundary.", unit="voxels", low=0.0, advanced=True
    )
    smoothing: float = param(
        1.0,
        "Sigma of smoothing distances before seeds are detected; a larger value gives fewer fragments.",
        unit="voxels",
        low=0.0,
        high=50.0,
        advanced=True,
    )
    caution: float | None = param(
        None,
        "3d: the larger both fragments are, the lower the boundary between them must be: added to its mean for each "
        "factor of 2.72 by which the smaller one has more than 1000 voxels, subtracted if it has fewer; empty: 0.01, "
        "and 0 after one direction of a model.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    link: float = param(
        0.25,
        "2d-linked: smallest overlap (intersection over union) of a segment with its best match in the next section.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    link_by: str = param(
        "overlap",
        "2d-linked: overlap alone, or weighted by how free of boundary it is.",
        choices=("overlap", "boundary"),
        advanced=True,
    )
    directions: str = param(
        "auto",
        "In mode 3d, with a model of sections: use sections along z (one), or average over sections along z, y and x "
        "(three: 4 times the cost or more); auto: three if voxels are at most 3 times as deep as wide.",
        choices=("auto", "one", "three"),
        advanced=True,
    )
    volumetric: bool = param(
        True,
        "In three directions, average with the model's volumetric companion, if it has one and voxels are at most 1.5 "
        "times as deep as wide.",
        advanced=True,
    )
    flips: bool = param(
        False,
        "In three directions, also run the model on flipped input and average (test-time augmentation): 4 to 5 times "
        "the cost, and cancelling takes longer.",
        advanced=True,
    )
    grid: str = param(
        "image",
        "Voxel grid of the labels: the image's own, or the one read by the model.",
        choices=("image", "model"),
        advanced=True,
    )
    block: tuple[int, int, int] | None = param(
        None, "Block shape (z y x); empty: by the mode.", unit="voxels", low=1, high=4096, advanced=True
    )
    halo: tuple[int, int, int] | None = param(
        None, "Halo of a block; empty: by the mode.", unit="voxels", low=0, high=512, advanced=True
    )

    def __post_init__(self) -> None:
        check(self)
