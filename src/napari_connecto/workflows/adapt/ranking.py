"""The answer of `rank_domains`: a table of models, best first, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan
from typing import Any

from napari_connecto import __version__
from napari_connecto.core.amounts import percent
from napari_connecto.core.shown import shown
from napari_connecto.workflows.adapt.agreement.answers import Answers
from napari_connecto.workflows.adapt.agreement.calibration import SIDE
from napari_connecto.workflows.adapt.agreement.places import Places
from napari_connecto.workflows.adapt.agreement.rule import Score
from napari_connecto.workflows.adapt.domain_map import DomainMap

NAN = float("nan")
SMALL = 0.6
"""Share of `calibration.SIDE` below which places are called small: 250 voxels were still used to measure the limit."""


@shown
@dataclass(frozen=True)
class Rank:
    """One model on the volume.

    Parameters
    ----------
    consensus
        VI in bits between its segmentations and those of the two nearest other models; None without another model, or
        if the model was not compared.
    consistency
        VI in bits between its segmentations of a place and of the same place flipped, with noise and blurred; None if
        it was not compared.
    instability
        Consistency as a share of the entropy of its segments: 0 nothing changes, 1 as much as there is; None if it was
        not compared.
    better
        Chance that another model is better; NaN if unknown.
    expected
        Range of VI in bits to be expected on this volume, 80 %; NaN if unknown.
    mmd2, interval, p
        Distance of the domain's training data, see `models.transfer.mmd.MmdTest`; NaN for a model without a sample of
        them. It does not enter the ranking.
    own_encoder, own_decoder
        MMD^2 in the model's own features, at its deepest encoder stage and before its last layer, position by position;
        the interval is a bootstrap over patches. None for a model without a sample of them. They do not enter either.
    voxel_ratio
        Model voxel size relative to the volume's finest, in plane.
    fits
        Whether its answers are not degenerate and about as stable as those of models on data that they can segment.
    note
        Why not, or a remark, in words; "" for none.
    """

    name: str
    consensus: Score | None
    consistency: Score | None
    voxel_ratio: float
    fits: bool
    note: str
    licence: str
    instability: Score | None = None
    better: float = NAN
    expected: tuple[float, float] = (NAN, NAN)
    mmd2: float = NAN
    interval: tuple[float, float] = (NAN, NAN)
    p: float = NAN
    own_encoder: Score | None = None
    own_decoder: Score | None = None

    @property
    def compared(self) -> bool:
        """Whether it has segmented the places."""
        return self.consistency is not None

    def line(self) -> str:
        """In words."""
        if self.consistency is None:
            return f"{self.name}: not compared: {self.note}"
        told = [f"consensus {_bits(self.consensus)}"] if self.consensus is not None else []
        told.append(f"consistency {_bits(self.consistency)}")
        if self.instability is not None:
            told.append(f"{percent(self.instability.value)} unstable")
        if isfinite(self.mmd2):
            told.append(f"MMD^2 {self.mmd2:.3f}")
        if self.own_encoder is not None:
            told.append(f"in own features {self.own_encoder.value:.3f}")
        told.append(f"voxel ratio {self.voxel_ratio:.2f}")
        said = "fits" if self.fits else "does not fit"
        return f"{self.name}: {', '.join(told)}, {said}{': ' if self.note else ''}{self.note}"

    def row(self) -> dict[str, Any]:
        """JSON."""
        scores = {name: score and asdict(score) for name, score in self._scores()}
        return {**self.__dict__, **scores, "interval": list(self.interval), "expected": list(self.expected)}

    def _scores(self) -> tuple[tuple[str, Score | None], ...]:
        names = ("consensus", "consistency", "instability", "own_encoder", "own_decoder")
        return tuple((name, getattr(self, name)) for name in names)


@shown
@dataclass(frozen=True)
class Ranking:
    """Models, best first.

    Parameters
    ----------
    limit
        Largest instability at which a model fits.
    patches, skipped
        Tissue patches behind MMD^2, and places skipped as empty.
    map
        Distances among the domains and "this volume", for a dendrogram; None for fewer than two domains.
    space
        Digest of the encoder of MMD^2; "" without domains.
    places, answers
        Places that were segmented, and every model's answers; None and {} if they were not kept.
    """

    ranks: tuple[Rank, ...]
    limit: float
    patches: int
    skipped: int
    map: DomainMap | None
    space: str
    places: Places | None = field(default=None, repr=False)
    answers: Mapping[str, Answers] = field(default_factory=dict, repr=False)

    @property
    def best(self) -> Rank | None:
        """The first model that fits; None: no model fits."""
        return next((rank for rank in self.ranks if rank.fits), None)

    @property
    def evidence(self) -> str:
        """What the order rests on, in words."""
        if any(rank.consensus is not None for rank in self.ranks):
            return "ranks of consensus (agreement with other models) and consistency (flip, noise, blur)"
        return "consistency alone (flip, noise, blur): no other model gives answers to compare with"

    def to_json(self) -> dict[str, Any]:
        """Content of ``ranking.json``."""
        rows = [rank.row() for rank in self.ranks]
        counted = {"patches": self.patches, "skipped": self.skipped}
        counted |= {"places": 0 if self.places is None else len(self.places.boxes)}
        told = {"evidence": self.evidence, "instability_limit": self.limit, "encoder": self.space}
        return {"ranks": rows, **told, **counted, "notices": self.notices, "version": __version__}

    def verdict(self) -> str:
        """Where to start, in words."""
        best = self.best
        if best is None:
            return (
                f"No model fits: over {percent(self.limit)} of each segmentation changes under flip, noise and blur, "
                "or the answers are degenerate. Training from scratch may work as well; compare both."
            )
        told = []
        if isfinite(best.expected[0]):
            told.append(f"expected VI {best.expected[0]:.2f} to {best.expected[1]:.2f} bits")
        if not isnan(best.better):
            told.append(f"chance that another model is better {percent(best.better)}")
        return f"Start from '{best.name}'{': ' if told else ''}{', '.join(told)}."

    def lines(self) -> list[str]:
        """A table in words."""
        count = 0 if self.places is None else len(self.places.boxes)
        places = f"{count} place{'' if count == 1 else 's'} segmented by each model, {self.skipped} empty ones skipped"
        told = f"{places}. Order: {self.evidence}."
        return [*(rank.line() for rank in self.ranks), " ".join([told, *self.notices]), self.verdict()]

    @property
    def notices(self) -> list[str]:
        """What small places do to the judgement, in words; [] for places like those that the limit was measured on."""
        if self.places is None or not self.places.boxes:
            return []
        _, height, width = self.places.boxes[0].shape
        if min(height, width) >= SMALL * SIDE:
            return []
        return [
            f"Places have {height} x {width} voxels, but the limit of {percent(self.limit)} was measured on "
            f"{SIDE} x {SIDE}. Models are less stable on smaller places, so one that does not fit here may still be "
            "usable."
        ]


def _bits(score: Score) -> str:
    span = f" ({score.low:.2f} to {score.high:.2f})" if isfinite(score.low) else ""
    return f"{score.value:.2f}{span} bits"
