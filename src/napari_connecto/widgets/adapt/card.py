"""The pre-flight card of the step "Segment": expected cost, and a fix if the job cannot be run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_connecto.core.amounts import bytes_text, seconds_text
from napari_connecto.widgets.shared.estimate_card import PreflightCard
from napari_connecto.widgets.shared.painted.bars import Bar, BarsPlot
from napari_connecto.widgets.shared.painted.ink import FILL
from napari_connecto.workflows.segment.params import SegmentParams

if TYPE_CHECKING:
    from napari_connecto.workflows.segment.estimate import SegmentEstimate

TOOLTIP = (
    "Cost of the segmentation at the voxel size of the model; two tiles are predicted and segmented here, and timed.\n"
    "Memory is the expected peak of this process, including libraries and models; disk space is before compression."
)
SMALL = (4, 256, 256)
"""Blocks for a machine with little memory: 20 MB each, halo included."""


def segment_card() -> PreflightCard:
    """A card that shows a `SegmentEstimate`."""
    return PreflightCard(segment_html, TOOLTIP, "Choose an image and a model.", picture=CostPicture())


class CostPicture(BarsPlot):
    """Time of the boundary map and of the segments."""

    def __init__(self) -> None:
        super().__init__("Expected time of both parts")
        self.hide()

    def headline(self, estimate: SegmentEstimate) -> str:
        """Time, memory and disk space."""
        memory, disk = bytes_text(estimate.memory_bytes), bytes_text(estimate.disk_bytes)
        return f"<b>About {seconds_text(estimate.seconds)}</b> · memory {memory} · disk up to {disk}"

    def show_estimate(self, estimate: SegmentEstimate | None) -> None:
        """Draw it; None while there is none."""
        self.setVisible(estimate is not None)
        if estimate is None:
            return
        parts = [("boundary map", estimate.predict_s)] * bool(estimate.tiles) + [("segments", estimate.segment_s)]
        full = max([1e-9, *(seconds for _, seconds in parts)])
        self.show_bars([Bar(name, s / full, FILL, seconds_text(s), None, f"{name}: {s:.3g} s") for name, s in parts])


def segment_html(estimate: SegmentEstimate) -> str:
    """An estimate as a small table."""
    shape = " × ".join(f"{n}" for n in estimate.shape)
    voxel = " × ".join(f"{v:g}" for v in estimate.voxel_nm) + " nm" + (" (resampled)" if estimate.resampled else "")
    rows = [("region", f"{shape} voxels"), ("voxel", voxel)]
    if estimate.tiles:
        rows.append(("boundary map", f"{estimate.tiles} tiles, {seconds_text(estimate.predict_s)}"))
    rows.append(("segments", f"{estimate.blocks} blocks, {seconds_text(estimate.segment_s)}"))
    rows.append(("mode", estimate.reason.removeprefix("mode ")))
    cells = "".join(f"<tr><td><i>{name}</i>&nbsp;&nbsp;</td><td>{text}</td></tr>" for name, text in rows)
    return (
        f"<table cellspacing=2>{cells}</table><b>about {seconds_text(estimate.seconds)}</b> in all<br>"
        f"{estimate.device}; memory {bytes_text(estimate.memory_bytes)}, disk at most {bytes_text(estimate.disk_bytes)}"
    )


def with_small_blocks(params: SegmentParams, mode: str) -> SegmentParams | None:
    """The same params with smaller blocks, for the mode that will run; None if they are small already."""
    small = SMALL if mode != "3d" else (64, 128, 128)
    return None if params.block == small else replace(params, block=small)
