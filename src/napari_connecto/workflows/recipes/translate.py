"""What train-translator and translate do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.io.disk import write_json
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.models.files import load_model
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.entries.xray import TrainTranslator, Translate
from napari_connecto.workflows.recipes.parts import TRAINED, clipped_lines, model_folder, translator_folder
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP
from napari_connecto.workflows.xray.membranes import membranes_job
from napari_connecto.workflows.xray.train import train_translator_job
from napari_connecto.workflows.xray.translate import translate_job
from napari_connecto.workflows.xray.translator import load_translator
from napari_connecto.workflows.xray.trust import Region, disputed_regions, worst_regions

WORST, MEMBRANES = "worst.json", "membranes"
"""Places to look at first; a folder of `membranes_job`."""
SHOWN = 10
DISPUTED = "finding where passes disagree"


def train_translator(run: TrainTranslator) -> Job[Summary]:
    """Train a translator from an X-ray and an EM volume of one tissue; ``out`` gets ``translator``."""
    xray, em = open_spec(run.volume), open_spec(run.em)
    told = {
        "workflow": "train-translator",
        "xray": xray.fingerprint(),
        "em": em.fingerprint(),
        "params": asdict(run.params),
        "pairing": asdict(run.pairing),
    }
    with JobFolder.open(run.out, told) as job:
        done = job.path / TRAINED
        if done.exists():
            return Summary(str(job.path), [*trained_lines(load_translator(done).about), "was trained before"])
        stop = job.path / STOP
        stop.unlink(missing_ok=True)
        translator = yield from train_translator_job(
            xray, em, run.params, pairing=run.pairing, folder=job.path / "members", stop=stop.exists
        )
        translator.save(done)
        about = translator.about
        return Summary(str(job.path), trained_lines(about), {"metrics": about["metrics"]})


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


def translate(run: Translate, client: Any) -> Job[Summary]:
    """Translate an X-ray volume; with ``membranes``, a boundary model, also tell where passes disagree about them."""
    translator = load_translator(translator_folder(run.translator), backend=run.backend, tile=run.tile)
    volume, out = open_spec(run.volume), Path(run.out)
    where: dict[str, Any] = {"region": run.region, "client": client}
    again = 1.2 if run.membranes else 0.0  # every pass is made once more for its membranes
    uncertain = "finding the most uncertain regions"
    phases = Phases({"translating": 1, uncertain: 0.01, "membranes": again, DISPUTED: again / 100})
    found = yield from phases.run("translating", translate_job(volume, translator, run.params, out=out, **where))
    worst = yield from phases.call(uncertain, partial(worst_regions, found.aleatoric, found.epistemic, SHOWN))
    lines = clipped_lines(run.region, volume) + found.lines() + _listed(worst, out / WORST)
    if run.membranes:
        segmenter = load_model(model_folder(run.membranes), backend=run.backend)
        asking = membranes_job(volume, translator, segmenter, run.params, out=out / MEMBRANES, **where)
        told = yield from phases.run("membranes", asking)
        disputed = yield from phases.call(DISPUTED, partial(disputed_regions, told.sd, SHOWN))
        lines += _listed(disputed, out / MEMBRANES / WORST)
    return Summary(run.out, lines, {"seams": found.report["seams"]})


def _listed(regions: Sequence[Region], path: Path) -> list[str]:
    """Write places to look at; the first one in words."""
    rows = [{"centre_nm": list(r.centre_nm), "box": [*r.box.start, *r.box.stop], "sd": r.sd} for r in regions]
    write_json(path, rows)
    if not regions:
        return []
    at = ", ".join(f"{c:.0f}" for c in regions[0].centre_nm)
    return [f"least certain at z y x {at} nm: {regions[0].reason}; {len(regions)} such places in {path}"]
