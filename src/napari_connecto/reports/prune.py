"""Chapter of a smaller model: what was saved, what was lost, and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.reports.page import Chapter, Section, Table
from napari_connecto.reports.provenance import closing
from napari_connecto.reports.results import Result

FASTER = 1.1
"""Times below this ratio are called equal."""
LIKE_YOURS = (
    "A smaller model is one for images like the one it was made on. On images that look different it may fail where "
    "the original does not."
)
ZEROS = "Zeros are multiplied like any other number, so setting single weights to zero saves no time."


def prune_chapter(result: Result) -> Chapter:
    """Chapter of a smaller model."""
    told = result.json("prune.json")
    lines = tuple(f"{line[0].upper()}{line[1:]}." for line in told["lines"])
    old, new = told["weights"]
    agreed, vi = told["agreement"], told["vi"]
    keys = [
        (f"{told['speedup']:.2g} x", "as fast: time of a tile, original over smaller model"),
        (percent(new / old), "of the weights remain"),
        (f"{agreed['dice']:.3f}", f"Dice with the original, {told['places'][1]} held-out places"),
    ]
    if vi is not None:
        keys.append((f"{vi[1]:.3g} bits", f"VI to the labels, held out; original {vi[0]:.3g}"))
    warned = () if told["speedup"] > FASTER else ("It is not faster than the original on this machine.",)
    weights = told["how"] == "weights"
    sections = [
        Section("Before and after", (ZEROS,) if weights else (LIKE_YOURS,), (), (_costs(told),)),
        Section("In words", lines),
    ]
    if told["controls"]:
        sections.append(Section("Controls", (), (), (_controls(told["controls"]),)))
    name = result.name or str(result.recipe.get("model") or "the model")
    verdict = lines[1] if len(lines) > 1 else ""
    title = f"A smaller model, measured on '{name}'"
    return Chapter(
        title, "Inspect a model", str(result.path), verdict, tuple(keys), warned, (*sections, *closing(result))
    )


def _costs(told: Mapping[str, Any]) -> Table:
    (t0, t1), (w0, w1), (b0, b1) = told["seconds_per_tile"], told["weights"], told["stored_bytes"]
    rows = [
        ("time of a tile, ms", f"{1000 * t0:.3g}", f"{1000 * t1:.3g}"),
        ("weights", f"{w0:,}".replace(",", " "), f"{w1:,}".replace(",", " ")),
        ("file, kB", f"{b0 / 1000:,.0f}".replace(",", " "), f"{b1 / 1000:,.0f}".replace(",", " ")),
    ]
    if all(t is not None for t in told["tiles"]):
        rows.append(
            ("voxels that change sides in smaller tiles", percent(told["tiles"][0], 2), percent(told["tiles"][1], 2))
        )
    if told["vi"] is not None:
        rows.append(("VI to held-out labels, bits", f"{told['vi'][0]:.3g}", f"{told['vi'][1]:.3g}"))
    return Table(("", "original", "smaller"), tuple(rows), "Timed in turn on the machine that made it.")


def _controls(controls: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = tuple(
        (name, percent(c["sparsity"]), str(c["copies"]), f"{c['layer_error']:.3g}", f"{c['agreement']['dice']:.3f}")
        for name, c in controls.items()
    )
    heads = ("method", "zeros", "copies of the weights", "layer error", "Dice with the original")
    return Table(heads, rows, "Every method was measured on the same held-out places.")
