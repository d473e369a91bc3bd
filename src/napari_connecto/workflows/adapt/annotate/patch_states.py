"""States of a session and its suggested patches, derived from the session's documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal, TypeAlias

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.model import Scaling

Status: TypeAlias = Literal["waiting", "committed", "skipped"]
FARTHEST = 2**40
"""Largest voxel coordinate of a patch."""


@dataclass(frozen=True)
class PatchState:
    """One suggested patch.

    Parameters
    ----------
    box
        Voxels of the volume's finest level.
    held_out
        Only measures: never used for training.
    labels
        Number of the valid version of its labels, 0 for none.
    prefilled
        Whether the committed labels began as a pre-fill; None if nothing is committed, or by an older version.
    edited
        Share of voxels in which the committed labels differ from the pre-fill; NaN if there was none.
    """

    id: int
    box: Box
    score: float
    reason: str
    held_out: bool
    status: Status = "waiting"
    labels: int = 0
    prefilled: bool | None = None
    edited: float = nan

    @property
    def unedited(self) -> bool:
        """Whether the committed labels are the unchanged pre-fill."""
        return bool(self.prefilled) and self.edited == 0

    @property
    def origin(self) -> str:
        """How the committed labels were made, in words; "" if nothing is committed."""
        if self.status != "committed":
            return ""
        if self.prefilled is False:
            return "without pre-fill"
        if self.prefilled is None or not isfinite(self.edited):
            return "edits not recorded"
        return "accepted unedited" if self.unedited else f"{share_text(self.edited)} of the pre-fill edited"


def history(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Valid events: an undo removes itself and the last commit or skip."""
    kept: list[Mapping[str, Any]] = []
    for event in events:
        if event["event"] != "undo":
            kept.append(event)
            continue
        last = next(i for i in reversed(range(len(kept))) if kept[i]["event"] in ("commit", "skip"))
        del kept[last]
    return kept


def _editing(event: Mapping[str, Any]) -> dict[str, Any]:
    """What a commit records about its pre-fill; nothing if an older version wrote it."""
    prefilled = event.get("prefilled")
    return {"prefilled": None if prefilled is None else bool(prefilled), "edited": float(event.get("edited", nan))}


def share_text(share: float) -> str:
    """A share in per cent; above 0 it is never rounded to 0."""
    return "less than 0.1 %" if 0 < share < 0.001 else f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def editing_text(states: Sequence[PatchState]) -> str:
    """How the labels of the committed patches were made, in words; "" if none is committed.

    For example "2 edited (1.2 % to 15 % of voxels), 1 accepted unedited, 1 without pre-fill".
    """
    shares = sorted(s.edited for s in states if s.prefilled and isfinite(s.edited) and not s.unedited and s.labels)
    origins = [s.origin for s in states]
    said = []
    if shares:
        span = share_text(shares[0])
        if share_text(shares[-1]) != span:
            span += f" to {share_text(shares[-1])}"
        said.append(f"{len(shares)} edited ({span} of voxels)")
    others = ("accepted unedited", "without pre-fill", "edits not recorded")
    said += [f"{n} {'with ' if o.startswith('edits') else ''}{o}" for o in others if (n := origins.count(o))]
    return ", ".join(said)


def patch_states(events: Sequence[Mapping[str, Any]]) -> tuple[PatchState, ...]:
    """State of each suggested patch.

    Raises
    ------
    StoreError
        If the events contradict each other.
    """
    states: dict[int, PatchState] = {}
    try:
        for event in history(events):
            n = int(event["id"])
            if event["event"] == "suggest":
                box = Box(vec3(event["box"][:3]), vec3(event["box"][3:]))
                if max(map(abs, (*box.start, *box.stop))) > FARTHEST:
                    raise ValueError(f"a patch at {box.start}")
                states[n] = PatchState(n, box, float(event["score"]), str(event["reason"]), bool(event["held_out"]))
            elif event["event"] == "commit":
                states[n] = replace(states[n], status="committed", labels=int(event["labels"]), **_editing(event))
            elif event["event"] == "skip":
                states[n] = replace(states[n], status="skipped", labels=0, prefilled=None, edited=nan)
    except (KeyError, AttributeError, StopIteration, TypeError, ValueError, ArithmeticError) as error:
        raise StoreError(
            f"the session's events contradict each other ({error!r}); restore the folder's copy"
        ) from error
    return tuple(states[n] for n in sorted(states))


def checked_about(about: Any, path: Path) -> dict[str, Any]:
    """A session's description, if the scaling of its images is valid."""
    try:
        scaling = Scaling(**about["scaling"])
        if isfinite(scaling.offset) and isfinite(scaling.scale) and scaling.scale:
            return dict(about)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise StoreError(f"'{path}' is damaged ({error!r:.200}); restore the folder's copy") from error
    raise StoreError(f"'{path}' is damaged ({about['scaling']} scales nothing); restore the folder's copy")
