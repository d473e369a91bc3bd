"""Commands that do a run: arguments and options come from the fields of its entry, see `recipes.entries`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from napari_connecto.cli.options import PROGRESS_OPTION, drive, finish, parameters, value_of
from napari_connecto.cli.stopping import StopOnInterrupt
from napari_connecto.core.jobs import Job, Progress, loading
from napari_connecto.core.phases import Phases
from napari_connecto.workflows.recipes.entries.leaves import OF_THE_FILE, Leaf, leaves, shares
from napari_connecto.workflows.recipes.entries.run import Run, Summary

REPORT_SHARE = 0.02
"""Of the work of a command with ``--report``: the page took 1 to 4 s after jobs of a minute and more."""


@dataclass(frozen=True)
class How:
    """How a command does a run; no part of the run itself."""

    progress: str = "bar"
    report: bool = False
    scheduler: str | None = None
    workers: int = 0


def how_options(clustered: bool, reports: bool = True) -> list[click.Parameter]:
    """The options of `How`; without a place to run where tiles run in this process alone, or a page there is none."""
    page = "Also write OUT/report.html: pictures, figures, parameters and provenance on one page."
    scheduler = "Run on this Dask cluster, e.g. tcp://host:8786."
    workers = "Local Dask workers to start; 0: run in this process."
    progress = click.Option(["--progress"], **PROGRESS_OPTION)
    where: list[click.Parameter] = [
        click.Option(["--scheduler"], metavar="ADDRESS", help=scheduler),
        click.Option(["--workers"], type=click.IntRange(0), default=0, help=workers),
    ]
    report = click.Option(["--report"], is_flag=True, help=page)
    return [*(where if clustered else ()), *([report] if reports else ()), progress]


def take_how(options: dict[str, Any]) -> How:
    """Take the options of `How` out of ``options``."""
    return How(**{field.name: options.pop(field.name) for field in dataclasses.fields(How) if field.name in options})


def run_command(
    kind: type[Run], more: Sequence[click.Parameter] = (), do: Callable[..., None] | None = None
) -> click.Command:
    """The command of a workflow.

    Parameters
    ----------
    kind
        Its entry.
    more
        Options that are no part of the run.
    do
        Called with the run, `How` and the values of ``more``; `do_run` by default.
    """

    def callback(**options: Any) -> None:
        how, only = take_how(options), options.pop("only_estimate", False)
        extra = {parameter.name: options.pop(parameter.name) for parameter in more}
        run = run_from(kind, options)
        if only:
            found = drive(run.estimate_job(), how.progress)
            figures = dataclasses.asdict(found) | {"seconds": found.seconds}
            finish(figures | {"lines": list(found.lines())}, how.progress)
        else:
            (do or do_run)(run, how, **extra)

    own = [
        parameter
        for leaf in sorted(leaves(kind), key=lambda leaf: _place(kind, leaf))
        for parameter in parameters(leaf)
    ]
    cost = click.Option(
        ["--estimate", "only_estimate"], is_flag=True, help="Print the estimated time, memory and disk space, and stop."
    )
    options = [*own, *more, *([cost] if kind.estimates else []), *how_options(kind.clustered, kind.reports)]
    name = (kind.command or kind.workflow).split()[-1]
    return click.Command(name, params=options, callback=callback, help=inspect.getdoc(kind))


def _place(kind: type[Run], leaf: Leaf) -> tuple[int, int]:
    """Where an option stands in ``--help``: arguments in their order, what is needed, how it is opened, params."""
    if leaf.argument:
        return 0, kind.arguments.index(leaf.path[0])
    if leaf.path[0] == "volume":
        return 2, 0
    return (1, 0) if len(leaf.path) == 1 or leaf.path[-1] in ("path", "array", "voxel_nm") else (3, 0)


def run_from(kind: type[Run], options: dict[str, Any]) -> Run:
    """The run that the options of its command ask for.

    Raises
    ------
    InputError
        As `run_of` does.
    """
    from napari_connecto.workflows.recipes.document import run_of

    recipe: dict[str, Any] = {"workflow": kind.workflow}
    for leaf in leaves(kind):
        value = value_of(leaf, options)
        if _is_given(leaf) if leaf.given else value not in (None, leaf.default):
            inner = recipe
            for name in leaf.path[:-1]:
                inner = inner.setdefault(name, {})
            inner[leaf.path[-1]] = value
    for field in dataclasses.fields(kind):
        if shares(field, "voxel_nm") and field.name in recipe:
            labels = recipe[field.name]
            size = labels.get("voxel_nm", recipe["volume"].get("voxel_nm"))
            labels["voxel_nm"] = None if size == list(OF_THE_FILE) else size
    return run_of(recipe)


def _is_given(leaf: Leaf) -> bool:
    source = click.get_current_context().get_parameter_source(leaf.option)
    return source == click.core.ParameterSource.COMMANDLINE


def do_run(run: Run, how: How) -> None:
    """Do a run, print its summary, and make a page of it where that was asked for."""
    if how.report and not run.reports:
        raise click.UsageError(f"{run.workflow} has no report page; omit --report")
    if how.report and not run.out:
        raise click.UsageError("--report needs --out, the folder that it is written to")
    with StopOnInterrupt(run) as stopping:
        summary = drive(stopping.watched(_run_job(run, how)), how.progress)
    more = [f"written to {summary.out}"] if summary.out else []
    page = summary.figures.get("report")
    finish(summary.to_json(), how.progress, [*more, *([f"report: {page}"] if page else [])])


def _run_job(run: Run, how: How) -> Job[Summary]:
    """A run's job, and what comes before and after it; what takes seconds to load has a name."""
    yield loading("torch")
    from napari_connecto.compute.cluster import connect
    from napari_connecto.workflows.recipes.recipe import run_job

    if how.scheduler or how.workers:
        where = f"connecting to {how.scheduler}" if how.scheduler else f"starting {how.workers} workers"
        yield Progress(0, 0, where, overall=0.0)
    share = REPORT_SHARE * how.report
    phases = Phases({"working": 1 - share, "writing the report": share})
    with connect(how.scheduler, how.workers) as client:
        summary: Summary = yield from phases.run("working", run_job(run, client))
    if how.report:
        from napari_connecto.reports.write import write_report_job

        page = yield from phases.run("writing the report", write_report_job(summary.out))
        summary = dataclasses.replace(summary, figures={**summary.figures, "report": str(page)})
    return summary
