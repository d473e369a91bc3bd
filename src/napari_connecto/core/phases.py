"""One bar over a job of several phases: how far the whole has come, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.jobs import Job, Progress

T = TypeVar("T")
SURE_S = 1.0
"""A pace is known after this time."""


@dataclass
class Phases:
    """The phases of a job, one after the other, and what share of the work each is expected to be.

    Parameters
    ----------
    work
        Per phase, by the name that users read, its expected work in any unit (seconds, tiles); 0 for what only has to
        be named, such as loading a library. A job may leave phases out.

    Notes
    -----
    Of the present phase the rest is estimated by its own pace, of the later ones by their expected work, at the pace
    of all that was done so far. What an earlier run had finished is not counted as pace.
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

    def run(self, name: str, job: Job[T]) -> Job[T]:
        """A job as the phase ``name``: the same reports with ``overall`` and ``left_s``, and one at its end if need be.

        Its own phases, where it has some, are laid into the phase. Stages without a name get the phase's. Of a job that
        reports nothing nothing is said, unless it is the last.
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
        """A phase that cannot say how far it has come: its name is reported, then the work is done."""

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
        return replace(progress, stage=progress.stage or name, overall=self._reached, left_s=left)

    def _left_s(self, name: str, share: float, own_left_s: float | None, pace: _Pace) -> float | None:
        """Seconds until all phases are done; None while no pace is known."""
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
    """How fast a phase goes: from its first report on, so that what was finished before does not count."""

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
    """Of the work that a report speaks of, the share that is done: of the whole where it says so, else of its stage."""
    if progress.overall is not None:
        return progress.overall
    return min(1.0, max(0.0, progress.done / progress.total)) if progress.total else None


def left_text(seconds: float | None) -> str:
    """What stands beside a bar: ", 2 min 05 s left"; "" where that is not known, or less than a second."""
    return f", {seconds_text(seconds)} left" if seconds is not None and seconds >= 1 else ""


class Watch:
    """What a bar shows of a job: `share` of the whole in 0..1 and seconds left, each None while it is not known.

    A job that does not speak of the whole is followed stage by stage. Between two reports time goes on: what was said
    to be left shrinks, and is not known any more once it is over.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self._last: Progress | None = None
        self._pace, self._stage, self._at = _Pace(), "", 0.0

    def see(self, progress: Progress) -> None:
        """Take notice of a report; the same one again says nothing new."""
        if progress is self._last:
            return
        if progress.overall is None and progress.stage != self._stage:
            self._pace = _Pace()
        self._last, self._stage, self._at = progress, progress.stage, time.monotonic()
        self.share = share_of(progress)
        self._pace.at(progress)

    @property
    def left_s(self) -> float | None:
        """Seconds until the job is done."""
        if self._last is None:
            return None
        said = self._pace.left_s if self._last.overall is None else self._last.left_s
        left = None if said is None else said - (time.monotonic() - self._at)
        return left if left is not None and left > 0 else None
