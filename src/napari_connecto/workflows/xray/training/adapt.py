"""Adapt a translator to a new volume from a small paired part of it: fine-tune by adapters, and recalibrate.

Li et al., arXiv 2303.00882, train on a pair; here most was learnt elsewhere. The adapters are those of
`napari_connecto.models.transfer.adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.training.joint import JointLoss
from napari_connecto.models.training.regression import RegressionLoss
from napari_connecto.workflows.ood.check import FITTING
from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.conformal import cross_coverage
from napari_connecto.workflows.xray.metrics import measured
from napari_connecto.workflows.xray.pair import pair_volumes_job
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.training.design import crop_shape, middle, parts
from napari_connecto.workflows.xray.training.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.training.recalibrate import detector_job, recalibration_job
from napari_connecto.workflows.xray.training.targets import brightness_target, scene_of
from napari_connecto.workflows.xray.training.train import MEASURED
from napari_connecto.workflows.xray.training.validate import Likelihood
from napari_connecto.workflows.xray.translate_params import AdaptParams, TranslatorParams
from napari_connecto.workflows.xray.translator import Translator


def adapt_translator(
    translator: Translator,
    xray: Volume,
    em: Volume,
    params: AdaptParams | None = None,
    *,
    pairing: PairParams | None = None,
) -> Translator:
    """Adapt a translator to another volume, from X-ray and EM of a small part of it.

    Parameters
    ----------
    translator
        Of the same voxel size as the EM, within 25 %.
    xray, em
        A small pair, (z, y, x) with voxel sizes; aligned first, see `pair_volumes`. With ``steps=0`` all of it is used
        to recalibrate, 64 voxels of X-ray along each axis suffice; else it is split as in `train_translator`.
    params
        See `AdaptParams`.
    pairing
        Parameters of the alignment.

    Returns
    -------
    Translator
        ``about["adapted"]``: ``before`` and ``after``, figures of a held-out part (None with ``steps=0``), and
        ``coverage``, see `Coverage`: what recalibration reaches on parts left out, with its interval.

    Raises
    ------
    VoxelSizeError, InputError
        If translator and pair do not fit, or the pair cannot be aligned or is too small.

    Examples
    --------
    >>> params = nc.TranslatorParams(members=1, steps=2, width=2, crop=16, batch=1, dropout=0)
    >>> translator = nc.train_translator(nc.open_sample("xray"), nc.open_sample("xray", "em"), params)
    >>> em = nc.open_sample("xray-test", "em").levels[0]
    >>> em = nc.Volume.from_array(em.read(nc.Box((0, 0, 0), (60, 60, 60))), em.voxel_nm)
    >>> found = nc.adapt_translator(translator, nc.open_sample("xray-test"), em, nc.AdaptParams(steps=0))
    >>> found.about["adapted"]["coverage"]["parts"]
    8
    """
    return run(adapt_translator_job(translator, xray, em, params, pairing=pairing))


def adapt_translator_job(
    translator: Translator,
    xray: Volume,
    em: Volume,
    params: AdaptParams | None = None,
    *,
    pairing: PairParams | None = None,
) -> Job[Translator]:
    """`adapt_translator` as a job."""
    params = params or AdaptParams()
    card = translator.card
    pairing = replace(pairing or PairParams(), voxel_nm=card.voxel_nm)
    phases = Phases({"aligning": 5, "training": 0.2 * params.steps, "recalibrating": 10, FITTING: 3, MEASURING: 4})
    pair = yield from phases.run("aligning", pair_volumes_job(xray, em, pairing))
    whole = Box((0, 0, 0), pair.em.shape)
    boxes = parts(pair.em.shape, card.halo) if params.steps else {"train": whole, "calibration": whole}
    target = brightness_target(pair.em.read(boxes["train"]), em.name)
    scaling = card.normalisation.resolve(xray)
    scene = scene_of(pair, scaling, target)
    blocks = {name: scene.within(box if name == "train" else middle(box, MEASURED)) for name, box in boxes.items()}
    members = tuple(torch_model(member) for member in translator.members)
    if params.steps:
        members = yield from phases.run("training", _tuned(members, blocks, params))
    found = replace(translator, members=members, about={**translator.about, "target": asdict(target)})
    raw = answers(found.predictor(), blocks["calibration"].xray)
    covering = partial(_coverage, raw, blocks["calibration"])
    recalibration = yield from phases.run("recalibrating", recalibration_job(members, blocks["calibration"]))
    gate = translator.gate
    if params.steps:  # its features are those of the network
        gate = yield from phases.run(FITTING, detector_job(pair.xray, scaling, members[0], boxes["train"]))
    found = replace(found, recalibration=recalibration, gate=gate)
    coverage = yield from phases.call(MEASURING, covering)
    told: dict[str, Any] = {"params": asdict(params), "coverage": coverage, "before": None, "after": None}
    told |= {"xray": xray.name, "em": em.name, "pair": list(pair.lines()), "version": __version__}
    about = {**found.about, "adapted": told}
    if "test" in blocks:
        old = replace(found, members=translator.members, recalibration=translator.recalibration)
        told["before"], told["after"] = (measured(t, blocks["test"], blocks["train"]) for t in (old, found))
        about["metrics"] = told["after"]
    return replace(found, about=about)


MEASURING = "measuring on the held-out block"


def _coverage(raw: Mapping[str, np.ndarray], scene: Scene) -> dict[str, Any] | None:
    """Of the total standard deviations before; None if the block is too small for parts."""
    total = np.hypot(raw["aleatoric"], raw["epistemic"])
    try:
        return cross_coverage(raw["mean"], total, scene.em, valid=scene.valid).to_json()
    except InputError:
        return None


def _tuned(
    members: tuple[TorchPredictor, ...], blocks: Mapping[str, Scene], params: AdaptParams
) -> Job[tuple[TorchPredictor, ...]]:
    """Each member with an adapter of its own, merged."""
    card, train, found = members[0].card, blocks["train"], []
    outputs = tuple(output.name for output in card.outputs)
    loss = "gaussian" if "log_variance" in outputs else "absolute"
    sizes = TranslatorParams(loss=loss, crop=params.crop, membrane=0.0)
    crop = crop_shape(sizes, card, vec3(train.em.shape))
    settings = FitParams(
        steps=params.steps,
        learning_rate=params.learning_rate,
        validate_every=max(5, params.steps // 10),
        train="adapter",
        rank=params.rank,
        seed=params.seed,
    )
    for number, member in enumerate(members):
        samples = PairSamples(train, crop, params.batch, params.seed * 1009 + number, outputs=outputs)
        job = fit(
            member,
            samples.from_step,
            settings,
            objective=JointLoss(outputs, RegressionLoss(loss), membrane=0.0),
            validate=Likelihood.of(loss, blocks["validation"], sizes, card),
        )
        try:
            while True:
                p = next(job)
                total = len(members) * params.steps
                yield Progress(number * params.steps + p.done, total, f"adapting member {number + 1}", p.payload)
        except StopIteration as end:
            found.append(end.value)
        finally:
            job.close()
    return tuple(found)
