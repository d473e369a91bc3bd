"""Segmenting the X-ray and its translation alike, and comparing both in 3-D; no Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_connecto.core.jobs import Job, named
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.painted.bars import Bar
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, FILL
from napari_connecto.widgets.shared.segmentation import Segmenting, segmenting_job
from napari_connecto.widgets.xray.jobs import Translating

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_connecto.workflows.xray.check.compare import Comparison

PARTS = {"X-ray": 1.0, "EM-like": 1.0, "comparing": 0.05}
"""Expected work; of one image as much as of the other, as both are read at the model's voxel size."""


@dataclass(frozen=True)
class Source:
    """The translated image, and what it was translated from."""

    image: Layer
    finest: Level
    what: Translating
    complete: bool

    @property
    def out(self) -> Path:
        """Folder of the translation."""
        return self.what.out


class Both(NamedTuple):
    """Segments of the X-ray and of the EM-like image, and how they compare."""

    xray: Volume
    em_like: Volume
    comparison: Comparison


def both_job(tasks: Sequence[Segmenting], truth: Callable[[], Volume] | None = None) -> Job[Both]:
    """Segment one after the other (stages name which), then compare them, with the truth that is opened here."""
    (xray, em_like), phases = tasks, Phases(PARTS)
    first = yield from phases.run("X-ray", named("X-ray", segmenting_job(xray)))
    second = yield from phases.run("EM-like", named("EM-like", segmenting_job(em_like)))
    from napari_connecto.workflows.xray.check.compare import compared

    true = None if truth is None else replace(truth(), kind="labels")
    found = yield from phases.call("comparing", lambda: compared(first, second, true))
    return Both(first, second, found)


def bars_of(found: Comparison) -> list[Bar]:
    """A comparison as bars: with a truth, the error of each; without, what one merges and the other separates."""
    if found.truth:
        full = max(vi.total for vi in found.truth.values()) or 1.0
        return [
            Bar(
                name,
                vi.total / full,
                FILL if name == "EM-like" else BAD,
                f"{vi.total:.2f} bits",
                tip=f"{name}: VI {vi.total:.2f} bits; split {vi.split:.2f}, merge {vi.merge:.2f}; 0 is perfect",
            )
            for name, vi in found.truth.items()
        ]
    rows = (("X-ray merges", found.between.merge), ("EM-like merges", found.between.split))
    full = max(bits for _, bits in rows) or 1.0
    tip = "what this segmentation merges and the other keeps apart, bits"
    return [Bar(name, bits / full, FAIR, f"{bits:.2f} bits", tip=f"{name}: {tip}") for name, bits in rows]
