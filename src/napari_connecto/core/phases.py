"""Progress of a job of several phases: its overall share, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.jobs import Job, Progress

T = TypeVar("T")
SURE_S = 1.0
"""Seconds after which a rate counts as known."""


@dataclass
class Phases:
    """The phases of a job, in order, and the share of the work expected of each.

    Parameters
    ----------
    work
        Expected work per phase, by its name for users, in any unit (seconds, tiles); 0 for phases that are only named,
        such
        as loading a library. A job may leave phases out.

    Notes
    -----
    The rest of the present phase is estimated from its own rate, later phases from their expected work at the rate of
    everything so far. What an earlier run had finished does not count for the rate.
    """

    work: Mapping[str, float]
    _reached: float = field(default=0.0, init=False)
    _spent_s: float = field(default=0.0, init=False)
    _covered: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        total, start = sum(self.work.values()), 0.0
        if not total > 0 or min(self.work.values()) < 0:
            raise ValueError(f"got work {dict(self.work)}; none may be below 0, and one must be above")
        self._places: dict[str, tuple[float, float]] = {}
        for name, work in self.work.items():
            self._places[name] = (start, work / total)
            start += work / total
        self._parts: dict[str, tuple[tuple[str, float], ...]] = {
            name: ((name, share),) for name, (_, share) in self._places.items() if share > 0
        }

    def run(self, name: str, job: Job[T]) -> Job[T]:
        """A job as the phase ``name``: the same reports with ``overall`` and ``left_s``, and one at its end if need be.

        Its own phases, where it has some, are laid into the phase, also in ``phases`` of the reports. Stages without a
        name get the phase's. Of a job that reports nothing nothing is said, unless it is the last.
        """
        pace, last = _Pace(), None
        try:
            while True:
                last = next(job)
                yield self._placed(name, last, pace)
        except StopIteration as stop:
            result: T = stop.value
        finally:
            job.close()
        if pace.fraction < 1 and (last is not None or self._is_last(name)):
            end = replace(last or Progress(1, 1, name), payload=None, overall=1.0, left_s=0.0)
            yield self._placed(name, end, pace)  # `done` stays: what was stopped early did not do all
        self._spent_s += pace.elapsed_s
        self._covered += pace.covered * self._places[name][1]
        return result

    def call(self, name: str, work: Callable[[], T]) -> Job[T]:
        """A phase without progress of its own: its name is reported, then the work is done."""

        def job() -> Job[T]:
            yield Progress(0, 1, name)
            return work()

        return self.run(name, job())

    def _is_last(self, name: str) -> bool:
        return name == next(reversed(self._places))

    def _placed(self, name: str, progress: Progress, pace: _Pace) -> Progress:
        start, share = self._places[name]
        pace.at(progress)
        self._reached = min(1.0, max(self._reached, start + share * pace.fraction))
        if self._is_last(name) and pace.fraction >= 1:
            self._reached = 1.0  # sums of shares are rounded
        left = self._left_s(name, share, progress.left_s, pace)
        if share > 0 and progress.phases:
            self._parts[name] = tuple((part, share * inner) for part, inner in progress.phases)
        parts = tuple(part for each in self._parts.values() for part in each)
        return replace(progress, stage=progress.stage or name, overall=self._reached, left_s=left, phases=parts)

    def _left_s(self, name: str, share: float, own_left_s: float | None, pace: _Pace) -> float | None:
        """Seconds until all phases are done; None while no rate is known."""
        later = sum(s for start, s in self._places.values() if start > self._places[name][0])
        spent, covered = self._spent_s + pace.elapsed_s, self._covered + share * pace.covered
        per_share = spent / covered if covered > 0 and spent >= SURE_S else None
        here = own_left_s if own_left_s is not None else pace.left_s
        if here is None and per_share is not None:
            here = per_share * share * (1 - pace.fraction)
        if here is None or (later > 0 and per_share is None):
            return None
        return here + (later * per_share if per_share is not None else 0.0)


@dataclass
class _Pace:
    """Rate of a phase from its first report on, so that what was finished before does not count."""

    fraction: float = 0.0
    covered: float = 0.0
    elapsed_s: float = 0.0
    _started: float | None = None
    _first: float = 0.0

    def at(self, progress: Progress) -> None:
        known = share_of(progress)
        self.fraction = max(self.fraction, known if known is not None else 0.0)
        now = time.monotonic()
        if self._started is None:
            self._started, self._first = now, self.fraction
        self.covered, self.elapsed_s = self.fraction - self._first, now - self._started

    @property
    def left_s(self) -> float | None:
        if self.fraction >= 1:
            return 0.0
        if self.covered <= 0 or self.elapsed_s < SURE_S:
            return None
        return self.elapsed_s * (1 - self.fraction) / self.covered


def share_of(progress: Progress) -> float | None:
    """Share done according to a report: of the whole job if it says so, else of its stage."""
    if progress.overall is not None:
        return progress.overall
    return min(1.0, max(0.0, progress.done / progress.total)) if progress.total else None


def left_text(seconds: float | None) -> str:
    """Text beside a bar: ", 2 min 05 s left"; "" if unknown, or less than a second."""
    return f", {seconds_text(seconds)} left" if seconds is not None and seconds >= 1 else ""


class Watch:
    """State of a progress bar: `share` of the whole in 0..1 and seconds left, None while unknown, and the `phases`.

    A job without overall progress is followed stage by stage. Between two reports time passes: the estimated time left
    shrinks, and becomes unknown once it is over.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self.phases: tuple[tuple[str, float], ...] = ()
        self._last: Progress | None = None
        self._pace, self._stage, self._at = _Pace(), "", 0.0

    def see(self, progress: Progress) -> None:
        """Take a report into account; a repeated one changes nothing."""
        if progress is self._last:
            return
        if progress.overall is None and progress.stage != self._stage:
            self._pace = _Pace()
        self._last, self._stage, self._at = progress, progress.stage, time.monotonic()
        self.share, self.phases = share_of(progress), progress.phases or self.phases
        self._pace.at(progress)

    @property
    def left_s(self) -> float | None:
        """Seconds until the job is done."""
        if self._last is None:
            return None
        said = self._pace.left_s if self._last.overall is None else self._last.left_s
        left = None if said is None else said - (time.monotonic() - self._at)
        return left if left is not None and left > 0 else None
