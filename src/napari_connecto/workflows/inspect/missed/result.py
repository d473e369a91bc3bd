"""What came of asking why a model missed something: stages, channels, and whether their ranking can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.shown import shown

TRUSTED = 0.8
"""Smallest Spearman correlation of gradient and exact replacement with which the ranking is to be trusted."""
Order = Literal["gradient", "random", "difference"]
FUNNEL = 0.99
"""A stage that restores this share carries the whole signal, so it does not locate anything."""


@shown
@dataclass(frozen=True)
class Stage:
    """A place in the network, all of whose channels were replaced by those of the good run.

    Parameters
    ----------
    place, kind
        See `taps`: "encoder.1" and so on; "encoder", "skip" or "decoder".
    channels
        It has.
    scale_nm
        Spacing of its values, (z, y, x).
    restored
        Share of the gap: 1 is the good run, 0 the bad one.
    curves
        By order ("gradient", "random", "difference" of activations): (share of its channels, share of the gap) pairs.
    """

    place: str
    kind: str
    channels: int
    scale_nm: FVec3
    restored: float
    curves: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Channel:
    """A channel and its share of the gap.

    Parameters
    ----------
    place, channel
        Of the network.
    effect
        By the gradient.
    exact
        By replacing it alone; None if that was not done.
    by_difference
        Its rank by |activation difference|, 1 is largest.
    """

    place: str
    channel: int
    effect: float
    exact: float | None
    by_difference: int

    @property
    def name(self) -> str:
        """Place and channel in short."""
        return f"{self.place}:{self.channel}"


@shown
@dataclass(frozen=True)
class Ranking:
    """Channels ranked by how much they restore.

    Parameters
    ----------
    mode
        "total": encoder stages and decoder blocks, all that follows changes too; "direct": what the decoder reads.
    top
        Highest effect by the gradient first; each is replaced exactly.
    spearman
        Of gradient and exact effect over ``top`` and as many random channels.
    together
        By order: (number of channels, share of the gap when they are replaced together) pairs.
    count
        Channels ranked.
    """

    mode: str
    top: tuple[Channel, ...]
    spearman: float
    together: Mapping[str, Sequence[tuple[int, float]]]
    count: int

    @property
    def carriers(self) -> tuple[Channel, ...]:
        """``top`` by what replacing each channel alone restores, highest first."""
        return tuple(sorted(self.top, key=lambda channel: -(channel.exact or 0.0)))

    @property
    def trusted(self) -> bool:
        """Whether gradient and exact replacement agree."""
        return self.spearman >= TRUSTED


@shown
@dataclass(frozen=True)
class WhyMissed:
    """Which stages and channels carry a failure; never what the model "thinks".

    Parameters
    ----------
    model, good_model
        Names; the same for two versions of an image.
    bad, good
        Names of the images.
    margins
        Mean logit on the missed pixels minus that on the background: bad run, good run.
    painted
        Number of missed and of background pixels used.
    stages
        In the order of computation.
    total, direct
        See `Ranking`; ``direct`` is None for a network without skips.
    effects
        Share of the gap per channel by the gradient, (channels,) by place.
    tiles
        What they own, voxels of the level that the model reads.
    """

    model: str
    good_model: str
    bad: str
    good: str
    margins: tuple[float, float]
    painted: tuple[int, int]
    stages: tuple[Stage, ...]
    total: Ranking
    direct: Ranking | None
    effects: Mapping[str, np.ndarray] = field(repr=False)
    tiles: tuple[Box, ...] = ()

    @property
    def gap(self) -> float:
        """Margin of the good run less that of the bad one, in logits."""
        return self.margins[1] - self.margins[0]

    def lines(self) -> list[str]:
        """The answer in sentences."""
        low, high = self.margins
        return [
            f"margin (mean logit, {self.painted[0]} missed less {self.painted[1]} background pixels): {low:.2f} in "
            f"{self._run(self.bad, self.model)}, {high:.2f} in {self._run(self.good, self.good_model)}; "
            f"gap {self.gap:.2f}",
            *self._profile(),
            *(line for ranking in (self.total, self.direct) if ranking is not None for line in _told(ranking)),
        ]

    def _run(self, image: str, model: str) -> str:
        return f"'{image}'" if self.model == self.good_model else f"'{image}' with '{model}'"

    def _profile(self) -> list[str]:
        encoder = [stage for stage in self.stages if stage.kind == "encoder"]
        told = ", ".join(f"{s.place} ({_nm(s.scale_nm)}) {percent(s.restored)}" for s in encoder)
        deepest = encoder[-1]
        where = (
            "enters at fine scale: deep stages carry less than half" if deepest.restored < 0.5 else "is carried deep"
        )
        skips = [stage for stage in self.stages if stage.kind == "skip"]
        lines = [f"share of the gap restored by all channels of a stage: {told}", f"the failure {where}"]
        if skips:
            direct = ", ".join(f"{s.place} {percent(s.restored)}" for s in skips)
            lines.append(f"by what the decoder reads alone: {direct}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        plain = asdict(self)
        plain["effects"] = {place: [float(f"{v:.4g}") for v in values] for place, values in self.effects.items()}
        plain["tiles"] = [[*box.start, *box.stop] for box in self.tiles]
        return {**plain, "gap": self.gap, "lines": self.lines()}


def _told(ranking: Ranking) -> list[str]:
    """A ranking in sentences."""
    what = "in all stages" if ranking.mode == "total" else "that the decoder reads"
    agree = f"gradient against exact replacement over {2 * len(ranking.top)} channels: Spearman {ranking.spearman:.2f}"
    if not ranking.trusted:
        return [f"{agree}, below {TRUSTED}: do not trust the ranking of the channels {what}, read the stages only"]
    names = ", ".join(channel.name for channel in ranking.carriers[:5])
    n, share = ranking.together["gradient"][min(1, len(ranking.together["gradient"]) - 1)]
    others = {order: dict(points)[n] for order, points in ranking.together.items() if order != "gradient"}
    controls = f"{percent(others['random'])} by random ones, {percent(others['difference'])} by the most different ones"
    return [
        f"channels that carry the failure, of {ranking.count} {what}: {names}",
        f"the first {n} by the gradient together restore {percent(share)} of the gap ({controls})",
        agree,
    ]


def _nm(scale: FVec3) -> str:
    return f"{scale[-1]:g} nm"
