"""A smaller model and what it costs: the result of `prune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.amounts import change, counted, percent
from napari_connecto.core.shown import shown
from napari_connecto.workflows.inspect.prune.params import PruneParams

if TYPE_CHECKING:
    from napari_connecto.models.inference.predictor import TorchPredictor  # torch takes seconds to import
    from napari_connecto.workflows.inspect.prune.measure import Agreement


@shown
@dataclass(frozen=True)
class Control:
    """One way of setting weights to zero in one pass.

    Parameters
    ----------
    sparsity
        Share of zeros in the pruned layers.
    copies
        Sets of weights per layer.
    layer_error
        Relative squared error of a layer's output, mean over layers.
    agreement
        Of the output with the original's, on held-out places.
    layers
        The error of each layer, by name, in order.
    """

    sparsity: float
    copies: int
    layer_error: float
    agreement: Agreement
    layers: Mapping[str, float]


@shown
@dataclass(frozen=True)
class Pruned:
    """A smaller model, measured against the original on places that it has not learned from.

    Parameters
    ----------
    model
        The new model: save it with `save_model`, use it like any other. Its card's parent is the original.
    params
        What was asked for.
    weights
        Weights of the original and of the new model that are not 0.
    stored
        Bytes of the weights files.
    seconds
        Median seconds of both for one tile of the card, timed in turn, in this process.
    places
        Number of places learned from, and of held-out places measured.
    agreement
        Of the new model with the original on the held-out places.
    tiles
        Share of voxels, for both models, that change sides of the threshold when computed in smaller tiles; nan if the
        places are too small to be divided.
    controls
        For ``how="weights"``: every way that was measured, by name: "magnitude", "one mask", "clusters", "random
        experts", "one mask, equal storage".
    """

    model: TorchPredictor
    params: PruneParams
    weights: tuple[int, int]
    stored: tuple[int, int]
    seconds: tuple[float, float]
    places: tuple[int, int]
    agreement: Agreement
    tiles: tuple[float, float]
    controls: Mapping[str, Control] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """Time of the original over time of the new model."""
        return self.seconds[0] / self.seconds[1]

    @property
    def vi(self) -> tuple[float, float] | None:
        """VI to the truth, bits, of the original and the new model, mean over held-out places; None without labels."""
        if not self.agreement.vi:
            return None
        before, after = np.mean(self.agreement.vi, axis=0)
        return float(before), float(after)

    def figures(self) -> dict[str, Any]:
        """JSON."""
        told = {
            "how": self.params.chosen,
            "params": asdict(self.params),
            "weights": list(self.weights),
            "stored_bytes": list(self.stored),
            "seconds_per_tile": list(self.seconds),
            "speedup": self.speedup,
            "places": list(self.places),
            "agreement": asdict(self.agreement),
            "vi": None if self.vi is None else list(self.vi),
            "tiles": [None if isnan(t) else t for t in self.tiles],
            "digest": self.model.card.digest,
            "parent": self.model.card.parent,
        }
        return told | {"controls": {name: asdict(c) for name, c in self.controls.items()}}

    def lines(self) -> list[str]:
        """What there is to say, a sentence a line."""
        old, new = self.weights
        told = [f"{new:,} of {old:,} weights remain; the file has {_kb(self.stored[1])}, before {_kb(self.stored[0])}"]
        milliseconds = [f"{1000 * s:.3g} ms" for s in self.seconds]
        times = f"one tile takes {milliseconds[1]}, before {milliseconds[0]}, on {self.model.device}"
        told.append(f"{self.speedup:.2g} x as fast: {times}" if self.speedup > 1.1 else f"no time saved: {times}")
        told += self._measured()
        if not any(map(isnan, self.tiles)):
            original, smaller = (percent(share, 2) for share in self.tiles)
            told.append(f"in smaller tiles {smaller} of voxels change sides; original: {original}")
        return told + [_control(name, control) for name, control in self.controls.items()]

    def _measured(self) -> Sequence[str]:
        found, n = self.agreement, self.places[1]
        told = [f"agreement with the original on {counted(n, 'held-out place')}: Dice {found.dice:.3f}"]
        if found.vi_between is not None:
            told[0] += f", {found.vi_between:.3g} bits between the segmentations"
        if self.vi is not None:
            before, after = self.vi
            moved = f" ({change(after / before - 1, 1)})" if before > 0 else ""
            told.append(f"VI on held-out labels: {after:.3g} bits{moved}, original {before:.3g} bits")
        return told


def _kb(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _control(name: str, control: Control) -> str:
    return (
        f"{name}: {percent(control.sparsity)} zeros, {control.copies} x the weights, "
        f"layer error {control.layer_error:.3g}, Dice {control.agreement.dice:.3f}"
    )
