"""Chapter of "Inspect a model": why a model missed something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.reports import pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing
from napari_connecto.reports.results import Result

ANSWERS = ("bad", "restored", "good")
CAPTIONS = {"bad": "run that missed", "restored": "with ten channels of the better run", "good": "better run"}
FUNNEL = (
    "The first and the last stage carry all that follows, so they restore 100 % whatever the failure. The stages "
    "between them tell where it is."
)


def missed_chapter(result: Result) -> Chapter:
    """Chapter of why-missed: answers of both runs, stages, channels with their controls."""
    told = result.json("why_missed.json")
    panels: list[pictures.Panel] = []
    for name in ANSWERS:
        path = result.path / "maps" / f"{name}.ome.zarr"
        if path.is_dir():
            panels.append((CAPTIONS[name], pictures.section(open_volume(path)), "unit"))
    figures = (Figure(pictures.strip(panels), "Most painted tile; white is 1."),) if panels else ()
    lines = tuple(line[0].upper() + line[1:] + "." for line in told["lines"])
    rankings = [told[mode] for mode in ("total", "direct") if told.get(mode)]
    sections = (
        Section("Answers", lines, figures),
        Section("Stages", (FUNNEL,), (), (_stages(told["stages"]),)),
        *(_channels(ranking) for ranking in rankings),
        *closing(result),
    )
    low, high = told["margins"]
    keys = (
        (f"{low:.2f} → {high:.2f}", "margin, logits: missed less background pixels, bad and good run"),
        (f"{told['total']['spearman']:.2f}", "Spearman of gradient and exact replacement (below 0.8: do not trust)"),
    )
    warned = () if told["total"]["spearman"] >= 0.8 else ("The ranking of the channels is not to be trusted here.",)
    title = f"Why '{told['model']}' missed it"
    return Chapter(title, "Inspect a model", str(result.path), lines[2], keys, warned, sections)


def _stages(stages: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (s["place"], f"{s['scale_nm'][-1]:g}", str(s["channels"]), _share(s["restored"]), *_quarters(s["curves"]))
        for s in stages
    )
    heads = ("stage", "nm", "channels", "all restore", "top quarter", "random quarter", "most different quarter")
    return Table(heads, rows, "Share of the gap restored, ranked and read on the same pixels.")


def _quarters(curves: Mapping[str, Sequence[Sequence[float]]]) -> list[str]:
    return [_share(curves[order][0][1]) for order in ("gradient", "random", "difference")]


def _channels(ranking: Mapping[str, Any]) -> Section:
    rows = tuple(
        (f"{c['place']}:{c['channel']}", _share(c["effect"]), _share(c["exact"]), str(c["by_difference"]))
        for c in ranking["top"][:10]
    )
    heads = ("channel", "effect by gradient", "replaced alone", "rank by difference")
    what = "everything that follows changes too" if ranking["mode"] == "total" else "what the decoder reads alone"
    table = Table(heads, rows, f"Of {ranking['count']} channels, {what}.")
    return Section(f"Channels, {ranking['mode']} effect", (), (), (table,))


def _share(value: float) -> str:
    return percent(value)
