"""One HTML page for a finished result folder, or for all results below a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from napari_connecto.core.errors import ConnectoError, StoreError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.io.disk import write_text
from napari_connecto.reports.adapt import curve, session_chapter, tune_chapter
from napari_connecto.reports.cascade import detect_chapter
from napari_connecto.reports.guard import check_chapter
from napari_connecto.reports.images import predict_chapter, segment_chapter, volume_chapter
from napari_connecto.reports.inspect import missed_chapter
from napari_connecto.reports.page import Chapter, html
from napari_connecto.reports.prune import prune_chapter
from napari_connecto.reports.ranking import rank_chapter
from napari_connecto.reports.results import Result, results_in
from napari_connecto.reports.translate import translate_chapter, translator_chapter

PAGE = "report.html"
CHAPTERS: dict[str, Callable[[Result], Chapter]] = {
    "detect": detect_chapter,
    "rank": rank_chapter,
    "session": session_chapter,
    "fine-tune": tune_chapter,
    "segment": segment_chapter,
    "predict": predict_chapter,
    "translate": translate_chapter,
    "train-translator": translator_chapter,
    "why-missed": missed_chapter,
    "guard-check": check_chapter,
    "prune": prune_chapter,
}


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write one self-contained HTML page from the files of a finished result.

    Parameters
    ----------
    folder
        Result folder of a command or dock: search, ranking, annotation session, fine-tuning, segmentation, prediction,
        translation, trained translator, guard check, explained miss or smaller model; or a folder that contains such
        folders, for one page of all.
    out
        Path of the page, which is replaced if it exists. Default: ``report.html`` in the folder.

    Returns
    -------
    Path
        The page. Its pictures are embedded, so that it needs no network and can be sent as it is.

    Raises
    ------
    InputError
        If the folder contains no result.
    StoreError
        If the only result is unfinished or damaged, or the page cannot be written.

    Notes
    -----
    The page is made anew from what is on disk, also of old results. Pictures are single sections of at most 900 voxels
    a side, read from a level that fits; the input is opened where the recipe says, and left out if it is gone.

    Examples
    --------
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> boundary = nc.predict(nc.open_sample("neuropil"), model, out="boundary", region=nc.Box((0, 0, 0), (1, 64, 64)))
    >>> nc.write_report("boundary").name
    'report.html'
    """
    return run(write_report_job(folder, out))


def write_report_job(folder: str | Path, out: str | Path | None = None) -> Job[Path]:
    """`write_report` as a job, with a report per result."""
    folder = Path(folder)
    results = results_in(folder)
    path = Path(out) if out is not None else folder / PAGE
    chapters = []
    for n, result in enumerate(results):
        yield Progress(n, len(results), "writing the report")
        chapters.append(_chapter(result, alone=len(results) == 1))
    together = curve([result for result in results if result.kind == "fine-tune"])
    if together is not None:
        first = next(i for i, result in enumerate(results) if result.kind == "fine-tune")
        chapters[first] = replace(chapters[first], sections=(together, *chapters[first].sections))
    title = chapters[0].title if len(chapters) == 1 else f"{folder.resolve().name}: {len(chapters)} results"
    write_text(path, html(title, chapters))
    yield Progress(len(results), len(results), "writing the report")
    return path


def _chapter(result: Result, alone: bool) -> Chapter:
    """Chapter of a result; on a page of several, an unfinished or damaged result says so in its place."""
    try:
        if result.lacks:
            raise StoreError(f"'{result.path}' is not finished (no {', '.join(result.lacks)}); run it again to resume")
        try:
            return CHAPTERS.get(result.kind, volume_chapter)(result)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ConnectoError):
                raise
            raise StoreError(f"'{result.path}' is damaged ({error!r:.200}); run it again in another folder") from error
    except ConnectoError as error:
        if alone:
            raise
        return Chapter(result.name or result.path.name, result.kind, str(result.path), "", (), (str(error),))
