"""Models and masks as `concepts` takes them: named, ordered, and on the grid of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.taps import Network, network
from napari_connecto.workflows.inspect.concepts.result import Axis
from napari_connecto.workflows.shared.on_grid import placed_on

Models: TypeAlias = Predictor | Sequence[Predictor] | Mapping[float, Predictor]
Mask: TypeAlias = Volume | np.ndarray
DEFAULT = "concept"
"""Name of a mask that has none."""


@dataclass(frozen=True)
class Named:
    """A network with its place on an axis."""

    name: str
    axis: Axis
    at: float
    network: Network


def named_networks(model: Models, sizes: Mapping[int, Predictor] | None) -> list[Named]:
    """Checkpoints in ascending order, then sizes.

    Raises
    ------
    InputError
        If there is none, or they read voxels of different sizes.
    ModelError
        If layers cannot be reached.
    """
    if isinstance(model, Mapping):
        steps = sorted((float(at), one) for at, one in model.items())
    elif isinstance(model, Sequence):
        steps = [(float(at), one) for at, one in enumerate(model)]
    else:
        steps = [(0.0, model)]
    if not steps:
        raise InputError("got no model; give one, or checkpoints by their step")
    steps.sort(key=lambda pair: pair[0])
    found = [Named(f"step {at:g}" if len(steps) > 1 else one.card.name, "step", at, network(one)) for at, one in steps]
    found += [Named(f"width {at}", "width", float(at), network(one)) for at, one in sorted((sizes or {}).items())]
    kinds = {(one.network.card.voxel_nm, one.network.card.channels) for one in found}
    if len(kinds) > 1:
        raise InputError(f"got models of voxels and channels {sorted(kinds)}; compare models that read the same level")
    return found


def mask_levels(masks: Mapping[str, Mask] | Mask, volume: Volume, level: Level) -> dict[str, Level]:
    """Masks on the grid of ``level``, by name; nothing is read.

    Parameters
    ----------
    masks
        See `placed_on`.
    volume, level
        Image, and the level of it that the model reads.

    Raises
    ------
    InputError
        If there is none, or an array has another shape.
    """
    named = masks if isinstance(masks, Mapping) else {_name(masks): masks}
    if not named:
        raise InputError("got no mask; give one or more, by the name of what they show")
    return {str(name): placed_on(mask, volume, level, f"a mask '{name}'") for name, mask in named.items()}


def _name(mask: Mask) -> str:
    if not isinstance(mask, Volume):
        return DEFAULT
    return Path(mask.source).name.split(".")[0] or mask.name if mask.source else mask.name
