"""Which model segments: the old one, unless the new one is significantly better."""

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
    """The model that segments, its tuned thresholds (None: untuned), and the reason."""

    name: str
    folder: Path
    params: SegmentParams | None = None
    reason: str = ""


@dataclass(frozen=True)
class Gain:
    """95 % confidence interval of the gain of a fine-tuning, in bits; NaN if not measured."""

    low: float = nan
    high: float = nan

    @classmethod
    def of(cls, out: Path) -> Gain:
        """From the figures in a fine-tuning's folder."""
        try:
            low, high = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["interval"]
            return cls(nan if low is None else float(low), nan if high is None else float(high))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    @property
    def improved(self) -> bool:
        """Whether the whole interval is above zero."""
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
    """The original model of a fine-tuning."""
    return Kept(f"{model_name(base)} (old)", base, params or tuned_params(base), reason)


def new_model(tuned: Path, params: SegmentParams | None = None, reason: str = "") -> Kept:
    """The model of the fine-tuning in this folder."""
    model = tuned_model(tuned)
    return Kept(f"{tuned.name} (new)", model, params or tuned_params(model), reason)


def default_model(
    base: Path, tuned: Path, gain: Gain, before: SegmentParams | None = None, after: SegmentParams | None = None
) -> Kept:
    """The new model if its gain is significant, or if the old one is untrained; else the old one.

    ``before`` and ``after`` are the thresholds tuned for the old and the new model.
    """
    if base.name == SCRATCH_FOLDER:
        return new_model(tuned, after, "it started from an untrained network")
    return new_model(tuned, after, gain.text()) if gain.improved else old_model(base, before, gain.text())
