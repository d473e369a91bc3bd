"""The pre-flight card of the dock "X-ray to EM": expected cost of a translation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_connecto.core.amounts import bytes_text, seconds_text
from napari_connecto.widgets.shared.estimate_card import PreflightCard

if TYPE_CHECKING:
    from napari_connecto.workflows.xray.estimate import TranslateEstimate


TOOLTIP = (
    "Cost of Run all; two tiles are timed on this machine.\n"
    "Memory is the expected peak of this process, including libraries and models; disk space is before compression."
)


def translate_card() -> PreflightCard:
    """A card that shows a `TranslateEstimate`."""
    return PreflightCard(translate_html, TOOLTIP, "Choose an image and a translator.", _Headline())


class _Headline(QWidget):
    """The cost in one line; the rest is behind Details."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(0)

    def headline(self, estimate: TranslateEstimate) -> str:
        """Time, device and memory."""
        time, memory = seconds_text(estimate.seconds + estimate.checking_s), bytes_text(estimate.memory_bytes)
        return f"<b>About {time}</b> on {estimate.device} · memory {memory}"

    def show_outlook(self, translation: TranslateEstimate) -> str:
        """The cost of the translation, while its check is being timed."""
        return f"{self.headline(translation)}; and its check: timing…"

    def show_estimate(self, estimate: TranslateEstimate | None) -> None:
        """Nothing is drawn."""


def translate_html(estimate: TranslateEstimate) -> str:
    """An estimate in three lines."""
    shape = " × ".join(f"{n:,}" for n in estimate.shape).replace(",", " ")
    voxel, source = ("×".join(f"{v:g}" for v in nm) for nm in (estimate.voxel_nm, estimate.source_nm))
    passes = "one pass each" if estimate.passes == 1 else f"{estimate.passes} passes each"
    times = f"<b>about {seconds_text(estimate.seconds)}</b> on {estimate.device}"
    if estimate.checking_s:
        times += f"; check (membranes, segments, uncertain places): about {seconds_text(estimate.checking_s)}"
    return (
        f"{shape} voxels of {voxel} nm, from X-ray of {source} nm; {estimate.tiles} tiles, {passes}<br>"
        f"{times}<br>"
        f"memory {bytes_text(estimate.memory_bytes)}, disk at most {bytes_text(estimate.disk_bytes)}"
    )
