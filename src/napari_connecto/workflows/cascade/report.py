"""Report of a search: its cost and what it may have missed, as numbers (JSON) and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.amounts import percent
from napari_connecto.core.volume import PIXEL, UNIT
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.audit import Audit
from napari_connecto.workflows.cascade.search.calls import calls, grouped
from napari_connecto.workflows.cascade.search.descent import Step
from napari_connecto.workflows.cascade.search.plan import Plan
from napari_connecto.workflows.cascade.search.run import Search
from napari_connecto.workflows.cascade.thresholds.choose import Choice
from napari_connecto.workflows.ood.document import stated

LEAST_S = 0.05
"""Seconds of a phase that is worth a word."""


def build_report(search: Search, cascade: Cascade, plan: Plan, found: Detections, audit: Audit) -> dict[str, Any]:
    """The report of a finished search; JSON.

    ``levels`` goes from the coarsest used to the finest; ``share`` is the part of the searched volume classified at a
    level. ``recall`` is relative to an exhaustive search, None if nothing was gated; ``held_out`` is the recall of the
    labelled objects that the cascade was measured on. ``calls_made``, ``seconds`` and ``bytes`` (read and decoded; for
    the finest level including the audit) add up over all runs in this folder; ``calls`` is the number of chunks
    classified in this search, of which a call covers one of ``tiles``. ``phases`` has predicted and measured seconds of
    everything, ``exhaustive`` what the best exhaustive search was expected to take.
    """
    finest, choice = search.steps[0], plan.choice
    chunks = (
        len(finest.plan) if audit.rejected == 0 and len(search.steps) == 1 else len(search.seen[0]) + audit.rejected
    )
    levels = [_level(search, choice, step, chunks) for step in reversed(search.steps)]
    alone = grouped(finest.plan, plan.exhaustive.group)
    exhaustive = chunks * plan.exhaustive.calls * int(np.prod(alone.read_shape))
    phases = {name: {"predicted": s, "seconds": search.costs.of(name)["seconds"]} for name, s in plan.seconds.items()}
    read = sum(level["voxels"] for level in levels)
    return {
        "mode": "cascade" if len(search.steps) > 1 else "one level",
        "cascade": cascade.name,
        "version": __version__,
        "target": search.rule.head,
        "diameter_nm": search.rule.diameter_nm,
        "flat": search.rule.flat,
        "objects": len(found),
        "scores": "raw" if search.score_curve is None else "probability of being an object",
        "chunks": chunks,
        "levels": levels,
        "voxels_ratio": exhaustive / max(1, read),
        "seconds": sum(search.costs.of(name)["seconds"] for name in (*(step.name for step in search.steps), "audit")),
        "phases": phases,
        "tiles": {step.name: list(grouped(step.plan, step.group).tile) for step in reversed(search.steps)},
        "exhaustive": {"seconds": plan.exhaustive_s, "tile": list(alone.tile), "bytes": plan.exhaustive_bytes},
        "seconds_audit": search.costs.of("audit")["seconds"],
        **_recall(choice, gated=len(search.steps) > 1, measured=search.rule == cascade.rule),
        "reason": choice.reason,
        "audit": {**asdict(audit), "sentence": audit.sentence},
    }


def _recall(choice: Choice, *, gated: bool, measured: bool) -> dict[str, Any]:
    """``measured``: objects are extracted as they were when the held-out objects were counted."""
    kept = {"expected": choice.expected_recall, "interval": list(choice.recall_interval)} if gated else None
    labelled = {"held_out": choice.held_out.to_json()} if choice.held_out is not None and measured else {}
    return {"recall": kept} | labelled


def _level(search: Search, choice: Choice, step: Step, chunks: int) -> dict[str, Any]:
    seen, passed = search.seen[step.stage], search.passed[step.stage]
    scored = sum(1 for i in seen.tolist() if i in search.scores[step.stage].known)
    wide = grouped(step.plan, step.group)
    voxels = sum(1 for _ in calls(step.plan, step.group, seen)) * int(np.prod(wide.read_shape))
    cost = search.costs.of(step.name)
    return {
        "name": step.name,
        "voxel_nm": list(step.level.voxel_nm),
        "origin_nm": list(step.level.origin_nm),
        "threshold": step.threshold,
        "chunks": len(step.plan),
        "calls": len(seen),
        "calls_predicted": choice.calls[step.stage] * chunks if len(search.steps) > 1 else float(chunks),
        "calls_made": cost["calls"],
        "skipped": len(seen) - scored,
        "passed": len(passed),
        "share": _share(step, seen),
        "seconds": cost["seconds"],
        "voxels": voxels,
        "bytes": cost["bytes"] + (search.costs.of("audit")["bytes"] if step.stage == 0 else 0),
    }


def _share(step: Step, seen: np.ndarray) -> float:
    return float(sum(tile.write.size for tile in step.plan.tiles(seen)) / step.level.box.size)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Funnel, cost, audit, recall of labelled objects and out-of-distribution check, one sentence per line."""
    lines, unit = [], "pixels" if report.get(UNIT) == PIXEL else "nm"
    for level in report["levels"]:
        voxel = "x".join(f"{v:g}" for v in level["voxel_nm"])
        last = level["name"] == "level 0"
        outcome = f"{report['objects']} objects" if last else f"{level['passed']} chunks pass"
        expected = f"{level['calls_predicted']:.0f} expected" if report["mode"] == "cascade" else "all"
        lines.append(
            f"{level['name']} ({voxel} {unit}): {_percent(level['share'])} of the volume, {level['calls']} chunks "
            f"({expected}), {level['seconds']:.1f} s: {outcome}"
        )
        if level["skipped"]:
            lines.append(f"{level['skipped']} damaged chunks of {level['name']} were skipped")
    if "phases" in report:  # not in results of older versions
        lines.append(_times(report))
    if report["mode"] == "cascade":
        lines.append(f"{report['voxels_ratio']:.1f}x fewer voxels classified than in an exhaustive search")
    elif "phases" in report:
        lines.append(report["reason"])
    if report["audit"]["rejected"]:
        lines.append(report["audit"]["sentence"])
    if "held_out" in report:
        lines.append(f"On the held-out block: {report['held_out']['sentence']}")
    if check := stated(report):
        lines.append(check["sentence"])
    return lines


def _times(report: Mapping[str, Any]) -> str:
    """Measured and predicted seconds of the phases that took or were to take any."""
    phases = {name: phase for name, phase in report["phases"].items() if max(phase.values()) >= LEAST_S}
    measured, predicted = (sum(phase[key] for phase in report["phases"].values()) for key in ("seconds", "predicted"))
    each = ", ".join(f"{name} {p['seconds']:.1f} ({p['predicted']:.1f})" for name, p in phases.items())
    alone, tile = report["exhaustive"], "x".join(map(str, report["exhaustive"]["tile"]))
    return (
        f"Time: {measured:.1f} s ({predicted:.1f} s expected{': ' if each else ''}{each}); expected for the best "
        f"exhaustive search, in tiles of {tile}: {alone['seconds']:.1f} s"
    )


def _percent(share: float) -> str:
    return percent(share, 0 if share >= 0.1 else 1)
