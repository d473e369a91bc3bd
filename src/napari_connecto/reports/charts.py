"""Charts as SVG in data URIs, in Okabe and Ito's colour-blind safe colours (2008)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from napari_connecto.core.documents import number

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8F98"
LONGEST = 32
"""Longest name in a chart, in characters."""


def funnel(levels: Sequence[dict[str, Any]]) -> str:
    """Funnel of a cascade, coarsest level first: share of the volume, and calls beside those expected."""
    canvas = Canvas(figsize=(9.2, 1.1 + 0.62 * len(levels)), layout="constrained")
    share, calls = canvas.subplots(1, 2, sharey=True)
    rows = np.arange(len(levels))[::-1]
    percent = np.array([100 * level["share"] for level in levels])
    share.barh(rows, percent, color=BLUE, height=0.55)
    for y, p in zip(rows, percent, strict=True):
        share.annotate(f" {p:.3g} %", (p, y), va="center", fontsize=9)
    share.set_yticks(rows, [_label(f"{level['name']}\n{_size(level['voxel_nm'])} nm") for level in levels], fontsize=9)
    share.set(xlabel="classified, share of the searched volume (%)", xlim=(0, 118))
    made, expected = ([float(level[k]) for level in levels] for k in ("calls", "calls_predicted"))
    calls.barh(rows + 0.17, made, color=BLUE, height=0.3, label="classified")
    calls.barh(rows - 0.17, expected, color=ORANGE, height=0.3, label="expected")
    calls.set(xlabel="chunks", xlim=(0, 1.15 * max(*made, *expected, 1)))
    calls.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    return _svg(canvas)


def histogram(scores: np.ndarray, threshold: float | None) -> str:
    """Histogram of the scores of detections."""
    canvas = Canvas(figsize=(4.6, 2.7), layout="constrained")
    axes = canvas.subplots()
    axes.hist(scores, bins=25, range=(0, 1), color=BLUE)
    if threshold is not None:
        axes.axvline(threshold, color=RED, linestyle="--", label=f"threshold {threshold:.2f}")
        axes.legend(frameon=False, fontsize=9)
    axes.set(xlabel="score", ylabel="objects", xlim=(0, 1))
    return _svg(canvas)


def intervals(rows: Sequence[dict[str, Any]], limit: float, label: str) -> str:
    """Values with 95 % intervals, best first, and the limit within which a model fits."""
    canvas = Canvas(figsize=(9.2, 1.1 + 0.42 * len(rows)), layout="constrained")
    axes = canvas.subplots()
    for y, row in enumerate(reversed(rows)):
        colour, marker = (BLUE, "o") if row["fits"] else (RED, "x")
        low, high = row["interval"]
        axes.plot([low, high], [y, y], color=colour, linewidth=2)
        axes.plot([row["value"]], [y], marker=marker, color=colour, markersize=7)
    axes.set_yticks(range(len(rows)), [_label(row["name"]) for row in reversed(rows)])
    if isfinite(limit):
        axes.axvline(limit, color=GREY, linestyle="--")
        axes.annotate(" limit", (limit, 1), xycoords=("data", "axes fraction"), va="top", fontsize=9)
    axes.set(xlabel=label, ylim=(-0.6, len(rows) - 0.4))
    return _svg(canvas)


def before_after(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> str:
    """VI of each held-out patch for two models, as split and merge errors; lower is better."""
    canvas = Canvas(figsize=(4.9, 1.3 + 0.55 * len(before)), layout="constrained")
    axes = canvas.subplots()
    rows = np.arange(len(before))[::-1]
    for offset, scored, name in ((0.19, before, "before"), (-0.19, after, "after")):
        split, merge = ([vi[k] for vi in scored] for k in ("split", "merge"))
        faint = 0.45 if name == "before" else 1.0
        axes.barh(rows + offset, split, 0.34, color=BLUE, alpha=faint, label=f"split, {name}")
        axes.barh(rows + offset, merge, 0.34, left=split, color=ORANGE, alpha=faint, label=f"merge, {name}")
    axes.set_yticks(rows, [f"patch {n + 1}" for n in range(len(before))])
    axes.set(xlabel="variation of information (bits)")
    canvas.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8, columnspacing=1, handlelength=1.2)
    return _svg(canvas)


def gain(each: Sequence[float], mean: float, interval: Sequence[float]) -> str:
    """Gain in VI on each patch, and on average with its 95 % interval, relative to no change."""
    canvas = Canvas(figsize=(4.9, 2.2), layout="constrained")
    axes = canvas.subplots()
    axes.axvline(0, color=GREY, linestyle="--")
    axes.plot(each, [0] * len(each), "o", color=BLUE, alpha=0.7)
    low, high = (number(v) for v in interval)
    if isfinite(low) and isfinite(high):
        axes.plot([low, high], [1, 1], color=GREEN, linewidth=3)
    axes.plot([mean], [1], "D", color=GREEN, markersize=8)
    axes.set_yticks([0, 1], ["each patch", "mean, 95 %"])
    axes.set(xlabel="bits gained (right of the line: better)", ylim=(-0.6, 1.6))
    return _svg(canvas)


def vi_curve(points: Sequence[tuple[int, float, float, str]]) -> str:
    """VI of held-out patches over the number of training patches: (patches, before, after, name) per fine-tuning."""
    canvas = Canvas(figsize=(9.2, 3.2), layout="constrained")
    axes = canvas.subplots()
    patches, before, after = (np.array([p[k] for p in points]) for k in range(3))
    axes.plot(patches, before, "x--", color=GREY, label="original model")
    axes.plot(patches, after, "o-", color=BLUE, label="fine-tuned")
    for n, _, vi, name in points:
        axes.annotate(_label(name), (n, vi), xytext=(5, 6), textcoords="offset points", fontsize=8)
    axes.set(xlabel="annotated patches", ylabel="VI, held out (bits)", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.12)
    axes.legend(frameon=False, fontsize=9)
    return _svg(canvas)


def reliability(found: dict[str, Any]) -> tuple[str, str]:
    """Stated and measured coverage; and sparsification by uncertainty beside the best possible order."""
    canvas = Canvas(figsize=(4.6, 3.3), layout="constrained")
    axes = canvas.subplots()
    stated, measured = np.array(sorted((float(k), float(v)) for k, v in found["coverage"].items())).T * 100
    axes.plot([0, 100], [0, 100], "--", color=GREY, label="as stated")
    axes.plot(stated, measured, "o-", color=BLUE, label="measured")
    axes.set(xlabel="stated share of voxels inside (%)", ylabel="measured (%)", xlim=(40, 100), ylim=(0, 102))
    axes.legend(frameon=False, fontsize=9)
    other = Canvas(figsize=(4.6, 3.3), layout="constrained")
    axes = other.subplots()
    removed = np.asarray(found["removed"]) * 100
    axes.plot(removed, found["by_sd"], color=BLUE, label="most uncertain removed first")
    axes.plot(removed, found["by_error"], "--", color=ORANGE, label="largest error removed first")
    axes.set(xlabel="voxels removed (%)", ylabel="mean error of the rest (relative)", xlim=(0, 100), ylim=(0, 1.05))
    axes.legend(frameon=False, fontsize=9)
    return _svg(canvas), _svg(other)


def _svg(canvas: Canvas) -> str:
    for axes in canvas.axes:
        _plain(axes)
    for text in canvas.findobj(Text):
        text.set_parse_math(False)  # names are not formulas
    out = io.BytesIO()
    canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _size(voxel_nm: Sequence[float]) -> str:
    return " × ".join(f"{v:g}" for v in voxel_nm)


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _label(text: str) -> str:
    """Shortened, and limited to characters in the font."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return "".join(c if ord(c) in _drawable() or c == "\n" else "?" for c in short)
