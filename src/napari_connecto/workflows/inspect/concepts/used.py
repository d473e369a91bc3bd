"""Whether the answer depends on what a stage tells: it is set to its mean, and the answer's margin is watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.models.inspect.ablate import without_channel, without_direction, without_latent
from napari_connecto.models.inspect.features import features_at
from napari_connecto.models.inspect.taps import Network, patched
from napari_connecto.workflows.inspect.concepts.logistic import Linear
from napari_connecto.workflows.inspect.concepts.look import View, touched, within
from napari_connecto.workflows.inspect.concepts.pixels import TEST, Pixels
from napari_connecto.workflows.inspect.concepts.readings import Coder, Unit

CONTROLS = 8
TILES = 3
"""Tiles that are answered again for each ablation."""
DEVIATIONS = 3.0


@dataclass(frozen=True)
class Used:
    """Effect of an ablation on the margin: mean logit of the first output on a concept, less that on the rest.

    Parameters
    ----------
    stage, concept, what, unit
        Where; which; "probe", "channel" or "latent"; its number, -1 of a probe's direction.
    margin, effect
        Of the untouched network, and what the ablation changes of it, in logits.
    controls
        Effects of random directions, channels or latents of the same stage.
    """

    stage: str
    concept: str
    what: str
    unit: int
    margin: float
    effect: float
    controls: tuple[float, ...]

    @property
    def used(self) -> bool:
        """Whether the effect is larger, either way, than the random ones' mean size + 3 sd."""
        sizes = np.abs(self.controls)
        return bool(abs(self.effect) > sizes.mean() + DEVIATIONS * sizes.std(ddof=1))


@dataclass(frozen=True)
class Found:
    """What tells a concept at a stage."""

    probe: Linear
    channel: Unit
    latent: Unit | None


def used_job(
    opened: Network,
    view: View,
    pixels: Pixels,
    activations: Mapping[str, np.ndarray],
    found: Mapping[tuple[str, str], Found],
    coders: Mapping[str, Coder],
    seed: int,
) -> Job[tuple[Used, ...]]:
    """Ablate, for each (stage, concept), the probe's direction, the channel and the latent, and random ones.

    On the tiles that hold the most test pixels of the concept; reports once an ablation.
    """
    total = sum(2 + (one.latent is not None) for one in found.values())
    done, rows = 0, []
    bases = {concept: _Base.of(opened, view, pixels, concept) for _, concept in found}
    for (stage, concept), one in found.items():
        values, base = activations[stage], bases[concept]
        for what, unit, changes in _ablations(values, one, coders.get(stage), seed):
            effects = [base.margin_with(opened, {stage: change}) - base.margin for change in changes]
            rows.append(Used(stage, concept, what, unit, base.margin, effects[0], tuple(effects[1:])))
            done += 1
            yield Progress(done, total, "ablation")
    return tuple(rows)


def _ablations(values: np.ndarray, found: Found, coder: Coder | None, seed: int) -> list[tuple[str, int, list[Any]]]:
    """What, its unit, and the changes: its own first, then the random ones."""
    rng = np.random.default_rng([seed, 3])
    probe, channels = found.probe, values.shape[1]
    random = rng.standard_normal((CONTROLS, channels)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    directions = [without_direction(probe.mean, probe.scale, d) for d in (probe.direction, *random)]
    units = _with_others(found.channel.index, np.arange(channels), rng)
    ablations = [
        ("probe", -1, directions),
        ("channel", found.channel.index, [without_channel(i, float(values[:, i].mean())) for i in units]),
    ]
    if found.latent is not None and coder is not None:
        alive = np.flatnonzero(coder.codes.max(axis=0) > 0)
        chosen = _with_others(found.latent.index, alive, rng)
        latents = [without_latent(coder.sae, i, float(coder.codes[:, i].mean())) for i in chosen]
        ablations.append(("latent", found.latent.index, latents))
    return ablations


def _with_others(one: int, all_units: np.ndarray, rng: np.random.Generator) -> list[int]:
    others = rng.permutation(all_units[all_units != one])
    return [one, *(int(i) for i in others[:CONTROLS])]


@dataclass(frozen=True)
class _Base:
    """Some tiles with test pixels of a concept, and the margin of the untouched network there."""

    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    margin: float

    @classmethod
    def of(cls, opened: Network, view: View, pixels: Pixels, concept: str) -> _Base:
        test = pixels.known(concept, TEST)
        truth, at = pixels.truth[concept][test] == 1, pixels.at[test]
        tiles = sorted(touched(opened, view.level, at), key=lambda pair: -int(truth[pair[1]].sum()))[:TILES]
        parts = [(view.patch(tile), within(opened, tile, at[mine]), truth[mine]) for tile, mine in tiles]
        return cls(parts, _margin(opened, parts))

    def margin_with(self, opened: Network, changes: Mapping[str, Any]) -> float:
        with patched(opened, changes):
            return _margin(opened, self.parts)


def _margin(opened: Network, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    logits = np.concatenate([features_at(opened, (), patch, points)[1][:, 0] for patch, points, _ in parts])
    truth = np.concatenate([truth for *_, truth in parts])
    return float(logits[truth].mean() - logits[~truth].mean())
