"""Params of explaining a miss and of an attack; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param


@dataclass(frozen=True)
class MissedParams:
    """How a miss is traced to stages and channels."""

    tiles: int = param(2, "Largest number of tiles with painted pixels to use; the most painted come first.", low=1)
    exact: int = param(
        30,
        "Highest-ranked channels to replace one by one, and as many random ones, to check the ranking; for direct "
        "effects a third of it.",
        low=3,
        high=10_000,
    )
    draws: int = param(3, "Random orders that the ranking is compared with.", low=1, high=100, advanced=True)
    output: str = param("", "Output of the model whose logits count; empty: the first.", advanced=True)
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class AttackParams:
    """How a channel's pattern is put where it does not belong."""

    side: int = param(15, "Diameter of the disc that is put into other places, voxels.", low=3, high=255)
    places: int = param(24, "Largest number of places, where none are given.", low=1, high=10_000)
    controls: int = param(5, "Random channels of the same stage, as controls.", low=1, high=1000, advanced=True)
    seed: int = param(0, "Random seed of the controls.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)
