"""Recipes of the workflow "X-ray to EM": train-translator, translate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job
from napari_connecto.core.params import from_mapping
from napari_connecto.core.phases import Phases
from napari_connecto.io.disk import write_json
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.models.files import load_model
from napari_connecto.sample_data import TRANSLATOR, list_translators
from napari_connecto.workflows.recipes.parts import model_folder, named_folder, region_lines, region_of, tile_of
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP
from napari_connecto.workflows.xray.membranes import membranes_job
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.train import train_translator_job
from napari_connecto.workflows.xray.translate import translate_job
from napari_connecto.workflows.xray.translate_params import TranslateParams, TranslatorParams
from napari_connecto.workflows.xray.translator import load_translator
from napari_connecto.workflows.xray.trust import Region, disputed_regions, worst_regions

Recipe = Mapping[str, Any]
Summary = dict[str, Any]
TRAINED, WORST, MEMBRANES = "translator", "worst.json", "membranes"
"""What training makes; places to look at first; a folder of `membranes_job`."""
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
    """What a translator reached on the held-out block, in words."""
    metrics = about["metrics"]
    told, before = metrics["translated"], metrics["interpolated"]
    coverage = ", ".join(f"{float(k):.0%}: {v:.0%}" for k, v in metrics["calibration"]["coverage"].items())
    source = "simulated X-ray" if about.get("simulated") else "X-ray"
    return [
        f"trained on {source} '{about['xray']}' and EM '{about['em']}'; figures of a held-out block:",
        f"PSNR {told['psnr']:.2f} dB translated, {before['psnr']:.2f} interpolated; "
        f"SSIM {told['ssim']:.3f}, {before['ssim']:.3f}",
        f"share of voxels inside their intervals, stated and measured: {coverage}",
    ]


def translate(recipe: Recipe, client: Any) -> Job[Summary]:
    """Translate an X-ray volume; with ``membranes``, a boundary model, also tell where passes disagree about them."""
    params = from_mapping(TranslateParams, recipe.get("params") or {})
    backend = recipe.get("backend", "auto")
    tile = tile_of(recipe)
    translator = load_translator(translator_folder(recipe["translator"]), backend=backend, tile=tile)
    volume, region = open_spec(recipe["volume"]), region_of(recipe)
    out, where = Path(recipe["out"]), {"region": region, "client": client}
    again = 1.2 if "membranes" in recipe else 0.0  # every pass is made once more for its membranes
    phases = Phases({"translating": 1, "finding the most uncertain regions": 0.01, "membranes": again})
    found = yield from phases.run("translating", translate_job(volume, translator, params, out=out, **where))
    looking = partial(worst_regions, found.aleatoric, found.epistemic, SHOWN)
    worst = yield from phases.call("finding the most uncertain regions", looking)
    lines = region_lines(recipe, volume) + found.lines() + _listed(worst, out / WORST)
    if "membranes" in recipe:
        segmenter = load_model(model_folder(recipe["membranes"]), backend=backend)
        asking = membranes_job(volume, translator, segmenter, params, out=out / MEMBRANES, **where)
        told = yield from phases.run("membranes", asking)
        lines += _listed(disputed_regions(told.sd, SHOWN), out / MEMBRANES / WORST)
    return {"out": str(out), "seams": found.report["seams"], "lines": lines}


def _listed(regions: Sequence[Region], path: Path) -> list[str]:
    """Write places to look at; the first one in words."""
    rows = [{"centre_nm": list(r.centre_nm), "box": [*r.box.start, *r.box.stop], "sd": r.sd} for r in regions]
    write_json(path, rows)
    if not regions:
        return []
    at = ", ".join(f"{c:.0f}" for c in regions[0].centre_nm)
    return [f"least certain at z y x {at} nm: {regions[0].reason}; {len(regions)} such places in {path}"]


WORKFLOWS: dict[str, Callable[[Recipe, Any], Job[Summary]]] = {
    "train-translator": train_translator,
    "translate": translate,
}
ENTRIES: dict[str, tuple[set[str], set[str]]] = {
    "train-translator": ({"volume", "em", "out"}, {"params", "pairing"}),
    "translate": ({"volume", "translator", "out"}, {"params", "region", "backend", "membranes", "tile"}),
}
"""Entries that a workflow's recipe must have, and may have."""
