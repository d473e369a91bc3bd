"""Params of making a model smaller; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_connecto.core.params import check, param
from napari_connecto.workflows.shared.em_labels import LabelKind

HOW = ("auto", "channels", "weights")
ORDERS = ("effect", "magnitude", "random")


@dataclass(frozen=True)
class PruneParams:
    """What is removed from a model, and how the rest is retrained and measured."""

    how: str = param(
        "auto",
        "channels: remove whole channels and retrain, which makes a faster model. weights: set single weights to zero "
        "in one pass, which saves no time. auto: channels, unless experts are given.",
        choices=HOW,
    )
    sparsity: float = param(
        0.5, "Share of the channels of each layer, or of its weights, that is removed.", low=0.0, high=0.99
    )
    experts: int | None = param(
        None,
        "weights: pruned copies of each layer, one per cluster of its inputs; 1: one copy.",
        low=1,
        high=64,
    )
    places: int = param(64, "Number of places of the image to learn from; no labels needed.", low=1, high=10_000)
    size: int = param(128, "Side length of a place, voxels of the model.", unit="voxels", low=32, high=1024)
    steps: int = param(800, "channels: retraining steps.", low=0, high=100_000)
    batch: int = param(4, "Places per retraining step.", low=1, high=64, advanced=True)
    learning_rate: float = param(4e-3, "Peak learning rate of retraining.", low=1e-7, high=1.0, advanced=True)
    held_out: float = param(
        0.3, "Share of the image, at its end, that is measured and not learned from.", low=0.05, high=0.9, advanced=True
    )
    order: str = param(
        "effect",
        "channels: remove those of least effect on the output, of smallest weights, or at random.",
        choices=ORDERS,
        advanced=True,
    )
    from_scratch: bool = param(
        False, "channels: retrain the smaller network from random weights, for comparison.", advanced=True
    )
    controls: bool = param(
        True,
        "weights: also measure pruning by magnitude and, with experts, random experts and one copy of equal storage.",
        advanced=True,
    )
    label_kind: LabelKind = param(
        "em",
        "em: 0 unlabelled, 1 membrane, 2 inside, 3.. neurons; instances: 0 is membrane; membranes: 0 is inside.",
        choices=get_args(LabelKind),
        advanced=True,
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)

    @property
    def chosen(self) -> str:
        """channels or weights."""
        if self.how != "auto":
            return self.how
        return "channels" if self.experts is None else "weights"
