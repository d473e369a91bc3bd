"""Presets of fine-tuning: which weights are trained, for how long, and how fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Which weights are trained, for how long, and how fast."""

    train: str
    steps: int
    learning_rate: float


PRESETS = {
    "quick": Preset("decoder", 100, 2e-3),
    "standard": Preset("all", 200, 3e-3),
    "full": Preset("all", 400, 2e-3),
    "adapter": Preset("adapter", 200, 5e-3),
}
