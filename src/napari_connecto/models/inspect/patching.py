"""What activations of a good run restore in a bad one: for all channels at once by a gradient, and exactly.

First-order patching after Wang et al. (arXiv 2312.08793) in its gradient form (Nanda's attribution patching; compare
Molchanov et al., arXiv 1611.06440): replacing channel c of a place changes the margin by about the sum over positions
of ``(a_good - a_bad)_c * d margin / d a_bad,c``. One forward and one backward pass serve all channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import Predictor
from napari_connecto.models.inspect.features import unfolded
from napari_connecto.models.inspect.taps import Change, Network, Tap, capture, encoded, features_of, network, patched

T = TypeVar("T")
Plan: TypeAlias = Mapping[str, Sequence[int] | None]
"""Channels to replace by place; None for all of a place."""


@dataclass(frozen=True)
class Scene:
    """One tile in two versions.

    Parameters
    ----------
    bad, good
        (1, c, z, y, x) float32, scaled.
    weight
        (z, y, x) on the grid of the output; the margin is the sum of weight times logit.
    """

    bad: np.ndarray
    good: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Effects:
    """First-order effects in one tile.

    Parameters
    ----------
    bad, good
        Its part of either margin.
    effect
        (channels,) by place: by how much replacing a channel changes the margin.
    change
        (channels,) by place: mean absolute difference of its activations.
    """

    bad: float
    good: float
    effect: Mapping[str, np.ndarray]
    change: Mapping[str, np.ndarray]


class Patcher:
    """Two runs of one architecture, one of which lends its activations to the other.

    Parameters
    ----------
    bad, good
        Models; the same one for two versions of an image.
    output
        Name of the output whose logits count.

    Raises
    ------
    ModelError
        If their layers cannot be reached or their places differ.
    """

    def __init__(self, bad: Predictor, good: Predictor, output: str) -> None:
        self.bad = network(bad)
        self.good = self.bad if good is bad else network(good)
        if dict(self.bad.taps) != dict(self.good.taps):
            raise ModelError(
                f"'{bad.card.name}' and '{good.card.name}' have different architectures; give two models of one, such "
                "as a domain and what fine-tune made of it"
            )
        self._output = [o.name for o in bad.card.outputs].index(bad.card.output(output).name)

    @property
    def taps(self) -> Mapping[str, Tap]:
        """Places by name."""
        return self.bad.taps

    def effects(self, scene: Scene) -> Effects:
        """First-order effects of all channels of all places."""
        good, there = self._good(scene)
        here: dict[str, Tensor] = {}
        added: dict[str, Tensor] = {}
        with patched(self.bad, {name: _adding(name, here, added) for name in self.taps}), torch.enable_grad():
            margin = self._margin(self.bad, scene.bad, scene.weight)
            margin.backward()
        effect, change = {}, {}
        for name, delta in added.items():
            gradient = torch.zeros_like(delta) if delta.grad is None else delta.grad
            difference = there[name] - here[name]
            effect[name] = _by_channel((difference * gradient).double(), torch.sum)
            change[name] = _by_channel(difference.abs().double(), torch.mean)
        return Effects(float(margin.detach()), good, effect, change)

    def margins(self, scene: Scene, plans: Sequence[Plan]) -> Iterator[float]:
        """The bad run's part of the margin with the good run's activations in these places, plan by plan."""
        _, there = self._good(scene)
        with torch.no_grad(), features_of(self.bad) as features:
            self.bad.logits(scene.bad)
        for plan in plans:
            late = bool(features) and all(self.taps[name].kind != "encoder" for name in plan)
            with encoded(self.bad, features) if late else nullcontext():
                yield self._with(scene, there, plan, lambda y: float(self._weighted(y, scene.weight)))

    def answer(self, scene: Scene, plan: Plan) -> np.ndarray:
        """Logits (z, y, x) of the bad run with the good run's activations in these places; {} for the plain run."""
        _, there = self._good(scene)
        return self._with(scene, there, plan, lambda y: y[0, self._output].cpu().numpy())

    def activations(self, scene: Scene, place: str, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(channels, z, y, x) of the bad and of the good run; the sections of a 2-D network are z."""
        found = []
        for runner, image in ((self.bad, scene.bad), (self.good, scene.good)):
            with torch.no_grad(), capture(runner, [place]) as seen:
                runner.logits(image)
            a = seen[place][:, list(channels)]
            found.append((a.transpose(0, 1) if a.ndim == 4 else a[0]).cpu().numpy())
        return found[0], found[1]

    def _good(self, scene: Scene) -> tuple[float, dict[str, Tensor]]:
        with torch.no_grad(), capture(self.good, self.taps) as there:
            margin = float(self._margin(self.good, scene.good, scene.weight))
        return margin, there

    @torch.no_grad()
    def _with(self, scene: Scene, there: Mapping[str, Tensor], plan: Plan, look: Callable[[Tensor], T]) -> T:
        changes = {name: _replacing(there[name], channels) for name, channels in plan.items()}
        with patched(self.bad, changes):
            return look(self.bad.logits(scene.bad))

    def _margin(self, runner: Network, image: np.ndarray, weight: np.ndarray) -> Tensor:
        return self._weighted(runner.logits(image), weight)

    def _weighted(self, y: Tensor, weight: np.ndarray) -> Tensor:
        return (y[0, self._output].double() * torch.from_numpy(weight).to(y.device)).sum()


def raised(opened: Network, place: str, patch: np.ndarray, output: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations of a place for a scaled tile (c, z, y, x), and the gradient there of an output's summed logits.

    Both (channels, z, y, x).
    """
    here: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    with patched(opened, {place: _adding(place, here, added)}), torch.enable_grad():
        opened.logits(patch[None])[:, output].sum().backward()
    gradient = added[place].grad
    found = (here[place], torch.zeros_like(here[place]) if gradient is None else gradient)
    return unfolded(found[0], 1)[0].cpu().numpy(), unfolded(found[1], 1)[0].cpu().numpy()


@torch.no_grad()
def answers_with(opened: Network, batch: np.ndarray, changes: Mapping[str, Change], output: int) -> np.ndarray:
    """Logits (n, z, y, x) of an output for scaled patches (n, c, z, y, x), with activations changed."""
    with patched(opened, changes):
        return opened.logits(batch)[:, output].cpu().numpy()


def _adding(name: str, here: dict[str, Tensor], added: dict[str, Tensor]) -> Change:
    """Adds zeros, whose gradient is that of the activations."""

    def change(a: Tensor) -> Tensor:
        here[name] = a.detach().clone()
        added[name] = torch.zeros_like(a, requires_grad=True)
        return a + added[name]

    return change


def _replacing(there: Tensor, channels: Sequence[int] | None) -> Change:
    if channels is None:
        return there

    def change(a: Tensor) -> Tensor:
        index = list(channels)
        new = a.clone()
        new[:, index] = there[:, index]
        return new

    return change


def _by_channel(a: Tensor, reduce: Callable[..., Tensor]) -> np.ndarray:
    return reduce(a, dim=[axis for axis in range(a.ndim) if axis != 1]).cpu().numpy()
