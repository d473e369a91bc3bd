"""The parameters of translating X-ray into EM-like volumes; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param

KINDS = ("ensemble", "flips", "dropout", "single")


@dataclass(frozen=True)
class TranslatorParams:
    """How a translator is trained."""

    name: str = param("translator", "What it is called.")
    members: int = param(
        4, "Networks of the ensemble; their disagreement is the epistemic uncertainty.", low=1, high=32
    )
    steps: int = param(
        400,
        "Batches that each member learns from, at most. 400 suit two processor cores; a GPU affords 1500 or more, "
        "which is worth more than anything else here.",
        low=1,
        high=10**6,
    )
    loss: str = param(
        "gaussian",
        "Likelihood of the EM's brightness given the X-ray: gaussian, laplace, or absolute (no aleatoric uncertainty).",
        choices=("gaussian", "laplace", "absolute"),
    )
    structure: float = param(
        0.5, "Weight of the difference of gradients beside it.", low=0.0, high=100.0, advanced=True
    )
    adversary: float = param(
        0.0, "Weight of a discriminator; sharper looks, not more truth.", low=0.0, high=10.0, advanced=True
    )
    width: int = param(16, "Channels of the first layer.", low=2, high=256, advanced=True)
    depth: int = param(3, "Resolutions of the U-Net.", low=2, high=6, advanced=True)
    dropout: float = param(0.05, "Share of channels dropped in training.", low=0.0, high=0.9, advanced=True)
    crop: int = param(32, "Side of a training crop, EM voxels; less along deep z.", unit="voxels", low=8, high=512)
    batch: int = param(4, "Crops per step.", low=1, high=256)
    learning_rate: float = param(3e-3, "Largest step size.", low=1e-7, high=1.0, advanced=True)
    patience: int = param(
        8,
        "Validations without gain, one each 20th part of the steps, after which a member is done; 0: never.",
        low=0,
        advanced=True,
    )
    device: str = param("auto", "auto, cpu, cuda, cuda:N or mps.", advanced=True)
    seed: int = param(0, "Decides everything random.", low=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TranslateParams:
    """How a translator is used."""

    uncertainty: str = param(
        "ensemble",
        "Where the epistemic uncertainty comes from: all members; or, by the first alone, its mirror images, its "
        "dropout, or nothing (single).",
        choices=KINDS,
    )
    passes: int = param(8, "Passes of dropout.", low=2, high=256, advanced=True)

    def __post_init__(self) -> None:
        check(self)
