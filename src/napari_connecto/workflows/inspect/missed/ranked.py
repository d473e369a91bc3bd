"""Channels in the order of what they restore, and what is replaced to check that order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from napari_connecto.models.inspect.patching import Plan
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.result import Channel, Ranking

TOGETHER = (1, 5, 10, 30)
"""Numbers of channels replaced together."""
Orders = Mapping[str, Sequence[np.ndarray]]
"""Channels, best first, by the order's name; several for "random"."""


def orders_of(effect: np.ndarray, change: np.ndarray, drawn: np.random.Generator, draws: int) -> Orders:
    """Channels by their effect (channels,), at random ``draws`` times, and by the change of their activations."""
    return {
        "gradient": [np.argsort(-effect, kind="stable")],
        "random": [drawn.permutation(len(effect)) for _ in range(draws)],
        "difference": [np.argsort(-change, kind="stable")],
    }


@dataclass(frozen=True)
class Ranked:
    """A ranking whose exact effects are still to be measured.

    Parameters
    ----------
    components
        (place, channel), highest effect first.
    effect
        (components,) in that order.
    by_difference
        (components,) rank by |activation difference|, from 1.
    orders
        Of indices into ``components``.
    """

    mode: str
    components: list[tuple[str, int]]
    effect: np.ndarray
    by_difference: np.ndarray
    orders: Orders
    exact: np.ndarray

    @classmethod
    def of(
        cls,
        mode: str,
        names: Sequence[str],
        scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
        drawn: np.random.Generator,
        params: MissedParams,
    ) -> Ranked:
        """The channels of these places, from (effect, change) by place; the highest and as many others are exact."""
        effect = np.concatenate([scores[name][0] for name in names])
        change = np.concatenate([scores[name][1] for name in names])
        order = np.argsort(-effect, kind="stable")
        components = [(name, c) for name in names for c in range(len(scores[name][0]))]
        rank = np.empty(len(change), int)
        rank[np.argsort(-change, kind="stable")] = np.arange(1, len(change) + 1)
        effect, change = effect[order], change[order]
        wanted = params.exact if mode == "total" else max(3, params.exact // 3)
        top = min(wanted, len(order) // 2)
        rest = drawn.permutation(np.arange(top, len(order)))[:top]
        orders = orders_of(effect, change, drawn, params.draws)
        chosen = np.concatenate([np.arange(top), rest]).astype(int)
        return cls(mode, [components[i] for i in order], effect, rank[order], orders, chosen)

    @property
    def plans(self) -> list[Plan]:
        """Single channels, then sets of the three orders."""
        single = [self._plan([i]) for i in self.exact]
        return single + [self._plan(one[:n]) for order in self.orders.values() for n in self._counts for one in order]

    @property
    def _counts(self) -> list[int]:
        return [n for n in TOGETHER if n <= len(self.components)]

    def _plan(self, indices: Sequence[int] | np.ndarray) -> Plan:
        plan: dict[str, list[int]] = {}
        for i in indices:
            place, channel = self.components[int(i)]
            plan.setdefault(place, []).append(channel)
        return plan

    def read(self, shares: Iterator[float]) -> Ranking:
        """The ranking, of the shares that the plans restored."""
        exact = np.array([next(shares) for _ in self.exact])
        together = {
            kind: [(n, float(np.mean([next(shares) for _ in order]))) for n in self._counts]
            for kind, order in self.orders.items()
        }
        top = tuple(
            Channel(*self.components[i], float(self.effect[i]), float(exact[i]), int(self.by_difference[i]))
            for i in range(len(self.exact) // 2)
        )
        flat = np.ptp(exact) == 0 or np.ptp(self.effect[self.exact]) == 0
        agreement = 0.0 if flat else float(spearmanr(self.effect[self.exact], exact).statistic)
        return Ranking(self.mode, top, agreement, together, len(self.components))
