"""Chapters of an adaptation: ranking, annotation session, fine-tuning with its gain."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from napari_connecto.core.documents import number
from napari_connecto.core.errors import ConnectoError
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.reports import charts, pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing, in_words
from napari_connecto.reports.results import Result
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState, editing_text, patch_states

SHOWN = 6
"""Patches of a session to draw."""


def session_chapter(result: Result) -> Chapter:
    """Chapter of an annotation session: suggested patches, reasons, and their states."""
    states = patch_states(EventLog(result.path / "events.jsonl").events())
    count = {status: sum(s.status == status for s in states) for status in ("committed", "waiting", "skipped")}
    held = sum(s.held_out and s.status == "committed" for s in states)
    keys = ((str(len(states)), "patches suggested"), *((str(n), status) for status, n in count.items()))
    keys = (*keys, (str(held), "of the committed patches are held out for measuring"))
    verdict = f"{count['committed']} of {len(states)} suggested patches are annotated, {held} of them held out."
    verdict += f" Labels: {editing_text(states)}." * bool(count["committed"])
    sections = (
        Section("Suggested patches", figures=_patches(result, states), tables=(_queue(states),)),
        *closing(result),
    )
    warn = () if held or not count["committed"] else ("No patch is held out, so the gain cannot be measured.",)
    if unedited := sum(s.unedited for s in states):
        warn = (*warn, f"Accepted unedited: {unedited} of the committed patches. Their labels are model output.")
    title = f"Annotation of '{result.name}'" if result.name else "Annotation"
    return Chapter(title, "Annotation session", str(result.path), verdict, keys, warn, sections)


def _queue(states: Sequence[PatchState]) -> Table:
    rows = tuple(
        (
            str(s.id),
            f"{' '.join(map(str, s.box.start))} to {' '.join(map(str, s.box.stop))}",
            s.status + (", held out" if s.held_out else ""),
            s.origin,
            s.reason,
        )
        for s in states
    )
    return Table(("patch", "box (z y x, voxels)", "state", "labels", "reason"), rows)


def _patches(result: Result, states: Sequence[PatchState]) -> tuple[Figure, ...]:
    """Image and labels of the first committed patches."""
    figures = []
    for state in [s for s in states if s.status == "committed"][:SHOWN]:
        folder = result.path / "patches" / f"{state.id:04d}"
        try:
            image, labels = (open_volume(folder / name) for name in ("image.zarr", f"labels-{state.labels}.zarr"))
        except ConnectoError:
            continue
        panels = [("image", pictures.section(image), "image"), ("labels", pictures.section(labels), "labels")]
        held = ", held out" if state.held_out else ""
        figures.append(Figure(pictures.strip(panels, width=6.0), f"Patch {state.id}{held}: {state.reason}", wide=False))
    return tuple(figures)


def tune_chapter(result: Result) -> Chapter:
    """Chapter of a fine-tuning: before and after on held-out patches."""
    card = result.json("model/card.json")
    told = (card.get("metrics") or {}).get("fine_tune") or {}
    found, patches = result.json("comparison.json"), told.get("patches")
    models = [("weights (SHA-256)", str(card.get("digest", ""))), ("training data", str(card.get("training", "")))]
    models.append(("licence", str(card.get("licence", ""))))
    learnt = () if patches is None else ((str(patches), "annotated training patches"),)
    sections: tuple[Section, ...] = closing(result, str(told.get("version", "")), models)
    title = f"Fine-tuned on '{result.name}'" if result.name else "Fine-tuned"
    annotated = tuple(line[:1].upper() + line[1:] + "." for line in result.json("annotation.json").get("lines") or ())
    if not found:
        unknown = "No held-out patch was usable, so the gain is unknown; suggest some with --random-arm."
        about = (Section("Annotated patches", annotated),) if annotated else ()
        return Chapter(title, "Fine-tuning", str(result.path), unknown, learnt, (), (*about, *sections))
    prepared = result.json("start/prepare.json").get("lines") or ()
    low, high = (number(v) for v in found["interval"])
    span = f" ({low:+.3f} to {high:+.3f}, 95 %)" if isfinite(low) and isfinite(high) else ""
    keys = (
        (f"{found['before']['total']:.3f}", "VI before, bits (held-out patches)"),
        (f"{found['after']['total']:.3f}", "VI after, bits"),
        (f"{found['gain']:+.3f}", f"bits gained{span}"),
        *learnt,
    )
    helped = Section(
        "Gain on held-out patches",
        (VI, *prepared, *annotated),
        _compared(found),
        (_by_patch(found), _thresholds(found)),
    )
    warn = () if span and (low > 0 or high < 0) else (UNSURE,)
    return Chapter(title, "Fine-tuning", str(result.path), found["verdict"], keys, warn, (helped, *sections))


VI = (
    "Variation of information (Meilă 2007) between segmentation and annotation, in bits: split errors cut neurites "
    "apart, merge errors join separate ones; 0 is perfect. Neither model was trained on these patches, and the "
    "thresholds of both were tuned on the annotated training patches alone."
)
UNSURE = "The gain is not significant on these held-out patches; hold out more to measure it better."


def _compared(found: Mapping[str, Any]) -> tuple[Figure, ...]:
    before, after = found["before"]["vi"], found["after"]["vi"]
    each = [b["total"] - a["total"] for b, a in zip(before, after, strict=True)]
    return (
        Figure(charts.before_after(before, after), "Each held-out patch, before (pale) and after (full).", wide=False),
        Figure(
            charts.gain(each, found["gain"], found["interval"]),
            "Gain in bits on each held-out patch (dots) and on average (diamond; bar: 95 %, Student's t over patches).",
            wide=False,
        ),
    )


def _by_patch(found: Mapping[str, Any]) -> Table:
    rows = []
    before, after = found["before"]["vi"], found["after"]["vi"]
    for n, b, a in zip(found.get("patches") or itertools.count(1), before, after, strict=False):
        cells = [f"{vi[k]:.3f}" for vi in (b, a) for k in ("split", "merge", "total")]
        rows.append((str(n), *cells, f"{b['total'] - a['total']:+.3f}"))
    names = ("patch", "split before", "merge", "total", "split after", "merge", "total", "gain")
    return Table(names, tuple(rows), "Variation of information, bits.")


def _thresholds(found: Mapping[str, Any]) -> Table:
    names = ("mode", "boundary_threshold", "merge_threshold", "min_size")
    both = (found["before"]["params"], found["after"]["params"])
    rows = tuple((name, *(in_words(p[name]) for p in both)) for name in names)
    return Table(("threshold of the segmentation", "before", "after"), rows)


def curve(results: Sequence[Result]) -> Section | None:
    """VI over annotated patches, if several fine-tunings were compared; None for fewer than two."""
    points = []
    for result in results:
        told = (result.json("model/card.json").get("metrics") or {}).get("fine_tune") or {}
        found = result.json("comparison.json")
        if found and told.get("patches"):
            points.append((int(told["patches"]), found["before"]["total"], found["after"]["total"], result.path.name))
    if len(points) < 2:
        return None
    return Section("VI by annotated patches", figures=(Figure(charts.vi_curve(sorted(points)), CURVE),))


CURVE = (
    "Variation of information on held-out patches for each fine-tuning below, by number of training patches. "
    "Sets of held-out patches may differ between runs."
)
