"""Train a translator from a pair of aligned volumes; measure and recalibrate it on held-out blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from napari_connecto import __version__
from napari_connecto.core.geometry import vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.training.joint import JointLoss, Through
from napari_connecto.models.training.regression import RegressionLoss
from napari_connecto.workflows.ood.check import FITTING
from napari_connecto.workflows.xray.metrics import measured
from napari_connecto.workflows.xray.pair import pair_volumes_job
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.training.design import crop_shape, middle, parts, translator_card
from napari_connecto.workflows.xray.training.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.training.recalibrate import OOD_TILES, detector_job, recalibration_job
from napari_connecto.workflows.xray.training.targets import brightness_target, prepared_job, scene_of
from napari_connecto.workflows.xray.training.validate import Likelihood
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from napari_connecto.workflows.xray.translator import Translator

PREPARING = "preparing membranes and simulated X-ray"
MEASURED = 2**21
"""Largest part for recalibration and for measuring, voxels."""


def train_translator(
    xray: Volume,
    em: Volume,
    params: TranslatorParams | None = None,
    *,
    pairing: PairParams | None = None,
    segmenter: Predictor | None = None,
    teacher: Translator | None = None,
) -> Translator:
    """Train a translator from X-ray to EM on two volumes of the same tissue.

    Parameters
    ----------
    xray, em
        (z, y, x) with voxel sizes; they are aligned first, see `pair_volumes`.
    params
        Members, steps, network width and more, see `TranslatorParams`.
    pairing
        Parameters of the alignment.
    segmenter
        A boundary model for the EM: the translator also learns to find, in the X-ray, the membranes that the model
        finds in the EM, and gives their probability as a fourth output.
    teacher
        A translator that was trained on the same pair: the new one learns its answers (mean and total variance, and the
        epistemic variance as an output of its own), so that one network stands for an ensemble.

    Returns
    -------
    Translator
        ``about["metrics"]`` are measured on a held-out block that was used neither for training nor for recalibration.

    Raises
    ------
    VoxelSizeError
        As in `pair_volumes`.
    InputError
        If the pair cannot be aligned, is too small to be split, or has no contrast.

    Examples
    --------
    >>> params = nc.TranslatorParams(members=1, steps=2, width=2, depth=2, crop=16, batch=1)
    >>> translator = nc.train_translator(nc.open_sample("xray"), nc.open_sample("xray", "em"), params)
    >>> "psnr" in translator.about["metrics"]["translated"]
    True
    >>> folder = translator.save("translator")
    """
    return run(train_translator_job(xray, em, params, pairing=pairing, segmenter=segmenter, teacher=teacher))


def train_translator_job(
    xray: Volume,
    em: Volume,
    params: TranslatorParams | None = None,
    *,
    pairing: PairParams | None = None,
    segmenter: Predictor | None = None,
    teacher: Translator | None = None,
    folder: Path | None = None,
    stop: Callable[[], bool] | None = None,
) -> Job[Translator]:
    """`train_translator` as a job.

    Parameters
    ----------
    xray, em, params, pairing, segmenter, teacher
        As in `train_translator`.
    folder
        Keeps finished members and the state of the present one; a run with the same folder resumes from there.
    stop
        Asked before every step; once true, the members so far (one at least) are measured and returned.

    Yields
    ------
    Progress
        ``payload`` is ``{"step", "loss", "score"}`` in training, steps of all members counted together; ``score`` is
        minus the loss's likelihood on the validation part.
    """
    params = params or TranslatorParams()
    phases = Phases(_work(params))
    pair = yield from phases.run("aligning", pair_volumes_job(xray, em, pairing))
    finder = segmenter if params.membrane > 0 else None
    card = translator_card(params, pair.em.voxel_nm, membrane=finder is not None, taught=teacher is not None)
    boxes = parts(pair.em.shape, card.halo)
    target = brightness_target(pair.em.read(boxes["train"]), em.name)
    scene = scene_of(pair, card.normalisation.resolve(xray), target)
    blocks = {name: scene.within(box if name == "train" else middle(box, MEASURED)) for name, box in boxes.items()}
    preparing = prepared_job(blocks, pair.em, boxes["train"], card, params, finder, teacher, target)
    blocks = yield from phases.run(PREPARING, preparing)
    members = yield from phases.run("training", _members(blocks, card, params, segmenter, folder, stop))
    recalibrating = recalibration_job(members, blocks["calibration"])
    recalibration = yield from phases.run("recalibrating", recalibrating)
    fitting = detector_job(pair.xray, card.normalisation.resolve(xray), members[0], boxes["train"])
    gate = yield from phases.run(FITTING, fitting)
    about = {
        "params": asdict(params),
        "pair": list(pair.lines()),
        "xray": xray.name,
        "em": em.name,
        "simulated": xray.metadata.get("simulated"),
        "target": asdict(target),
        "version": __version__,
        "segmenter": segmenter.card.name if segmenter is not None else None,
        "teacher": teacher.name if teacher is not None else None,
    }
    translator = Translator(params.name, tuple(members), recalibration, about, gate)
    measuring = partial(measured, translator, blocks["test"], blocks["train"])
    metrics = yield from phases.call("measuring on the held-out block", measuring)
    return replace(translator, about={**about, "metrics": metrics})


def _work(params: TranslatorParams) -> dict[str, float]:
    """Voxels seen by networks in each phase, a training step counted three times; for progress only."""
    passes = params.members + 4 + 8 * (params.dropout > 0) + 1  # of all kinds of uncertainty
    return {
        "aligning": 4e6,  # 4 s, and 1 us per voxel, on two cores
        PREPARING: 1e6 * (1 + params.microscopes),
        "training": 3.0 * params.members * params.steps * params.batch * params.crop**3,
        "recalibrating": float(MEASURED * passes),
        FITTING: OOD_TILES * 48.0**3,
        "measuring on the held-out block": float(MEASURED * params.members),
    }


def _members(
    blocks: Mapping[str, Scene],
    card: ModelCard,
    params: TranslatorParams,
    segmenter: Predictor | None,
    folder: Path | None,
    stop: Callable[[], bool] | None,
) -> Job[list[Predictor]]:
    """Trained one after the other; they differ in initial weights and order of crops."""
    found: list[Predictor] = []
    total = params.members * params.steps
    for k in range(params.members):
        if found and stop is not None and stop():
            break
        kept = folder / f"member_{k}" if folder else None
        if kept is not None and kept.exists():
            found.append(load_model(kept, device=params.device, backend="torch"))
            continue
        seed = params.seed * 1009 + k
        job = _member(
            blocks,
            card,
            replace(params, seed=seed),
            segmenter,
            folder / f"run_{k}.safetensors" if folder else None,
            stop,
        )
        try:
            while True:
                p = next(job)
                yield Progress(k * params.steps + p.done, total, f"training member {k + 1}", p.payload)
        except StopIteration as end:
            model = end.value
        finally:
            job.close()
        if kept is not None:
            save_model(model, kept)
        found.append(model)
    return found


def _member(
    blocks: Mapping[str, Scene],
    card: ModelCard,
    params: TranslatorParams,
    segmenter: Predictor | None,
    checkpoint: Path | None,
    stop: Callable[[], bool] | None,
) -> Job[TorchPredictor]:
    train = blocks["train"]
    crop = crop_shape(params, card, vec3(train.em.shape))
    square = abs(card.voxel_nm[1] / card.voxel_nm[2] - 1) < 0.05
    outputs = tuple(output.name for output in card.outputs)
    samples = PairSamples(train, crop, params.batch, params.seed, square=square, outputs=outputs)
    through = Through(torch_model(segmenter), params.through) if segmenter is not None and params.through > 0 else None
    regression = RegressionLoss(params.loss, params.structure, params.adversary, seed=params.seed)
    settings = FitParams(
        steps=params.steps,
        learning_rate=params.learning_rate,
        validate_every=max(5, params.steps // 20),
        patience=params.patience,
        seed=params.seed,
    )
    return fit(
        new_model(card, params.seed, device=params.device),
        samples.from_step,
        settings,
        objective=JointLoss(outputs, regression, membrane=params.membrane, through=through),
        validate=Likelihood.of(params.loss, blocks["validation"], params, card),
        stop=stop,
        checkpoint=checkpoint,
    )
