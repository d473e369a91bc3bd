"""Params of training and using a translator; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param

KINDS = ("ensemble", "flips", "dropout", "single")


@dataclass(frozen=True)
class TranslatorParams:
    """How a translator is trained."""

    name: str = param("translator", "Name of the translator.")
    members: int = param(
        4, "Networks of the ensemble; their disagreement is the epistemic uncertainty.", low=1, high=32
    )
    steps: int = param(
        400,
        "Largest number of batches per member. 400 suit two processor cores; a GPU affords 1500 or more, "
        "which improves the result more than any other setting.",
        low=1,
        high=10**6,
    )
    loss: str = param(
        "gaussian",
        "Likelihood of the EM's brightness given the X-ray: gaussian, laplace, or absolute (no aleatoric uncertainty).",
        choices=("gaussian", "laplace", "absolute"),
    )
    structure: float = param(0.5, "Weight of the gradient difference loss.", low=0.0, high=100.0, advanced=True)
    adversary: float = param(
        0.0, "Weight of a discriminator; gives a sharper look, not more accuracy.", low=0.0, high=10.0, advanced=True
    )
    membrane: float = param(
        1.0,
        "Weight of the membranes that a boundary model finds in the EM, where one is given: the translator learns to "
        "find them in the X-ray.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    through: float = param(
        0.0,
        "Weight of the membranes that the boundary model, held fixed, finds in the translation.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    microscopes: int = param(
        0,
        "Simulated X-ray volumes of the training tissue by microscopes of random properties, beside the given one. "
        "Meant to make the translator less dependent on one microscope; six of them did not, in a short training.",
        low=0,
        high=64,
    )
    width: int = param(16, "Channels of the first layer.", low=2, high=256, advanced=True)
    depth: int = param(3, "Resolutions of the U-Net.", low=2, high=6, advanced=True)
    residual: int = param(1, "Convolutions at each resolution on the way down.", low=1, high=8, advanced=True)
    fold: int = param(
        1,
        "EM voxels along each axis that are computed together; 2 is several times as fast, as X-ray that was "
        "interpolated holds nothing finer, but has not been compared for accuracy.",
        low=1,
        high=4,
        advanced=True,
    )
    dropout: float = param(0.05, "Share of channels dropped in training.", low=0.0, high=0.9, advanced=True)
    crop: int = param(32, "Side of a training crop, EM voxels; less along deep z.", unit="voxels", low=8, high=512)
    batch: int = param(4, "Crops per step.", low=1, high=256)
    learning_rate: float = param(3e-3, "Peak learning rate.", low=1e-7, high=1.0, advanced=True)
    patience: int = param(
        8,
        "Stop a member after this many validations without gain (one every 20th of the steps); 0: never.",
        low=0,
        advanced=True,
    )
    device: str = param("auto", "auto, cpu, cuda, cuda:N or mps.", advanced=True)
    seed: int = param(0, "Random seed.", low=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TranslateParams:
    """How a translator is used."""

    uncertainty: str = param(
        "ensemble",
        "Source of the epistemic uncertainty: all members; or, with the first member only, its mirror images, its "
        "dropout, or none (single).",
        choices=KINDS,
    )
    passes: int = param(8, "Number of dropout passes.", low=2, high=256, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class AdaptParams:
    """How a translator is adapted to a small pair."""

    steps: int = param(
        150, "Batches per member; 0: the networks stay as they are, and only the uncertainty is recalibrated.", low=0
    )
    rank: int = param(4, "Rank of the adapters of each convolution.", low=1, advanced=True)
    learning_rate: float = param(3e-3, "Peak learning rate.", low=1e-7, high=1.0, advanced=True)
    crop: int = param(32, "Side of a training crop, EM voxels.", unit="voxels", low=8, high=512, advanced=True)
    batch: int = param(4, "Crops per step.", low=1, high=256, advanced=True)
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)
