"""Chapter of a ranking of models, also of those that older versions wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.core.documents import number
from napari_connecto.reports import charts, pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing
from napari_connecto.reports.results import Result


def rank_chapter(result: Result) -> Chapter:
    """Chapter of a ranking of models."""
    told = result.json("ranking.json")
    rows, agreed = told["ranks"], "instability_limit" in told
    limit = number(told["instability_limit" if agreed else "limit"], inf)
    best = next((row for row in rows if row["fits"]), None)
    figures, table, key = (_agreement if agreed else _distances)(rows, limit)
    volume, why = result.input()
    if volume is not None:
        cut = pictures.section(volume)
        figures.append(Figure(pictures.strip([("middle section", cut, "image")]), f"The volume '{volume.name}'."))
    keys = [(best["name"] if best else "none", "model that fits best"), (str(len(rows)), "models compared"), key]
    if told.get("places"):
        keys.append((str(told["places"]), f"places segmented ({told.get('skipped', 0)} empty ones skipped)"))
    elif told.get("patches"):
        keys.append((str(told["patches"]), f"tissue patches compared ({told.get('skipped', 0)} empty ones skipped)"))
    rule = AGREED if agreed else RULE
    sections = (
        Section("Ranking", (rule, *((why,) if why else ())), tuple(figures), (table,)),
        *closing(result, str(told.get("version", "")), [("encoder (SHA-256)", str(told.get("encoder", "")))]),
    )
    title = f"Which model fits '{result.name}'?" if result.name else "Which model fits?"
    said = _verdict(best) if agreed else f"Start from '{best['name']}': its training data are similar." if best else ""
    none = NO_AGREEMENT if agreed else NO_FIT
    warnings = tuple(told.get("notices") or ())
    return Chapter(title, "Ranking of models", str(result.path), said or none, tuple(keys), warnings, sections)


def _verdict(best: Mapping[str, Any] | None) -> str:
    if best is None:
        return ""
    low, high = (number(v) for v in best.get("expected") or (None, None))
    told = [f"expected VI {low:.2f} to {high:.2f} bits"] if isfinite(low) and isfinite(high) else []
    if isfinite(better := number(best.get("better"))):
        told.append(f"chance that another model is better {percent(better)}")
    return f"Start from '{best['name']}'{': ' if told else ''}{', '.join(told)}."


def _agreement(rows: Sequence[Mapping[str, Any]], limit: float) -> tuple[list[Figure], Table, tuple[str, str]]:
    compared = [row for row in rows if row.get("instability")]
    figures = [Figure(charts.intervals([_drawn(row) for row in compared], limit, INSTABILITY), AGREEMENT)]
    scores = ("consensus, bits", "consistency, bits", "unstable", "MMD²", "own encoder", "own decoder")
    names = ("model", *scores, "voxel ratio", "", "licence", "note")
    table = Table(names, tuple(_agreement_cells(row) for row in rows))
    first = percent(number(compared[0]["instability"]["value"])) if compared else "–"
    return figures, table, (first, f"of the first model's segmentation is unstable (limit {percent(limit)})")


def _drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    score = row["instability"]
    value = number(score["value"])
    ends = [number(score[k]) for k in ("low", "high")]
    return {**row, "value": value, "interval": [end if isfinite(end) else value for end in ends]}


def _agreement_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    def told(score: Mapping[str, Any] | None, digits: int = 2) -> str:
        if not score:
            return "–"
        value, low, high = (number(score[k]) for k in ("value", "low", "high"))
        span = f" ({low:.{digits}f} to {high:.{digits}f})" if isfinite(low + high) else ""
        return f"{value:.{digits}f}{span}"

    fits = "fits" if row["fits"] else "does not fit" if row.get("consistency") else "not compared"
    far = number(row.get("mmd2"))
    distance = f"{far:.4f}" if isfinite(far) else "–"
    scores = tuple(told(row.get(name)) for name in ("consensus", "consistency", "instability"))
    own = tuple(told(row.get(name), 3) for name in ("own_encoder", "own_decoder"))
    return (row["name"], *scores, distance, *own, _ratio(row), fits, row["licence"], row["note"])


def _distances(rows: Sequence[Mapping[str, Any]], limit: float) -> tuple[list[Figure], Table, tuple[str, str]]:
    compared = [{**row, "value": row["mmd2"]} for row in rows if isfinite(number(row["mmd2"]))]
    names = ("model", "MMD²", "95 % interval", "p", "voxel ratio", "", "licence", "note")
    table = Table(names, tuple(_distance_cells(row) for row in rows))
    nearest = f"{compared[0]['mmd2']:.4f}" if compared else "–"
    return (
        [Figure(charts.intervals(compared, limit, MMD), RANKED)],
        table,
        (nearest, "MMD² of the nearest" + (f" (limit {limit:.4f})" if isfinite(limit) else "")),
    )


NO_AGREEMENT = "No model fits: none gives stable answers on this volume."
AGREEMENT = (
    "Share of each segmentation that changes if the image is flipped, noisy or blurred (VI over entropy), best model "
    "first. Left of the dashed limit, the model is about as stable as models are on data that they can segment."
)
AGREED = (
    "Every model segmented the same places. The order is that of the sum of two ranks: consensus, the variation of "
    "information (VI) to the segments of the two nearest other models, and consistency, the VI between a model's own "
    "segments before and after flip, noise and blur (after Talks and Kreshuk, arXiv 2503.00450). Degenerate answers "
    "(one segment, specks) come last. MMD² to the training data is shown, in features that all models share and in the "
    "model's own (deepest encoder stage, and before its last layer), but decides nothing."
)
INSTABILITY = "instability (dot: fits, cross: does not fit; bar: 95 % interval)"
MMD = "MMD² to this volume (dot: fits, cross: does not fit; bar: 95 % interval)"
NO_FIT = "No model fits: the volume is farther from each than the library's own data are from each other."
RANKED = (
    "Distance of the volume from each model's training data, nearest first. Left of the dashed limit, the volume is as "
    "near as two domains of the library usually are to each other."
)
RULE = (
    "MMD² compares features of tissue patches of the volume with those of each model's training data "
    "(Gretton et al. 2012; for choosing a source: Sawmya et al., arXiv 2503.06196). A small p means that the two "
    "differ, as different tissues always do to some extent; the models are ranked by how much."
)


def _ratio(row: Mapping[str, Any]) -> str:
    """Of the voxel size; a model whose card is damaged has none."""
    ratio = number(row.get("voxel_ratio"))
    return f"{ratio:.2f}" if isfinite(ratio) else "–"


def _distance_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = _ratio(row)
    if not isfinite(number(row["mmd2"])):
        return (row["name"], "–", "–", "–", ratio, "not compared", row["licence"], row["note"])
    low, high = row["interval"]
    fits = "fits" if row["fits"] else "does not fit"
    distance = (f"{row['mmd2']:.4f}", f"{low:.4f} to {high:.4f}", f"{row['p']:.3f}")
    return (row["name"], *distance, ratio, fits, row["licence"], row["note"])
