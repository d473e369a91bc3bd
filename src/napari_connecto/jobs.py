"""The same functions as jobs: generators that yield `Progress` and return the result.

``nc.jobs.NAME`` takes the arguments of ``nc.NAME``. `napari_connecto.run` runs a job to its end. Closing a job cancels
it; finished tiles stay on disk. Where a job also takes ``first=``, that region is computed before the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = (
    "adapt_translator",
    "attack",
    "check_pair",
    "check_translation",
    "compare",
    "concepts",
    "count_regions",
    "detect",
    "estimate",
    "estimate_segment",
    "fine_tune",
    "fit_guard",
    "gate_check",
    "measure",
    "membranes",
    "pair_volumes",
    "plan_fields",
    "predict",
    "probe",
    "prune",
    "rank_domains",
    "save_precomputed",
    "save_volume",
    "segment",
    "simulate_xray",
    "suggest",
    "train_cascade",
    "train_translator",
    "translate",
    "why_missed",
    "write_report",
)
__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    from napari_connecto import _HOMES

    if name not in _NAMES:
        raise AttributeError(f"module 'napari_connecto.jobs' has no attribute '{name}'")
    return getattr(import_module(f"napari_connecto.{_HOMES[name]}"), f"{name}_job")


def __dir__() -> list[str]:
    return __all__
