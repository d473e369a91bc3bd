"""Which model goes on to segment: the old one, unless the new one is better for certain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from napari_connecto.widgets.adapt.annotate.session_jobs import SCRATCH_FOLDER
from napari_connecto.widgets.adapt.train_jobs import tuned_model
from napari_connecto.widgets.shared.boundary_models import model_name, tuned_params
from napari_connecto.workflows.segment.params import SegmentParams


@dataclass(frozen=True)
class Kept:
    """The model that segments, the thresholds tuned for it (None: untuned), and why it is this one."""

    name: str
    folder: Path
    params: SegmentParams | None = None
    reason: str = ""


@dataclass(frozen=True)
class Gain:
    """95 % confidence interval of what a fine-tuning gained, bits; NaN where it was not measured."""

    low: float = nan
    high: float = nan

    @classmethod
    def of(cls, out: Path) -> Gain:
        """As the fine-tuning in a folder measured it."""
        try:
            low, high = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["interval"]
            return cls(nan if low is None else float(low), nan if high is None else float(high))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    @property
    def improved(self) -> bool:
        """Whether all of the interval lies above zero."""
        return self.low > 0

    def text(self) -> str:
        """In words."""
        if not isfinite(self.low):
            return "the gain has no confidence interval; hold out two or more patches to measure one"
        span = f"95 % CI {self.low:+.3f} to {self.high:+.3f} bits"
        if self.improved:
            return f"significant gain ({span})"
        return f"significantly worse ({span})" if self.high < 0 else f"no significant gain ({span})"


def old_model(base: Path, params: SegmentParams | None = None, reason: str = "") -> Kept:
    """The model a fine-tuning began with."""
    return Kept(f"{model_name(base)} (old)", base, params or tuned_params(base), reason)


def new_model(tuned: Path, params: SegmentParams | None = None, reason: str = "") -> Kept:
    """What a fine-tuning in this folder made."""
    model = tuned_model(tuned)
    return Kept(f"{tuned.name} (new)", model, params or tuned_params(model), reason)


def default_model(
    base: Path, tuned: Path, gain: Gain, before: SegmentParams | None = None, after: SegmentParams | None = None
) -> Kept:
    """The new model where its gain is significant, or where the old one is untrained; else the old one.

    ``before`` and ``after`` are the thresholds tuned for either.
    """
    if base.name == SCRATCH_FOLDER:
        return new_model(tuned, after, "it started from an untrained network")
    return new_model(tuned, after, gain.text()) if gain.improved else old_model(base, before, gain.text())
