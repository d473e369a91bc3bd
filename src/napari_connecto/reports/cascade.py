"""Chapter of a search: the funnel, its cost, what it may have missed, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent, seconds_text
from napari_connecto.core.volume import Volume
from napari_connecto.reports import charts, pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing
from napari_connecto.reports.results import Result
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.ood.document import stated

LISTED = 20
SLAB = 0.15
"""Share of the depth, on each side of the section, within which detections are drawn."""


def detect_chapter(result: Result) -> Chapter:
    """Chapter of a finished search."""
    found = Detections.load(result.path)
    report = found.report
    volume, why = result.input()
    check = stated(report)
    warnings = [check["sentence"]] if check.get("warns") else []
    warnings += [line for line in report_lines(report) if "damaged chunks" in line]
    sections = [
        Section("Funnel", figures=(Figure(charts.funnel(report["levels"]), FUNNEL),), tables=(_levels(report),)),
        *([_audit(report)] if report["audit"]["rejected"] else []),
        *([_ood(check)] if check else []),
        Section("Detections", (why,) if why else (), _pictures(found, volume), (_table(found),)),
    ]
    inside = f" in '{result.name}'" if result.name else ""
    everywhere = "" if report["mode"] == "cascade" else ", exhaustive search"
    made = str(report.get("version", ""))
    return Chapter(
        f"{report['cascade']}{inside}{everywhere}",
        "Cascade detection",
        str(result.path),
        f"{len(found)} objects found. {report['audit']['sentence']}",
        _keys(report, len(found)),
        tuple(warnings),
        (*sections, *closing(result, made, [("level choice", str(report.get("reason", "")))])),
    )


FUNNEL = (
    "Each level of the cascade, coarsest first. Left: share of the searched volume that was classified at this level; "
    "the rest was rejected above it. Right: chunks classified, beside those expected from the cascade's measured rates."
)


def _keys(report: Mapping[str, Any], count: int) -> tuple[tuple[str, str], ...]:
    audit = report["audit"]
    keys = [
        (f"{count:,}".replace(",", " "), "objects found"),
        (seconds_text(report["seconds"]), "computing, audit included"),
    ]
    if report["mode"] == "cascade":
        keys.append((f"{report['voxels_ratio']:.1f} ×", "fewer voxels classified than in an exhaustive search"))
        low, high = report["recall"]["interval"]
        kept = f"of the objects of an exhaustive search found, expected ({percent(low, 1)} to {percent(high, 1)}, 95 %)"
        keys.append((percent(report["recall"]["expected"], 1), kept))
    if audit["rejected"] and audit["sampled"] and audit["found"]:
        bound = f"of the objects of an exhaustive search missed ({percent(audit['confidence'])} bound from the audit)"
        keys.append((f"≤ {percent(audit['lost_upper'], 1)}", bound))
    held_out = report.get("held_out")
    if held_out and held_out["labelled"]:
        low, high = held_out["interval"]
        found = f"{held_out['found']} of {held_out['labelled']}"
        keys.append((found, f"held-out objects found (95 % CI {percent(low)} to {percent(high)})"))
    return tuple(keys)


def _levels(report: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            level["name"],
            " × ".join(f"{v:g}" for v in level["voxel_nm"]),
            "–" if level["threshold"] is None else f"{level['threshold']:.3f}",
            f"{level['calls']}",
            f"{level['calls_predicted']:.0f}",
            percent(level["share"], 2),
            f"{level['passed']}",
            f"{level['seconds']:.1f}",
            f"{level['bytes'] / 1e6:.1f}",
        )
        for level in report["levels"]
    )
    names = (
        "level",
        "voxel (nm)",
        "threshold",
        "chunks",
        "expected",
        "of the volume",
        "pass",
        "seconds",
        "read, audit included (MB)",
    )
    return Table(names, rows)


def _audit(report: Mapping[str, Any]) -> Section:
    audit = report["audit"]
    rows = (
        ("chunks rejected by the cascade", str(audit["rejected"])),
        ("of these, classified again by the finest level", str(audit["sampled"])),
        ("of these, containing an object", str(audit["positives"])),
        ("chunks with an object found by the cascade", str(audit["found"])),
        ("share of objects missed, estimate", "–" if audit["lost"] is None else percent(audit["lost"], 2)),
        (f"share of objects missed, upper bound ({percent(audit['confidence'])})", percent(audit["lost_upper"], 2)),
    )
    lines = (
        audit["sentence"],
        "Missed objects are those that an exhaustive search at the finest level finds and the cascade does not. The "
        "audit cannot count what the finest level itself misses; for that, see the held-out objects. "
        "The bound is one-sided Clopper-Pearson on a random sample of the rejected chunks.",
    )
    return Section("Audit: what may have been missed", lines, tables=(Table(("", "number"), rows),))


def _ood(check: Mapping[str, Any]) -> Section:
    """Whether the volume looks like what the cascade was trained on."""
    rows = [("tissue tiles checked", check.get("tiles")), ("out of distribution", check.get("outside"))]
    rows += [
        ("expected by chance, at most", percent(check["expected"], 1) if check.get("expected") is not None else None)
    ]
    rows += [("p", f"{check['p']:.3g}" if check.get("p") is not None else None)]
    shown = tuple((name, str(value)) for name, value in rows if value is not None)
    table = (Table(("", "number"), shown),) if shown else ()
    return Section("Out-of-distribution check", (str(check["sentence"]),), tables=table)


def _pictures(found: Detections, volume: Volume | None) -> tuple[Figure, ...]:
    figures = []
    if volume is not None:
        figures.append(_overview(found, volume))
    if len(found):
        figures.append(Figure(charts.histogram(found.score, None), "Scores of the detections.", wide=False))
    return tuple(f for f in figures if f is not None)


def _overview(found: Detections, volume: Volume) -> Figure | None:
    """The section with most detections around it."""
    place = pictures.Place.of(volume.levels[0])
    depth = place.stop_nm[0] - place.start_nm[0]
    z, reach = place.middle_nm, max(SLAB * depth, volume.levels[0].voxel_nm[0] / 2)
    if len(found):
        near = np.abs(found.centre_nm[:, None, 0] - found.centre_nm[None, :2000, 0]) <= reach
        z = float(found.centre_nm[int(near.sum(axis=0).argmax()), 0])
    light = found.labels is None
    cut = pictures.section(volume, place, z, reach_nm=reach if light else 0.0)
    over = ", the brightest of the sections around it" if light else ""
    if cut is None:
        return None
    here = found.centre_nm[np.abs(found.centre_nm[:, 0] - z) <= reach]
    panels: list[pictures.Panel] = [("input", cut, "image")]
    if found.labels is not None:
        own = pictures.section(found.labels, cut.place, z)
        panels.append(("objects found", own, "labels"))
    sizes = (found.box[:, 4:] - found.box[:, 1:3]).max(axis=1) if len(found) else np.zeros(0)
    pixel_nm = (found.box_voxel_nm or volume.levels[0].voxel_nm)[1]
    radius = float(np.median(sizes)) * pixel_nm / 2 if len(sizes) else 0.0
    radius = max(radius, (place.stop_nm[2] - place.start_nm[2]) / 90)
    uri = pictures.strip(panels, circles=(here[:, 1:], radius))
    return Figure(
        uri,
        f"Section at z = {z / 1000:.1f} µm{over}. Circles: the {len(here)} objects within {reach / 1000:.1f} µm of it.",
    )


def _table(found: Detections) -> Table:
    order = np.argsort(-found.score, kind="stable")[:LISTED]
    rows = tuple(
        (str(found.id[i]), *(f"{c:.0f}" for c in found.centre_nm[i]), f"{found.score[i]:.3f}") for i in order.tolist()
    )
    rest = f"; all {len(found)} are in detections.csv" if len(found) > LISTED else ""
    return Table(("id", "z (nm)", "y (nm)", "x (nm)", "score"), rows, f"Highest scores first{rest}.")
