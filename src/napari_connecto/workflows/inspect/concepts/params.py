"""Parameters of concepts and probe."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param


@dataclass(frozen=True)
class ConceptParams:
    """Which pixels are looked at, and what is fitted to them."""

    pixels: int = param(20_000, "Number of pixels, in all blocks together.", low=500)
    sections: int = param(12, "Number of sections they are drawn from, evenly spaced.", low=1)
    block: int = param(
        64, "Side of the blocks that are used for training, validation or test as a whole.", unit="voxels", low=8
    )
    gap: int = param(8, "Pixels of two blocks are at least this far apart.", unit="voxels", low=0)
    scribbles: bool = param(
        False, "Masks are scribbles: 0 not labelled, 1 absent, 2 and more present; else 0 is absent, all else present."
    )
    stages: str = param("", "Stages to look at, separated by commas; default: all of encoder and decoder.")
    autoencoder: bool = param(True, "Also train a sparse autoencoder for each checkpoint and stage.")
    expansion: int = param(4, "Latents of the autoencoder for each channel.", low=1, high=64, advanced=True)
    active: int = param(4, "Latents that are active for one pixel.", low=1, advanced=True)
    steps: int = param(300, "Training steps of an autoencoder.", low=1, advanced=True)
    untrained: int = param(3, "Number of networks with random weights, the control.", low=0, high=20)
    ablation: bool = param(True, "Also measure whether the answer depends on what was found.")
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ProbeParams:
    """What a pixel classifier learns from."""

    stages: str = param("", "Stages whose activations it uses, separated by commas; default: all.")
    pixels: int = param(20_000, "Scribbled pixels that it learns from at most.", low=10)
    ridge: float = param(1e-3, "Penalty on its squared weights.", low=1e-9, advanced=True)
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)
