"""How many parameters stored weights have, without reading them; loads no torch."""

from __future__ import annotations

from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of batch norm: stored with the weights, but no parameters."""


def parameters_in(path: Path) -> int | None:
    """Of a safetensors file, from its head; None if it is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.rpartition(".")[2] not in STATISTICS]  # noqa: SIM118
            return sum(prod(file.get_slice(name).get_shape()) for name in names)
    except SafetensorError:
        return None
