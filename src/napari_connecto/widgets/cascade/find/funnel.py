"""The funnel of a search, level by level: what is expected, what has been searched so far, what was found; no Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_connecto.core.amounts import counted, seconds_text, share_text
from napari_connecto.core.jobs import Progress

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.estimate import LevelEstimate
    from napari_connecto.workflows.cascade.outlook import LevelOutlook


@dataclass(frozen=True)
class Rung:
    """One level of the funnel.

    Parameters
    ----------
    name, voxel_nm
        "level 2", and its voxel size (z, y, x).
    expected, chunks, seconds
        Share of the volume that is expected to be searched there, in how many chunks, and how long it takes.
    done, share
        Chunks searched so far, and the share of the volume that they are; None before the search.
    outcome
        What came of it, in words; "" before its end.
    """

    name: str
    voxel_nm: tuple[float, ...]
    expected: float
    chunks: float
    seconds: float
    done: int | None = None
    share: float | None = None
    outcome: str = ""

    @property
    def tip(self) -> str:
        """All numbers, with units."""
        voxel = " × ".join(f"{v:g}" for v in self.voxel_nm)
        expected = f"{self.chunks:.0f} chunks, {share_text(self.expected)} of the volume, {seconds_text(self.seconds)}"
        lines = [f"{self.name}, voxels of {voxel}", f"expected: {expected}"]
        if self.done is not None and self.share is not None:
            lines.append(f"searched: {counted(self.done, 'chunk')}, {share_text(self.share)} of the volume")
        return "\n".join([*lines, *filter(None, [self.outcome])])


def planned(levels: Sequence[LevelEstimate | LevelOutlook]) -> list[Rung]:
    """The levels of an estimate, or of what is known before it; coarsest first."""
    return [Rung(x.name, x.voxel_nm, x.share, x.calls, x.seconds) for x in levels]


def searched(rungs: Sequence[Rung], progress: Progress) -> list[Rung]:
    """The levels after a report of the running search; chunks that an earlier pass searched still count."""
    return [_reached(rung, progress.done) if rung.name == progress.stage else rung for rung in rungs]


def _reached(rung: Rung, done: int) -> Rung:
    done = max(done, rung.done or 0)
    share = done * rung.expected / rung.chunks if rung.chunks > 0 else 0.0
    return replace(rung, done=done, share=min(1.0, share))


def ended(report: Mapping[str, Any]) -> list[Rung]:
    """The levels of a finished search, from its report; coarsest first."""
    rungs, phases, objects = [], report.get("phases", {}), report["objects"]
    for level in report["levels"]:
        last = level is report["levels"][-1]
        each = level["share"] / level["calls"] if level["calls"] else 0.0
        rungs.append(
            Rung(
                level["name"],
                tuple(level["voxel_nm"]),
                min(1.0, each * level["calls_predicted"]),
                level["calls_predicted"],
                phases.get(level["name"], {}).get("predicted", level["seconds"]),
                level["calls"],
                level["share"],
                counted(objects, "object") if last else f"{level['passed']} pass",
            )
        )
    return rungs
