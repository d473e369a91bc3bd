"""Long work as a generator: it yields `Progress` and returns its result; closing it cancels it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from napari_connecto.core.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Parameters
    ----------
    done, total
        Units of work in this stage; ``total`` 0 when unknown.
    stage
        What is being done, in words a user reads ("level 1").
    payload
        What became available since the last report (new detections, a loss), for live display; may be dropped.
    """

    done: int
    total: int
    stage: str = ""
    payload: Any = None


Job: TypeAlias = Generator[Progress, None, T]


def run(
    job: Job[T],
    report: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> T:
    """Drive a job to its end and return its result.

    Parameters
    ----------
    job
        A generator made by one of the ``*_job`` functions.
    report
        Called with every `Progress`.
    cancelled
        Polled between steps; once true, the job is closed and `Cancelled` is raised.

    Raises
    ------
    Cancelled
        If ``cancelled()`` became true. What was finished stays in the job's store.
    """
    try:
        while True:
            progress = next(job)
            if report is not None:
                report(progress)
            if cancelled is not None and cancelled():
                raise Cancelled(f"cancelled at {progress.stage} {progress.done}/{progress.total}; run again to resume")
    except StopIteration as end:
        return end.value
    finally:
        job.close()
