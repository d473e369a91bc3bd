"""What the dock says while segments are proofread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_connecto.core.geometry import Vec3
    from napari_connecto.workflows.segment.proofread.decisions import Decision

FLAT = "Clicks are places in a section; switch back from the 3-D view to click."
NOTHING = "There is no segment there."


def next_click(kind: str, first: tuple[Vec3, int] | None) -> str:
    """What to click next."""
    if kind == "merge":
        return "Click two segments that are one." if first is None else f"{first[1]} is chosen. Click its other part."
    if first is None:
        return "Click a segment on one side of the place to cut."
    return f"{first[1]} is chosen. Click it on the other side of the cut."


def decided(decision: Decision, now: tuple[int, int]) -> str:
    """What a decision did."""
    if decision.kind == "merge":
        return f"Merged into {now[0]}."
    return f"Split into {now[0]} and {now[1]}."


def stepped(step: str, decision: Decision | None) -> str:
    """What was undone or brought back."""
    if decision is None:
        return f"There is nothing to {step}."
    return f"{'Undid' if step == 'undo' else 'Brought back'} a {decision.kind}."


def trained(count: int) -> str:
    """How many patches were added."""
    if count == 1:
        return "1 patch added: check and commit it in step 2."
    return f"{count} patches added: check and commit them in step 2."


def train_button(count: int) -> str:
    """Text of the button that makes patches of corrections."""
    return f"Train on {count} correction{'s' if count != 1 else ''}" if count else "Train on corrections"
