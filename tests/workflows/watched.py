"""The law of every long job: one bar that never goes back and ends full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_connecto.core.jobs import Job, Progress, run


def watched(job: Job[Any], report: Callable[[Progress], object] = id) -> Any:
    """As `run`, and what was reported is checked."""
    reports: list[Progress] = []

    def seen(progress: Progress) -> None:
        reports.append(progress)
        report(progress)

    result = run(job, seen)
    overall = [p.overall for p in reports]
    assert None not in overall, next(p for p in reports if p.overall is None)
    assert overall == sorted(overall)
    assert 0 <= overall[0] <= overall[-1] == 1
    assert all(p.stage for p in reports)
    full = next(n for n, value in enumerate(overall) if value == 1)
    assert len({p.stage for p in reports[full:]}) == 1, "the bar is full before the last stage"
    return result
