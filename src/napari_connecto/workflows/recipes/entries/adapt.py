"""Adapt a model to an image: rank, suggest, prepare, fine-tune, domains train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.adapt.params import (
    BEFORE_LABEL,
    About,
    DomainParams,
    FineTuneParams,
    PrepareParams,
    RankParams,
    SuggestParams,
)
from napari_connecto.workflows.recipes.entries.run import MODEL, OnImage, Summary
from napari_connecto.workflows.shared.em_labels import LabelKind
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


def _library() -> Any:
    return param(None, "Folder of domains (and other models); default: the shipped ones and your own.", role="folder")


def _source() -> Any:
    return param(None, "Playback: the domain whose patches are restyled; default: the model's own.", role="model")


@dataclass(frozen=True, kw_only=True)
class Rank(OnImage):
    """Rank boundary models by how well their segmentations of PATH agree, without labels; perhaps none fits."""

    workflow: ClassVar[str] = "rank"

    library: str | None = _library()
    out: str = param("", "Folder for ranking.json and recipe.yaml; default: nothing is written.", role="out")
    params: RankParams = param(RankParams(), "How models are compared.")

    def job(self, client: Any) -> Job[Summary]:
        """Rank models."""
        from napari_connecto.workflows.recipes.adapt import rank

        return rank(self)


@dataclass(frozen=True, kw_only=True)
class Suggest(OnImage):
    """Suggest patches of PATH to annotate, each with a reason."""

    workflow: ClassVar[str] = "suggest"

    model: str = param(REQUIRED, MODEL, role="model")
    out: str = param(REQUIRED, "Session folder; more suggestions join those it has.", role="out")
    n: int = param(4, "How many patches.", low=1, high=10_000)
    library: str | None = _library()
    params: SuggestParams = param(SuggestParams(), "Which patches are suggested.")

    def job(self, client: Any) -> Job[Summary]:
        """Suggest patches into a session."""
        from napari_connecto.workflows.recipes.adapt import suggest

        return suggest(self)


@dataclass(frozen=True, kw_only=True)
class Prepare(OnImage):
    """Adapt a model to PATH without labels."""

    workflow: ClassVar[str] = "prepare"

    model: str = param(REQUIRED, MODEL, role="model")
    how: str = param(
        REQUIRED,
        "adabn: batch-norm statistics of PATH; playback: restyled source patches; both: playback, then adabn.",
        choices=BEFORE_LABEL[1:],
    )
    out: str = param(REQUIRED, "Folder of the new model; the old one stays.", role="out")
    source: str | None = _source()
    library: str | None = _library()
    params: PrepareParams = param(PrepareParams(), "How it is adapted.")

    def job(self, client: Any) -> Job[Summary]:
        """AdaBN, playback or both."""
        from napari_connecto.workflows.recipes.prepare import prepare

        return prepare(self)


@dataclass(frozen=True, kw_only=True)
class FineTune(OnImage):
    """Adapt a model to the annotated patches of a session, and measure it on those held out."""

    workflow: ClassVar[str] = "fine-tune"
    trains: ClassVar[bool] = True
    prefixed: ClassVar[Sequence[str]] = ("prepare",)

    model: str = param(REQUIRED, MODEL, role="model")
    session: str = param(REQUIRED, "Session folder, from suggest.", role="session")
    out: str = param(REQUIRED, "Folder of the result; an interrupted one is resumed.", role="out")
    labels: VolumeSpec | None = param(
        None, "Labels made elsewhere, on the same grid: they fill the session's waiting patches.", role="labels"
    )
    label_kind: LabelKind = param(
        "em",
        "em: 0 unlabelled, 1 membrane, 2 inside, 3.. neurons; instances: 0 is membrane; membranes: 0 is inside.",
        choices=get_args(LabelKind),
    )
    from_scratch: bool = param(False, "Train the same number of steps from random weights, for comparison.")
    before_label: str = param(
        BEFORE_LABEL[0], "First adapt the model to PATH without labels, as `prepare` does.", choices=BEFORE_LABEL
    )
    source: str | None = _source()
    library: str | None = _library()
    prepare: PrepareParams = param(PrepareParams(), "How it is adapted before any label.")
    params: FineTuneParams = param(FineTuneParams(), "How it learns.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.from_scratch and self.before_label != BEFORE_LABEL[0]:
            raise InputError(
                f"an untrained model cannot be prepared by {self.before_label}; leave that out, or start from the "
                "model's weights"
            )

    def job(self, client: Any) -> Job[Summary]:
        """Fine-tune, then compare."""
        from napari_connecto.workflows.recipes.tune import fine_tune

        return fine_tune(self)


@dataclass(frozen=True, kw_only=True)
class TrainDomain(OnImage):
    """Make the domain NAME from the volume PATH and its LABELS: a model, held-out figures, a sample of features."""

    workflow: ClassVar[str] = "train-domain"
    command: ClassVar[str] = "domains train"
    arguments: ClassVar[Sequence[str]] = ("name", "volume", "labels")

    name: str = param(REQUIRED, "What the domain is called.")
    labels: VolumeSpec = param(REQUIRED, "Labels of the same tissue: any readable volume.", role="labels")
    out: str = param("", "Folder of the domain; default: NAME.", role="out")
    library: str | None = _library()
    about: About = param(About(), "What is known of the data.")
    params: DomainParams = param(DomainParams(), "How it is made.")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "out", self.out or self.name)

    def job(self, client: Any) -> Job[Summary]:
        """Make a domain."""
        from napari_connecto.workflows.recipes.adapt import train_domain

        return train_domain(self)
