"""Chapters of runs that produce images: predictions and segmentations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import ConnectoError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.reports import pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing, in_words
from napari_connecto.reports.results import Result
from napari_connecto.workflows.ood.document import CHECK, OLD_CHECK

LABELS = "labels/labels.zarr"
LARGEST = 8


def segment_chapter(result: Result) -> Chapter:
    """Chapter of a segmentation."""
    told, check = result.json("segments.json"), _check(result)
    labels = open_volume(result.path / LABELS)
    volume, why = result.input()
    cut = pictures.section(labels)
    assert cut is not None
    panels: list[pictures.Panel] = [("objects", cut, "labels")]
    boundary = result.path / "boundary" / "boundary.zarr"
    if boundary.is_dir():
        panels.insert(0, ("boundary map", pictures.section(open_volume(boundary), cut.place), "unit"))
    if volume is not None:
        panels.insert(0, ("input", pictures.section(volume, cut.place), "image"))
    z = cut.place.middle_nm / 1000
    figure = Figure(
        pictures.strip(panels), f"Section at z = {z:.2f} µm; one colour per segment, dark lines between them."
    )
    level = labels.levels[0]
    keys = (
        (f"{told['segments']:,}".replace(",", " "), "segments"),
        (" × ".join(map(str, level.shape)), "voxels"),
        (" × ".join(f"{v:g}" for v in level.voxel_nm), "voxel size, nm (z y x)"),
        (str(told.get("blocks", "–")), "blocks, joined so that each segment has one id"),
    )
    reason = str(told.get("reason", ""))
    how = f"{reason[0].upper()}{reason[1:]}." if reason else ""
    lines = tuple(line for line in (how, check.get("sentence", ""), why) if line)
    sections = (Section("Middle section", lines, (figure,), (_sizes(cut),)), *closing(result))
    title = f"Segments of '{result.name}'" if result.name else "Segments"
    verdict = f"{told['segments']} segments in {' × '.join(map(str, level.shape))} voxels."
    return Chapter(title, "Segmentation", str(result.path), verdict, keys, _warned(check), sections)


def _sizes(cut: pictures.Section) -> Table:
    """The largest segments on the section shown, which reveal a merge of everything at once."""
    ids, counts = np.unique(cut.values[cut.values > 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LARGEST]
    total = max(1, int(counts.sum()))
    rows = tuple((str(ids[i]), percent(counts[i] / total, 1)) for i in order.tolist())
    return Table(("segment", "share of the section"), rows, f"Largest of the {len(ids)} segments on this section.")


def predict_chapter(result: Result) -> Chapter:
    """Chapter of a prediction: each output beside the input."""
    check = _check(result)
    outputs = {path.stem: open_volume(path) for path in sorted(result.path.glob("*.zarr"))}
    volume, why = result.input()
    first = next(iter(outputs.values()), None)
    lines = [line for line in (check.get("sentence", ""), why) if line]
    figures: list[Figure] = []
    keys = [(", ".join(outputs), "outputs")]
    if first is not None:
        level = first.levels[0]
        cut = pictures.section(first)
        assert cut is not None
        panels: list[pictures.Panel] = []
        if volume is not None:
            panels.append(("input", pictures.section(volume, cut.place), "image"))
        panels += [(name, pictures.section(image, cut.place), "unit") for name, image in outputs.items()]
        figures.append(
            Figure(pictures.strip(panels[:4]), f"Section at z = {cut.place.middle_nm / 1000:.2f} µm; white is 1.")
        )
        keys.append((" × ".join(map(str, level.shape)), "voxels"))
        keys.append((" × ".join(f"{v:g}" for v in level.voxel_nm), "voxel size, nm (z y x)"))
    title = f"Prediction of '{result.name}'" if result.name else "Prediction"
    sections = (Section("Middle section", tuple(lines), tuple(figures)), *closing(result))
    verdict = f"{', '.join(outputs)}: a value from 0 to 1 per voxel, stored as 0 to 255."
    return Chapter(title, "Prediction", str(result.path), verdict, tuple(keys), _warned(check), sections)


def _check(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = result.json(CHECK) or result.json(OLD_CHECK)
    return found


def _warned(check: Mapping[str, Any]) -> tuple[str, ...]:
    return (str(check["sentence"]),) if check.get("warns") else ()


def volume_chapter(result: Result) -> Chapter:
    """Chapter of other results: sentences and figures of their documents, and a section of each image."""
    lines: list[str] = []
    rows: list[tuple[str, str]] = []
    for document in sorted(result.path.glob("*.json")):
        told = result.json(document.name)
        if document.name in ("job.json", "tiles.json") or not isinstance(told, dict):
            continue
        lines += [str(line) for line in told.get("lines") or ()]
        rows += [(name, in_words(value)) for name, value in told.items() if isinstance(value, int | float | str)]
    panels = []
    for path in sorted(result.path.glob("*.zarr")):
        try:
            image = open_volume(path)
        except ConnectoError:
            continue
        how = "labels" if image.kind == "labels" else "image"
        panels.append((path.name.split(".")[0], pictures.section(image), how))
    figures = (Figure(pictures.strip(panels[:4]), "Middle sections."),) if panels else ()
    table = (Table(("what", "value"), tuple(rows)),) if rows else ()
    title = f"{result.kind} of '{result.name}'" if result.name else result.kind
    verdict = lines[-1] if lines else ""
    sections = (Section("Results", tuple(lines), figures, table), *closing(result))
    return Chapter(title, result.kind, str(result.path), verdict, (), (), sections)
