"""Chapters of "X-ray to EM": a translation with its most uncertain regions, a translator with its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.documents import number
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.reports import charts, pictures
from napari_connecto.reports.page import Chapter, Figure, Section, Table
from napari_connecto.reports.provenance import closing, in_words
from napari_connecto.reports.results import Result
from napari_connecto.workflows.ood.document import stated
from napari_connecto.workflows.xray.place import Place
from napari_connecto.workflows.xray.trust import worst_regions

PARTS = ("mean", "aleatoric", "epistemic")
WORST, SHOWN = 10, 3
"""Regions listed, and drawn."""


def translate_chapter(result: Result) -> Chapter:
    """Chapter of a translation."""
    report = result.json("translation.json")
    mean, aleatoric, epistemic = (open_volume(result.path / f"{name}.zarr") for name in PARTS)
    volume, why = result.input()
    worst = worst_regions(aleatoric, epistemic, WORST)
    metrics, seams = report.get("metrics") or {}, report.get("seams") or {}
    name = str(report["translator"])
    told = f"{' × '.join(map(str, mean.levels[0].shape))} voxels, EM-like, by '{name}'"
    keys = [(" × ".join(f"{v:g}" for v in mean.levels[0].voxel_nm), "voxel size, nm (z y x)")]
    if worst:
        keys.append((f"{worst[0].sd:.3f}", "sd in the most uncertain region (the EM's range is 1)"))
    if seams:
        keys.append((f"{max(seams.values()):.2f}", "gradient at tile borders relative to elsewhere (1: no seam)"))
    keys += _held_out_keys(metrics)
    check = stated(report)
    warnings = [SIMULATED, *([check["sentence"]] if check.get("warns") else [])]
    sections = [
        Section(
            "Translation",
            tuple(x for x in (check.get("sentence", ""), why) if x),
            _look(volume, mean, aleatoric, epistemic, worst),
        ),
        Section("Most uncertain regions", (PLACES,), _close(mean, aleatoric, epistemic, worst), (_places(worst),)),
    ]
    if metrics:
        sections.append(_calibration(metrics, f"Calibration of '{name}' on its held-out block"))
    title = f"'{result.name}' as EM" if result.name else "X-ray as EM"
    verdict = f"{told}; an estimate with a stated uncertainty, not a measurement."
    models = [("recalibrated", in_words(bool(report.get("recalibrated"))))]
    return Chapter(
        title,
        "X-ray to EM",
        str(result.path),
        verdict,
        tuple(keys),
        tuple(warnings),
        (*sections, *closing(result, models=models)),
    )


SIMULATED = "This is an EM-like image predicted from X-ray: detail finer than in the X-ray is a guess of the network."
PLACES = (
    "Aleatoric: what the X-ray does not show. Epistemic: what the translator does not know. sd is the root of the sum "
    "of their squares, on a scale where 0 and 1 are the dark and bright end of the EM."
)


def _total(aleatoric: pictures.Section | None, epistemic: pictures.Section | None) -> pictures.Section | None:
    if aleatoric is None or epistemic is None:
        return None
    return replace(aleatoric, values=np.hypot(aleatoric.values, epistemic.values))


def _panels(
    place: pictures.Place, z_nm: float, mean: Volume, aleatoric: Volume, epistemic: Volume
) -> list[pictures.Panel]:
    noise, ignorance = (pictures.section(v, place, z_nm) for v in (aleatoric, epistemic))
    shown = [("EM-like mean", pictures.section(mean, place, z_nm), "unit")]
    return [*shown, ("uncertainty (sd)", _total(noise, ignorance), "heat")]


def _look(
    volume: Volume | None, mean: Volume, aleatoric: Volume, epistemic: Volume, worst: Sequence[Place]
) -> tuple[Figure, ...]:
    """The section through the most uncertain region, with all regions on it."""
    level = mean.levels[0]
    place, z = _computed(mean, worst), worst[0].centre_nm[0] if worst else pictures.Place.of(level).middle_nm
    panels = _panels(place, z, mean, aleatoric, epistemic)
    if volume is not None:
        panels.insert(0, ("X-ray", pictures.section(volume, place, z), "image"))
    on_it = [(str(n), pictures.Place.of(level, r.box)) for n, r in enumerate(worst, start=1)]
    frames = [(name, p) for name, p in on_it if p.start_nm[0] <= z <= p.stop_nm[0]]
    text = f"Section at z = {z / 1000:.2f} µm, through the most uncertain region; numbers as in the table below."
    return (Figure(pictures.strip(panels, boxes=frames), text),)


def _computed(mean: Volume, worst: Sequence[Place]) -> pictures.Place:
    """The translated part (a partial translation is 0 elsewhere), found on the coarsest level."""
    level = mean.levels[-1]
    z = int(level.to_voxels(worst[0].centre_nm)[0]) if worst else level.shape[0] // 2
    box = level.box.shift((0, 0, 0))
    plane = np.asarray(level.read(replace(box, start=(z, 0, 0), stop=(z + 1, *level.shape[1:]))))[0] != 0
    if not plane.any():
        return pictures.Place.of(mean.levels[0])
    y, x = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    inner = replace(box, start=(0, int(y[0]), int(x[0])), stop=(level.shape[0], int(y[-1]) + 1, int(x[-1]) + 1))
    return pictures.Place.of(level, inner)


def _close(mean: Volume, aleatoric: Volume, epistemic: Volume, worst: Sequence[Place]) -> tuple[Figure, ...]:
    figures = []
    whole = _computed(mean, worst)
    for n, region in enumerate(worst[:SHOWN], start=1):
        side = 3 * max(region.box.shape[1:]) * mean.levels[0].voxel_nm[1]
        place = whole.around(region.centre_nm, side)
        panels = _panels(place, region.centre_nm[0], mean, aleatoric, epistemic)
        frame = [(str(n), pictures.Place.of(mean.levels[0], region.box))]
        figures.append(
            Figure(pictures.strip(panels, boxes=frame, width=6.0), f"Region {n}: {region.reason}.", wide=False)
        )
    return tuple(figures)


def _places(worst: Sequence[Place]) -> Table:
    rows = tuple(
        (
            str(n),
            *(f"{c:.0f}" for c in r.centre_nm),
            f"{r.sd:.4f}",
            "–" if r.epistemic is None else percent(r.epistemic),
        )
        for n, r in enumerate(worst, start=1)
    )
    return Table(("region", "z (nm)", "y (nm)", "x (nm)", "sd", "epistemic share"), rows, "Most uncertain first.")


def translator_chapter(result: Result) -> Chapter:
    """Chapter of a trained translator."""
    folder = result.path / "translator" if (result.path / "translator").is_dir() else result.path
    told = result.json(str(Path(folder.name, "translator.json")) if folder != result.path else "translator.json")
    about = told["about"]
    metrics = about.get("metrics") or {}
    source = "simulated X-ray" if about.get("simulated") else "X-ray"
    gain = metrics["translated"]["psnr"] - metrics["interpolated"]["psnr"] if metrics else float("nan")
    verdict = (
        f"On a held-out block, the translation is {abs(gain):.2f} dB {'closer to' if gain > 0 else 'FARTHER from'} "
        "the true EM than the interpolated X-ray."
        if metrics
        else "Nothing was measured on a held-out block."
    )
    keys = [(str(told["members"]), "networks in the ensemble"), *_held_out_keys(metrics)]
    sections = [_calibration(metrics, "Calibration on a held-out block")] if metrics else []
    sections.append(Section("Training pair", tuple(map(str, about.get("pair") or ()))))
    warnings = ("Trained on simulated X-ray only, never on real X-ray.",) if about.get("simulated") else ()
    models = [("X-ray", str(about.get("xray", ""))), ("EM", str(about.get("em", "")))]
    made = replace(
        result, fingerprint={**result.fingerprint, "params": about.get("params") or {}}, kind="train-translator"
    )
    return Chapter(
        f"Translator of {source} '{about.get('xray', '')}' into EM",
        "Training of a translator",
        str(result.path),
        verdict,
        tuple(keys),
        warnings,
        (*sections, *closing(made, str(about.get("version", "")), models)),
    )


def _held_out_keys(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not metrics:
        return []
    after, before = metrics["translated"], metrics["interpolated"]
    held = metrics["calibration"]["coverage"].get("0.9")
    keys = [(f"{after['psnr']:.2f} dB", f"PSNR, held out (interpolated X-ray: {before['psnr']:.2f})")]
    return keys + ([(percent(held, 1), "of voxels inside their 90 % intervals, held out")] if held is not None else [])


def _calibration(metrics: Mapping[str, Any], where: str) -> Section:
    found = metrics["calibration"]
    coverage, sparse = charts.reliability(found)
    figures = (
        Figure(
            coverage,
            "Share of voxels whose EM value is inside the stated interval; on the dashed line it is as stated.",
            wide=False,
        ),
        Figure(
            sparse,
            "Mean error after removing the most uncertain voxels. The closer the line is to the dashed one, the better "
            "the uncertainty finds errors. "
            f"Area between them (AUSE): {found['ause']:.3f}; rank correlation of |error| and sd (Spearman): "
            f"{number(found['spearman']):.2f}.",
            wide=False,
        ),
    )
    kinds = (("translated", "translated"), ("interpolated", "interpolated X-ray, brightness fitted"))
    likeness = tuple((shown, *(f"{metrics[k][m]:.3f}" for m in ("psnr", "ssim", "nrmse"))) for k, shown in kinds)
    held = tuple((percent(float(k)), percent(v, 1)) for k, v in sorted(found["coverage"].items()))
    tables = (
        Table(("compared with the true EM", "PSNR (dB)", "SSIM", "NRMSE"), likeness),
        Table(("stated", "measured"), held, "Intervals: share of voxels inside."),
    )
    return Section("Calibration", (f"{where}.",), figures, tables)
