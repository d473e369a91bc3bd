"""Recipes of the workflow "X-ray to EM": train-translator, translate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job
from napari_connecto.core.params import from_mapping
from napari_connecto.io.disk import write_json
from napari_connecto.io.job_folder import JobFolder
from napari_connecto.sample_data import TRANSLATOR, list_translators
from napari_connecto.workflows.convert import open_spec
from napari_connecto.workflows.recipe_parts import named_folder, region_of, tile_of
from napari_connecto.workflows.train_translator import train_translator_job
from napari_connecto.workflows.translate import translate_job
from napari_connecto.workflows.translate_params import TranslateParams, TranslatorParams
from napari_connecto.workflows.translator import load_translator
from napari_connecto.workflows.trust import worst_regions
from napari_connecto.workflows.xray_params import PairParams

Recipe = Mapping[str, Any]
Summary = dict[str, Any]
STOP, TRAINED, WORST = "stop", "translator", "worst.json"
"""A file that stops training and keeps what there is; what training makes; places to look at first."""
SHOWN = 10


def translator_folder(name_or_path: str | Path) -> Path:
    """The folder of a translator, given as a path (also of what train-translator wrote) or by a shipped one's name.

    Raises
    ------
    InputError
        If there is none.
    """
    return named_folder("translator", name_or_path, TRAINED, TRANSLATOR, list_translators())


def train_translator(recipe: Recipe, client: Any) -> Job[Summary]:
    """Train a translator from an X-ray and an EM volume of one tissue; ``out`` gets ``translator``."""
    params = from_mapping(TranslatorParams, recipe.get("params") or {})
    pairing = from_mapping(PairParams, recipe.get("pairing") or {})
    xray, em = open_spec(recipe["volume"]), open_spec(recipe["em"])
    told = {
        "workflow": "train-translator",
        "xray": xray.fingerprint(),
        "em": em.fingerprint(),
        "params": asdict(params),
        "pairing": asdict(pairing),
    }
    with JobFolder.open(recipe["out"], told) as job:
        done = job.path / TRAINED
        if done.exists():
            return {"out": str(job.path), "lines": [*trained_lines(load_translator(done).about), "was trained before"]}
        stop = job.path / STOP
        stop.unlink(missing_ok=True)
        translator = yield from train_translator_job(
            xray, em, params, pairing=pairing, folder=job.path / "members", stop=stop.exists
        )
        translator.save(done)
        return {"out": str(job.path), "metrics": translator.about["metrics"], "lines": trained_lines(translator.about)}


def trained_lines(about: Mapping[str, Any]) -> list[str]:
    """What a translator reached on the block kept apart, in words."""
    metrics = about["metrics"]
    told, before = metrics["translated"], metrics["interpolated"]
    coverage = ", ".join(f"{float(k):.0%}: {v:.0%}" for k, v in metrics["calibration"]["coverage"].items())
    source = "simulated X-ray" if about.get("simulated") else "X-ray"
    return [
        f"trained on {source} '{about['xray']}' and EM '{about['em']}'; figures of a block kept apart:",
        f"PSNR {told['psnr']:.2f} dB translated, {before['psnr']:.2f} interpolated; "
        f"SSIM {told['ssim']:.3f}, {before['ssim']:.3f}",
        f"share of voxels inside their intervals, stated and measured: {coverage}",
    ]


def translate(recipe: Recipe, client: Any) -> Job[Summary]:
    """Translate an X-ray volume."""
    params = from_mapping(TranslateParams, recipe.get("params") or {})
    folder, backend = translator_folder(recipe["translator"]), recipe.get("backend", "auto")
    translator = load_translator(folder, backend=backend, tile=tile_of(recipe))
    found = yield from translate_job(
        open_spec(recipe["volume"]), translator, params, out=recipe["out"], region=region_of(recipe), client=client
    )
    worst = worst_regions(found.aleatoric, found.epistemic, SHOWN)
    rows = [{"centre_nm": list(r.centre_nm), "box": [*r.box.start, *r.box.stop], "sd": r.sd} for r in worst]
    write_json(Path(recipe["out"]) / WORST, rows)
    lines = found.lines()
    if worst:
        at = ", ".join(f"{c:.0f}" for c in worst[0].centre_nm)
        lines.append(f"least certain at z y x {at} nm: {worst[0].reason}; {len(worst)} such places in {WORST}")
    return {"out": str(recipe["out"]), "seams": found.report["seams"], "lines": lines}


WORKFLOWS: dict[str, Callable[[Recipe, Any], Job[Summary]]] = {
    "train-translator": train_translator,
    "translate": translate,
}
ENTRIES: dict[str, tuple[set[str], set[str]]] = {
    "train-translator": ({"volume", "em", "out"}, {"params", "pairing"}),
    "translate": ({"volume", "translator", "out"}, {"params", "region", "backend", "tile"}),
}
"""Entries that a workflow's recipe must have, and may have."""
