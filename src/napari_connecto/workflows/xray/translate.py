"""Translate X-ray into EM-like volumes with a map of uncertainty. The aim is that of Li et al., arXiv 2303.00882, whose
losses, network and form of uncertainty could not be established.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_connecto.core.amounts import percent
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.models.inference.mixture import MEMBRANE
from napari_connecto.workflows.ood.check import CALLS, STAGE, TILES, OodCheck, gate_check_job
from napari_connecto.workflows.ood.document import CHECK, KEY, stated
from napari_connecto.workflows.shared.filling import fill_job, fingerprint, tiles_in
from napari_connecto.workflows.xray.seams import seams
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import LABEL, Recalibrated, Translator

REPORT, NAME = "translation.json", "EM-like (from X-ray)"


@shown
@dataclass(frozen=True)
class Translation:
    """A translated volume.

    Parameters
    ----------
    mean
        EM-like, float32, 0 and 1 are the dark and bright end of the EM it was trained on.
    aleatoric, epistemic
        Standard deviations on that scale: what the X-ray cannot tell, and what the translator does not know.
    membrane
        Probability of membrane in the X-ray, 0 to 1, of a translator that was trained with a boundary model; else None.
    report
        JSON: ``translator``, ``uncertainty``, ``seams``, ``ood``, ``target`` (offset and scale from the EM's
        brightness to the mean's), ``metrics`` (the translator's, of a held-out block of the pair ``trained_on``).
    """

    mean: Volume
    aleatoric: Volume
    epistemic: Volume
    report: Mapping[str, Any] = field(default_factory=dict)
    membrane: Volume | None = None

    def lines(self) -> list[str]:
        """What was done, in words."""
        figures = self.report["seams"]
        worst = max(figures.values(), default=1.0)
        of = f" of '{self.mean.metadata['of']}'" if "of" in self.mean.metadata else ""
        told = [f"{self.mean.name}{of}: {self.mean.levels[0].shape} voxels by '{self.report['translator']}'"]
        told.append(f"seams: gradient at tile borders {worst:.2f} times that elsewhere" if figures else "one tile only")
        told.append(stated(self.report)["sentence"])
        metrics = self.report.get("metrics") or {}
        if metrics:
            coverage = metrics["calibration"]["coverage"]["0.9"]
            pair = " and ".join(f"'{name}'" for name in self.report.get("trained_on") or ()) or "its training pair"
            told.append(
                f"in training, on a held-out block of {pair}: PSNR {metrics['translated']['psnr']:.1f} dB "
                f"(interpolated X-ray {metrics['interpolated']['psnr']:.1f}), 90 % intervals covered "
                f"{percent(coverage)}"
            )
        return told


def translate(
    volume: Volume,
    translator: Translator,
    params: TranslateParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: OodCheck | None = None,
) -> Translation:
    """Translate an X-ray volume into an EM-like volume, with uncertainty.

    Parameters
    ----------
    volume
        (z, y, x) with a voxel size; interpolated to the EM voxel size of the translator.
    translator
        From `train_translator` or `load_translator`.
    params
        Kind of uncertainty and number of passes, see `TranslateParams`.
    out
        Result folder: ``mean.zarr``, ``aleatoric.zarr``, ``epistemic.zarr`` (OME-Zarr pyramids) and
        ``translation.json``. An unfinished result of the same volume and translator is resumed. Default: a temporary
        folder.
    region
        Part to translate, in voxels of the finest level; the rest is 0. Default: all of it.
    client
        A ``distributed.Client``: tiles run on its workers.
    gate
        An earlier out-of-distribution check of this volume. Default: it is made first. It warns, and never stops a run.

    Returns
    -------
    Translation
        ``mean`` (float32; 0 and 1 are the dark and bright end of the EM it was trained on), ``aleatoric`` and
        ``epistemic`` (standard deviations on that scale), on the translator's EM grid, and a ``report``.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and translator do not fit, or the region lies outside.
    ChunkError
        If a chunk is damaged or a value is not finite.
    StoreError
        If ``out`` belongs to something else.

    References
    ----------
    The aim is that of Li et al., arXiv 2303.00882, whose losses, network and form of uncertainty could not be
    established.

    Examples
    --------
    >>> xray = nc.open_sample("xray").levels[0]
    >>> xray = nc.Volume.from_array(xray.read(nc.Box((0, 0, 0), (8, 8, 8))), xray.voxel_nm)
    >>> translator = nc.load_translator(nc.list_translators()["synthetic"], device="cpu", tile=(24, 24, 24))
    >>> found = nc.translate(xray, translator, out="translated")
    >>> found.mean.levels[0].shape, found.mean.levels[0].voxel_nm
    ((24, 24, 24), (10.0, 10.0, 10.0))
    """
    return run(translate_job(volume, translator, params, out=out, region=region, client=client, gate=gate))


def translate_job(
    volume: Volume,
    translator: Translator,
    params: TranslateParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    first: Box | None = None,
    client: Any = None,
    gate: OodCheck | None = None,
) -> Job[Translation]:
    """`translate` as a job; each report's ``payload`` is the box just finished, in voxels of the result's finest level.

    ``first`` is translated before the rest, in voxels of the volume's finest level.
    """
    params = params or TranslateParams()
    translator = translator.fitted(fitting_level(volume, translator.card).shape)
    predictor = translator.predictor(params)
    metadata = stored_metadata(translator)
    with JobFolder.open(result_folder(out), job_fingerprint(volume, predictor, params)) as job:
        job.remove(REPORT)
        tiles, passes = tiles_in(volume, predictor, region), len(predictor.mixture.passes)
        asked = TILES * CALLS if gate is None and translator.gate is not None else 0
        phases = Phases({STAGE: asked, "translating": tiles * passes, "checking for seams": tiles * passes / 200})
        asking: dict[str, Any] = {"region": region, "name": translator.name}
        checking = gate_check_job(volume, translator.members[0], gate or translator.gate, **asking)
        check = yield from phases.run(STAGE, checking)
        job.write_json(CHECK, check.to_json())
        place: dict[str, Any] = {"region": region, "first": first, "client": client}
        place |= {"metadata": metadata if region is not None else {**metadata, KEY: check.to_json()}}
        filling = fill_job(job.path, volume, predictor, "float32", "translating", **place)
        store = yield from phases.run("translating", filling)
        mean = replace(store.volume("mean"), name=NAME)
        looking = partial(seams, mean.levels[0], predictor.card.tile, store.done())
        steps = yield from phases.call("checking for seams", looking)
        report = {
            "translator": translator.name,
            "uncertainty": params.uncertainty,
            "recalibrated": params.uncertainty in translator.recalibration,
            "seams": steps,
            "target": translator.about.get("target"),
            "metrics": translator.about.get("metrics") or {},
            "trained_on": [str(translator.about[key]) for key in ("xray", "em") if key in translator.about],
            KEY: check.to_json(),
        }
        job.write_json(REPORT, report)
        membrane = store.volume(MEMBRANE) if any(o.name == MEMBRANE for o in predictor.card.outputs) else None
        return Translation(mean, store.volume("aleatoric"), store.volume("epistemic"), report, membrane)


def stored_metadata(translator: Translator) -> dict[str, Any]:
    """What the images of a translation say of themselves."""
    return {
        "label": LABEL,
        "simulated": {"translator": translator.name, "trained_on": translator.about.get("simulated")},
        "unit": "share of the EM's brightness range; aleatoric and epistemic are standard deviations",
    }


def job_fingerprint(volume: Volume, predictor: Recalibrated, params: TranslateParams) -> dict[str, Any]:
    """What a result folder belongs to."""
    return {**fingerprint("translate", volume, predictor), "params": asdict(params)}
