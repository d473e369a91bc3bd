"""What train-translator, adapt-translator and translate do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.models.files import load_model
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.entries.xray import AdaptTranslator, TrainTranslator, Translate
from napari_connecto.workflows.recipes.guard import guard_beside, judged_lines
from napari_connecto.workflows.recipes.parts import (
    TRAINED,
    clipped_lines,
    model_folder,
    translator_folder,
    tuned_params,
)
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP
from napari_connecto.workflows.xray.check.check import check_translation_job
from napari_connecto.workflows.xray.check.choose import default_model
from napari_connecto.workflows.xray.conformal import Coverage
from napari_connecto.workflows.xray.membranes import membranes_job
from napari_connecto.workflows.xray.place import Place, write_places
from napari_connecto.workflows.xray.training.adapt import adapt_translator_job
from napari_connecto.workflows.xray.training.train import train_translator_job
from napari_connecto.workflows.xray.translate import Translation, translate_job
from napari_connecto.workflows.xray.translator import Translator, load_translator
from napari_connecto.workflows.xray.trust import disputed_regions, worst_regions

WORST, SEGMENTS, MEMBRANES = "worst.json", "segments", "membranes"
"""Places to look at first; folders of `check_translation_job` and of `membranes_job`."""
SHOWN = 10
CHECKING = "checking"


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
    more: dict[str, Any] = {}
    if run.membranes:
        more["segmenter"] = load_model(model_folder(run.membranes), backend="torch")
        told["segmenter"] = more["segmenter"].card.digest
    if run.teacher:
        more["teacher"] = load_translator(translator_folder(run.teacher), backend="torch")
        told["teacher"] = [member.card.digest for member in more["teacher"].members]
    with JobFolder.open(run.out, told) as job:
        done = job.path / TRAINED
        if done.exists():
            return Summary(str(job.path), [*trained_lines(load_translator(done).about), "was trained before"])
        stop = job.path / STOP
        stop.unlink(missing_ok=True)
        translator = yield from train_translator_job(
            xray, em, run.params, pairing=run.pairing, folder=job.path / "members", stop=stop.exists, **more
        )
        translator.save(done)
        about = translator.about
        return Summary(str(job.path), trained_lines(about), {"metrics": about["metrics"]})


def adapt_translator(run: AdaptTranslator) -> Job[Summary]:
    """Adapt a translator to a small pair; ``out`` gets ``translator``."""
    xray, em = open_spec(run.volume), open_spec(run.em)
    translator = load_translator(translator_folder(run.translator), backend="torch")
    told = {
        "workflow": "adapt-translator",
        "xray": xray.fingerprint(),
        "em": em.fingerprint(),
        "translator": [member.card.digest for member in translator.members],
        "params": asdict(run.params),
    }
    with JobFolder.open(run.out, told) as job:
        done = job.path / TRAINED
        if not done.exists():
            found = yield from adapt_translator_job(translator, xray, em, run.params)
            found.save(done)
        about = load_translator(done).about["adapted"]
        return Summary(str(job.path), adapted_lines(about), {"adapted": about})


def adapted_lines(about: Mapping[str, Any]) -> list[str]:
    """What adapting gained, in words; ``about["adapted"]`` of the translator."""
    lines = [f"adapted to X-ray '{about['xray']}' and EM '{about['em']}'"]
    if about["after"]:
        psnr, share = ([about[when][key] for when in ("before", "after")] for key in ("translated", "calibration"))
        lines.append(
            f"on a held-out part: PSNR {psnr[0]['psnr']:.2f} dB before, {psnr[1]['psnr']:.2f} after; 90 % intervals "
            f"covered {percent(share[0]['coverage']['0.9'], 1)}, {percent(share[1]['coverage']['0.9'], 1)}"
        )
    if about["coverage"]:
        lines.append(Coverage(**about["coverage"]).sentence)
    return lines


def trained_lines(about: Mapping[str, Any]) -> list[str]:
    """What a translator reached on the held-out block, in words."""
    metrics = about["metrics"]
    told, before = metrics["translated"], metrics["interpolated"]
    coverage = ", ".join(f"{percent(float(k))}: {percent(v)}" for k, v in metrics["calibration"]["coverage"].items())
    source = "simulated X-ray" if about.get("simulated") else "X-ray"
    return [
        f"trained on {source} '{about['xray']}' and EM '{about['em']}'; figures of a held-out block:",
        f"PSNR {told['psnr']:.2f} dB translated, {before['psnr']:.2f} interpolated; "
        f"SSIM {told['ssim']:.3f}, {before['ssim']:.3f}",
        f"share of voxels inside their intervals, stated and measured: {coverage}",
    ]


def translate(run: Translate, client: Any) -> Job[Summary]:
    """Translate an X-ray volume, and check the translation with a boundary model: segments and uncertain places."""
    translator = load_translator(translator_folder(run.translator), backend=run.backend, tile=run.tile)
    volume, out = open_spec(run.volume), Path(run.out)
    model = _boundary_model(run, translator)
    segmenter = None if model is None else load_model(model, backend=run.backend)
    guard = guard_beside(run.error_map, model, segmenter, "no boundary model looks for membranes; give --membranes")
    where: dict[str, Any] = {"region": run.region, "client": client}
    again = 1.2 if run.disagreement and model else 0.0  # every pass is made once more for its membranes
    phases = Phases({"translating": 1, CHECKING: 0.3 if model else 0.01, "disagreement": again})
    found = yield from phases.run("translating", translate_job(volume, translator, run.params, out=out, **where))
    lines = clipped_lines(run.region, volume) + found.lines()
    if model is None or segmenter is None:
        worst = yield from phases.call(CHECKING, partial(worst_regions, found.aleatoric, found.epistemic, SHOWN))
        return Summary(run.out, lines + _listed(worst, out / WORST), {"seams": found.report["seams"]})
    box = _in_mean(run.region, volume, found)
    params = replace(tuned_params(model), mode="auto", directions="auto")
    how: dict[str, Any] = {"out": out / SEGMENTS, "region": box, "xray": volume, "places": SHOWN, "client": client}
    how["guard"] = guard
    checked = yield from phases.run(CHECKING, check_translation_job(found, segmenter, params, **how))
    write_places(checked.places, out / WORST)
    lines += [*checked.lines(), f"{len(checked.places)} uncertain places in {out / WORST}; tables in {out / SEGMENTS}"]
    lines += judged_lines(checked.labels.metadata, out / SEGMENTS)
    if run.disagreement:
        asking = membranes_job(volume, translator, segmenter, run.params, out=out / MEMBRANES, **where)
        told = yield from phases.run("disagreement", asking)
        lines += _listed(disputed_regions(told.sd, SHOWN), out / MEMBRANES / WORST)
    return Summary(run.out, lines, {"seams": found.report["seams"]})


def _boundary_model(run: Translate, translator: Translator) -> Path | None:
    """The folder of the model that checks a translation; None for none."""
    if run.membranes in (None, "none"):
        return None
    if run.membranes != "auto":
        return model_folder(str(run.membranes))
    shipped = list_models()
    name = default_model(translator.name, translator.about, translator.card.voxel_nm, shipped)
    return shipped.get(name)


def _in_mean(region: Box | None, volume: Volume, found: Translation) -> Box | None:
    """A region of the volume in voxels of the mean's finest level."""
    level = found.mean.levels[0]
    return None if region is None else volume.levels[0].box_in(region, level).clip(level.shape)


def _listed(places: Sequence[Place], path: Path) -> list[str]:
    """Write places to look at; the first one in words."""
    write_places(places, path)
    return [f"{places[0].sentence}; {len(places)} such places in {path}"] if places else []
