"""The registry: one entry per workflow. Recipe files, commands and docks derive from it; loads no torch."""

from __future__ import annotations

from napari_connecto.workflows.recipes.entries.adapt import FineTune, Prepare, Rank, Suggest, TrainDomain
from napari_connecto.workflows.recipes.entries.cascade import Detect, TrainCascade
from napari_connecto.workflows.recipes.entries.concepts import FindConcepts, MakeProbe
from napari_connecto.workflows.recipes.entries.guard import GuardCheck, GuardFit
from napari_connecto.workflows.recipes.entries.prune import Prune
from napari_connecto.workflows.recipes.entries.results import CountRegions, Measure, PlanFields
from napari_connecto.workflows.recipes.entries.run import Run
from napari_connecto.workflows.recipes.entries.segment import Predict, Segment
from napari_connecto.workflows.recipes.entries.why_missed import WhyMissed
from napari_connecto.workflows.recipes.entries.xray import (
    AdaptTranslator,
    Pair,
    SimulateXray,
    TrainTranslator,
    Translate,
)

ENTRIES: dict[str, type[Run]] = {
    kind.workflow: kind
    for kind in (
        Detect,
        TrainCascade,
        Rank,
        Suggest,
        Prepare,
        FineTune,
        Segment,
        Predict,
        TrainDomain,
        SimulateXray,
        Pair,
        TrainTranslator,
        AdaptTranslator,
        Translate,
        Measure,
        CountRegions,
        PlanFields,
        GuardFit,
        GuardCheck,
        WhyMissed,
        Prune,
        FindConcepts,
        MakeProbe,
    )
}
"""Workflows by the name that recipes give them."""
