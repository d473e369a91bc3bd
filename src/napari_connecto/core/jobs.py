"""Long-running jobs as generators: they yield `Progress` and return their result; closing one cancels it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a job.

    Parameters
    ----------
    done, total
        Units of work in this stage; ``total`` 0 when unknown.
    stage
        Name of the stage, for users ("level 1").
    payload
        What became available since the last report (new detections, a loss), for live display; may be dropped.
    overall
        Share of the whole job that is done, in 0..1, over all its stages (see `core.phases`); None if the job does not
        know it.
    left_s
        Estimated seconds until the whole job is done; None while no rate is known.
    phases
        Names of the job's phases in order and the share of the work expected of each, in 0..1; empty if unknown.
    """

    done: int
    total: int
    stage: str = ""
    payload: Any = None
    overall: float | None = None
    left_s: float | None = None
    phases: tuple[tuple[str, float], ...] = ()


def loading(what: str) -> Progress:
    """A report before something heavy is loaded, such as a library."""
    return Progress(0, 0, f"loading {what}", overall=0.0)


Job: TypeAlias = Generator[Progress, None, T]

POLL_S = 0.1


def aside_job(work: Callable[[], T], stage: str) -> Job[T]:
    """Work without progress of its own, in a thread, so that the job can be cancelled in between.

    Parameters
    ----------
    work
        Must change nothing outside: when the job is closed, it goes on to its end, and its result is dropped.
    stage
        Name of the stage, for users.
    """
    found: Future[T] = Future()

    def worked() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # noqa: BLE001, raised in the job
            found.set_exception(error)

    Thread(target=worked, name=stage, daemon=True).start()
    while not found.done():
        yield Progress(0, 1, stage)
        wait([found], POLL_S)
    return found.result()


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


def named(name: str, job: Job[T]) -> Job[T]:
    """A job whose stage names begin with ``name``; its payloads are left out."""
    try:
        while True:
            progress = next(job)
            yield replace(progress, stage=f"{name}: {progress.stage}", payload=None)
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def progress_line(progress: Progress) -> str:
    """A report as one line of JSON, for another program; of payloads only named figures (a loss) are included."""
    told = {key: getattr(progress, key) for key in ("stage", "done", "total", "overall", "left_s", "phases")}
    payload = {"payload": progress.payload} if isinstance(progress.payload, dict) else {}
    return json_text({**told, **payload})


def progress_of(told: Mapping[str, Any]) -> Progress:
    """The report that `progress_line` wrote."""
    done, total = int(told["done"]), int(told["total"])
    phases = tuple((str(name), float(share)) for name, share in told.get("phases", ()))
    return Progress(done, total, told["stage"], told.get("payload"), told.get("overall"), told.get("left_s"), phases)
