"""Readings of `concepts` as rows of a plot: the probe, its control, chance, and whether the answer depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_connecto.core.amounts import change
from napari_connecto.widgets.shared.painted.bars import Bar
from napari_connecto.widgets.viewer.view import OKABE_ITO

if TYPE_CHECKING:
    from napari_connecto.workflows.inspect.concepts.result import Concepts, Reading
    from napari_connecto.workflows.inspect.concepts.used import Used

READ = (
    "Average precision of a linear probe of each stage, on blocks left out. The tick is the best of untrained "
    "networks:\nonly bars that pass it show what the model has learnt. Then chance (the structure's share of the "
    "pixels),\nand by how much the answer's margin changes when the direction is set to its mean: readable is not used"
)
HEAT = "Average precision of a linear probe, by stage (rows) and checkpoint (columns), on blocks left out"


def stage_rows(found: Concepts, concept: str) -> list[Bar]:
    """A bar for each stage of the last checkpoint."""
    used = {u.stage: u for u in found.used if u.concept == concept and u.what == "probe"}
    return [_bar(reading, used.get(reading.stage)) for reading in found.last(concept)]


def steps_of(found: Concepts, concept: str) -> list[str]:
    """Names of the checkpoints."""
    return [f"{reading.at:g}" for reading in found.along("step", concept, found.stages[0])]


def _bar(reading: Reading, used: Used | None) -> Bar:
    control = max(reading.untrained) if reading.untrained else reading.prevalence
    learnt = reading.low > control
    colour = OKABE_ITO["good"] if learnt else "#808080"
    text = f"{reading.probe:.2f}, chance {reading.prevalence:.2f}{'' if used is None else f', {_effect(used)}'}"
    tip = (
        f"{reading.stage}: average precision {reading.probe:.3f} ({reading.low:.3f} to {reading.high:.3f}), chance "
        f"{reading.prevalence:.3f}, untrained networks {control:.3f} at most"
    )
    if used is not None:
        most = max(map(abs, used.controls), default=0.0)
        tip += f"\nwithout it the margin of {used.margin:.2f} changes by {used.effect:+.3f}; random ones: {most:.3f}"
    return Bar(reading.stage, reading.probe, colour, text, control, tip)


def _effect(used: Used) -> str:
    """In short, for the row."""
    if not used.used or not used.margin:
        return "not used"
    return f"used ({change(used.effect / abs(used.margin))})"
