"""Params of adapting a model and of using it; loads no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from napari_connecto.core.params import check, param
from napari_connecto.workflows.adapt.presets import PRESETS
from napari_connecto.workflows.shared.uncertainty_kinds import KINDS

PREFILLS = ("membranes and insides", "neurites by number", "nothing")
"""Initial labels of a patch, see `prefill`."""


@dataclass(frozen=True)
class SuggestParams:
    """How patches are suggested for annotation."""

    strategy: str = param(
        "median",
        "Choose patches whose uncertainty is nearest the pool's median; or highest median pixel, highest entropy, "
        "random, spread in the encoder's space (k-center), uncertain and spread (badge), median and spread "
        "(median-diverse).",
        choices=("median", "median-pixel", "entropy", "random", "k-center", "badge", "median-diverse"),
    )
    size: int = param(128, "Side length of a patch in plane, in the model's voxels.", unit="voxels", low=16, high=2048)
    pool: int = param(200, "Number of tissue patches to choose from.", low=1, high=100_000)
    uncertainty: str = param(
        "entropy",
        "Mean binary entropy of the boundary probability, or its variance over the four flips in plane.",
        choices=tuple(KINDS),
        advanced=True,
    )
    diversity: bool = param(False, "Of the patches ranked highest by uncertainty, choose those that are least alike.")
    random_arm: int = param(
        0,
        "Number of suggestions drawn at random; they are held out, for an unbiased measure of the gain.",
        low=0,
        high=10_000,
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RankParams:
    """How models are compared on a volume."""

    places: int = param(4, "Number of places that every model segments.", low=2, high=64)
    place: int = param(
        384,
        "Side length of a place, voxels of the image or of the model with the smallest voxels, whichever are larger.",
        unit="voxels",
        low=64,
        high=2048,
    )
    patches: int = param(200, "Number of tissue patches behind MMD^2.", low=10, high=20_000, advanced=True)
    patch: int = param(
        128,
        "Side length of a patch behind MMD^2, voxels of each domain's model.",
        unit="voxels",
        low=32,
        high=512,
        advanced=True,
    )
    permutations: int = param(1000, "Permutations of the MMD test.", low=100, advanced=True)
    seed: int = param(0, "Random seed of places, noise, patches and the test.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FineTuneParams:
    """How a model is fine-tuned on annotated patches."""

    preset: str = param(
        "standard",
        "quick: train the decoder only; standard: all weights; full: all weights, twice as long; adapter: a small "
        "file beside the model.",
        choices=tuple(PRESETS),
    )
    steps: int = param(
        0,
        f"Training steps; 0: by the preset ({', '.join(f'{name} {one.steps}' for name, one in PRESETS.items())}).",
        low=0,
        high=100_000,
        zero="by the preset",
    )
    crop: int = param(192, "Size of a training crop along y and x.", unit="voxels", low=32, high=1024, advanced=True)
    batch: int = param(4, "Crops per step.", low=1, high=64, advanced=True)
    learning_rate: float = param(
        0.0, "Peak learning rate; 0: by the preset.", low=0, high=0.1, advanced=True, zero="by the preset"
    )
    parent_worth: float = param(
        4.0,
        "Weight of the old model, in patches of 128 x 128, if all weights are trained and it fits: the result is "
        "n / (n + this) of the way from its weights to the new ones, n by labelled area; 0: all the way.",
        low=0,
        high=1000,
        advanced=True,
    )
    augment: bool = param(
        True, "Augment patches (rotation, elastic deformation, brightness, blur, noise).", advanced=True
    )
    patience: int = param(
        5, "Stop after this many checks on held-out patches without gain; 0: never.", low=0, advanced=True
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DomainParams:
    """How a domain is made from a labelled volume."""

    label_kind: str = param(
        "instances",
        "Meaning of the labels: instances (0 is membrane), membranes (0 is inside), or em: 0 unlabelled, 1 membrane, "
        "2 inside, 3 and more neurons.",
        choices=("instances", "membranes", "em"),
    )
    held_out: float = param(0.25, "Share of the volume, at its far end, held out for measuring.", low=0.1, high=0.5)
    steps: int = param(600, "Training steps.", low=10, high=100_000)
    crop: int = param(192, "Size of a training crop along y and x.", unit="voxels", low=32, high=1024, advanced=True)
    batch: int = param(4, "Crops per step.", low=1, high=64, advanced=True)
    encoder: str = param("tu-resnet10t", "Encoder of segmentation_models_pytorch.", advanced=True)
    depth: int = param(4, "Number of downsampling steps.", low=3, high=5, advanced=True)
    patches: int = param(300, "Number of tissue patches whose features are stored.", low=10, high=20_000, advanced=True)
    keep_patches: bool = param(
        False,
        "Store up to 24 labelled crops beside the model, for data playback: only if the licence of the data allows it.",
        advanced=True,
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)


BEFORE_LABEL = ("none", "adabn", "playback", "both")
"""Adaptations of a model without labels."""


@dataclass(frozen=True)
class PrepareParams:
    """How a model is adapted to a volume without labels."""

    patches: int = param(96, "Number of tissue patches of the volume.", low=10, high=20_000)
    patch: int = param(
        80, "Side length of a patch, voxels of the model.", unit="voxels", low=32, high=512, advanced=True
    )
    gain: float = param(
        0.1,
        "Playback: smallest share by which restyling must lower MMD^2 to the volume; less may be chance.",
        low=0,
        high=1,
        advanced=True,
    )
    steps: int = param(60, "Playback: training steps on the restyled patches.", low=1, high=100_000)
    crop: int = param(128, "Size of a training crop along y and x.", unit="voxels", low=32, high=1024, advanced=True)
    batch: int = param(4, "Crops per step.", low=1, high=64, advanced=True)
    seed: int = param(0, "Random seed.", low=0, advanced=True)
    device: str = param("auto", "auto, cpu, cuda or mps.", advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class About:
    """What a user wants to know of a domain before using it."""

    organism: str = param("", "Organism of the data.")
    tissue: str = param("", "Tissue of the data.")
    modality: str = param("", "FIB-SEM, ssTEM, ...")
    data: str = param("", "Source of the data, as it is to be cited.")
    licence: str = param("", "Terms of the weights, as the data's terms allow.")

    def __post_init__(self) -> None:
        check(self)

    def to_json(self) -> dict[str, str]:
        """Plain types."""
        return asdict(self)
