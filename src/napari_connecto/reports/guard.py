"""Chapter of a guard check: the verdict, the error map at the worst place, and the places to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.reports import pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing
from napari_connecto.reports.results import Result
from napari_connecto.workflows.inspect.guard.places import Place, read_places

LISTED, FRAMED = 20, 9
SIGNS = {"green": "no warning", "amber": "look at the worst places", "red": "check before relying on it"}
ADVICE = (
    "The verdict is advice and changes nothing. Sections are judged singly: wrong links between sections are not seen, "
    "nor are errors that look like the labels the guard learnt from."
)


def check_chapter(result: Result) -> Chapter:
    """Chapter of what a guard says of an answer."""
    told, places = result.json("report.json"), read_places(result.path)
    verdict, unit = told["verdict"], told["unit"]
    lines = [f"{line[0].upper()}{line[1:]}".rstrip(".") + "." for line in told["lines"]]
    light = verdict["light"]
    warned = (f"{SIGNS[light].capitalize()}: {lines[0]}",) if light in ("amber", "red") else ()
    middle = told["predicted"]["50"]
    keys = (
        (light, "traffic light of the sampled tiles"),
        (f"{verdict['flagged']} of {verdict['tiles']}", "sampled tiles flagged"),
        (f"{middle:.3g}", f"predicted {unit}, median of {told['tiles']} tiles; usual {told['usual']:.3g}"),
        (str(told["bad_tiles"]), f"tiles beyond {told['limit']:.3g} {unit}"),
    )
    figures, why = _figures(result, places)
    sections = (
        Section("Worst places", tuple(filter(None, (*lines[1:], why))), figures, (_table(places),)),
        Section("What it does not see", (ADVICE,)),
        *closing(result),
    )
    title = f"Is the answer of '{told['model_name']}' right?"
    return Chapter(title, "Inspect a model", str(result.path), lines[0], keys, warned, sections)


def _figures(result: Result, places: Sequence[Place]) -> tuple[tuple[Figure, ...], str]:
    """Image and error map at the section of the worst place, and why the image is missing."""
    error = open_volume(result.path / "error.zarr")
    z = places[0].centre_nm[0] if places else None
    cut = pictures.section(error, z_nm=z)
    if cut is None:
        return (), ""
    source = replace(result, fingerprint=_of_image(result.fingerprint))
    volume, why = source.input()
    shown: list[pictures.Panel] = [("error probability", cut, "unit")]
    if volume is not None:
        shown.insert(0, ("image", pictures.section(volume, cut.place), "image"))
    level = error.levels[0]
    frames = [
        (str(n), pictures.Place.of(level, place.box))
        for n, place in enumerate(places[:FRAMED], 1)
        if cut.place.start_nm[0] <= place.centre_nm[0] <= cut.place.stop_nm[0]
    ]
    caption = f"Section at z = {cut.place.middle_nm / 1000:.2f} µm; white is certainly wrong, frames are worst places."
    return (Figure(pictures.strip(shown, boxes=frames), caption),), why


def _of_image(fingerprint: Any) -> dict[str, Any]:
    """The pair of image and answer is named by both; the image comes first."""
    told = dict(fingerprint.get("volume") or {})
    return {**fingerprint, "volume": {**told, "source": str(told.get("source") or "").partition("|")[0]}}


def _table(places: Sequence[Place]) -> Table:
    rows = tuple(
        (str(n), *(f"{c:,.0f}".replace(",", " ") for c in place.centre_nm), percent(place.error))
        for n, place in enumerate(places[:LISTED], 1)
    )
    return Table(("place", "z nm", "y nm", "x nm", "probably wrong"), rows, "Worst first; all are in worst.json.")
