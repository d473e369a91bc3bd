"""Train a translator from a pair of aligned volumes; measure and recalibrate it on held-out blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.phases import Phases
from napari_connecto.core.views.pedestal import percentiles
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE
from napari_connecto.models.training.regression import RegressionLoss
from napari_connecto.workflows.ood.check import FITTING, source_gate_job
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.design import crop_shape, middle, parts, translator_card
from napari_connecto.workflows.xray.metrics import measured
from napari_connecto.workflows.xray.pair import Pair, pair_volumes_job
from napari_connecto.workflows.xray.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.reliability import Recalibration
from napari_connecto.workflows.xray.translate_params import KINDS, TranslateParams, TranslatorParams
from napari_connecto.workflows.xray.translator import Translator, mixture

TARGET = (0.5, 99.5)
"""Percentiles of the EM mapped to 0 and 1."""
CHECKED = 16
"""Crops that select the best checkpoint."""
OOD_TILES = 100
MEASURED = 2**21
"""Largest part for recalibration and for measuring, voxels."""


def train_translator(
    xray: Volume, em: Volume, params: TranslatorParams | None = None, *, pairing: PairParams | None = None
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
    return run(train_translator_job(xray, em, params, pairing=pairing))


def train_translator_job(
    xray: Volume,
    em: Volume,
    params: TranslatorParams | None = None,
    *,
    pairing: PairParams | None = None,
    folder: Path | None = None,
    stop: Callable[[], bool] | None = None,
) -> Job[Translator]:
    """`train_translator` as a job.

    Parameters
    ----------
    xray, em, params, pairing
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
    card = translator_card(params, pair.em.voxel_nm)
    boxes = parts(pair.em.shape, card.halo)
    target = _target(pair.em.read(boxes["train"]), em.name)
    scene = _scene(pair, card.normalisation.resolve(xray), target)
    blocks = {name: scene.within(box if name == "train" else middle(box, MEASURED)) for name, box in boxes.items()}
    members = yield from phases.run("training", _members(blocks, card, params, folder, stop))
    recalibrating = _recalibration_job(members, params, blocks["calibration"])
    recalibration = yield from phases.run("recalibrating", recalibrating)
    fitting = _gate(pair.xray, card.normalisation.resolve(xray), members[0], boxes["train"])
    gate = yield from phases.run(FITTING, fitting)
    about = {
        "params": asdict(params),
        "pair": list(pair.lines()),
        "xray": xray.name,
        "em": em.name,
        "simulated": xray.metadata.get("simulated"),
        "target": asdict(target),
        "version": __version__,
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
        "training": 3.0 * params.members * params.steps * params.batch * params.crop**3,
        "recalibrating": float(MEASURED * passes),
        FITTING: OOD_TILES * 48.0**3,
        "measuring on the held-out block": float(MEASURED * params.members),
    }


def _recalibration_job(
    members: Sequence[Predictor], params: TranslatorParams, scene: Scene
) -> Job[dict[str, Recalibration]]:
    """Recalibration by kind of uncertainty, where it has any."""
    found: dict[str, Recalibration] = {}
    kinds = [kind for kind in KINDS if kind != "dropout" or params.dropout > 0]
    for n, kind in enumerate(kinds):
        yield Progress(n, len(kinds), "recalibrating")
        one = _recalibrated(members, TranslateParams(uncertainty=kind), scene)
        found |= {kind: one} if one else {}
    return found


def _target(em: np.ndarray, name: str) -> Scaling:
    base, (low, high) = percentiles(em, TARGET)
    if not high > low:
        raise InputError(f"'{name}' has one brightness in the training part; give a pair with tissue in it")
    return Scaling.between(base, low, high - low, em.dtype)


def _scene(pair: Pair, xray: Scaling, em: Scaling) -> Scene:
    """Both scaled; invalid voxels are made finite."""
    values = [np.where(pair.valid, s(level.read(level.box)), 0) for level, s in ((pair.xray, xray), (pair.em, em))]
    return Scene(values[0].astype(np.float32), np.clip(values[1], 0, 1).astype(np.float32), pair.valid)


def _members(
    blocks: Mapping[str, Scene],
    card: ModelCard,
    params: TranslatorParams,
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
            blocks, card, replace(params, seed=seed), folder / f"run_{k}.safetensors" if folder else None, stop
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
    checkpoint: Path | None,
    stop: Callable[[], bool] | None,
) -> Job[TorchPredictor]:
    train = blocks["train"]
    crop = crop_shape(params, card, vec3(train.em.shape))
    square = abs(card.voxel_nm[1] / card.voxel_nm[2] - 1) < 0.05
    samples = PairSamples(train, crop, params.batch, params.seed, square=square)
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
        objective=RegressionLoss(params.loss, params.structure, params.adversary, seed=params.seed),
        validate=Likelihood.of(params.loss, blocks["validation"], params, card),
        stop=stop,
        checkpoint=checkpoint,
    )


@dataclass(frozen=True)
class Likelihood:
    """Validation score: minus the mean negative log likelihood (or absolute error) of a few crops; higher is better."""

    kind: str
    sample: Sample

    @classmethod
    def of(cls, kind: str, scene: Scene, params: TranslatorParams, card: ModelCard) -> Likelihood:
        """On `CHECKED` crops of a block, the same for all members."""
        crop = crop_shape(params, card, vec3(scene.em.shape))
        return cls(kind, PairSamples(scene, crop, CHECKED, 0, changed=False).at(0))

    def __call__(self, model: Predictor) -> float:
        """Score a member."""
        xray, em, weight = self.sample
        answer, known = model(xray, [0] * len(xray)), weight[:, 0] > 0
        error = np.abs(answer["mean"] - em[:, 0])[known]
        if self.kind == "absolute":
            return -float(error.mean())
        log_variance = np.clip(answer["log_variance"], *LOG_VARIANCE_RANGE)[known]
        if self.kind == "laplace":
            return -float((error * np.exp(0.5 * (np.log(2) - log_variance)) + 0.5 * (log_variance + np.log(2))).mean())
        return -float((0.5 * (error**2 * np.exp(-log_variance) + log_variance)).mean())


def _gate(xray: Level, scaling: Scaling, model: Predictor, box: Box) -> Job[Gate | None]:
    """Out-of-distribution detector fitted to the training part; None if that holds too little tissue."""
    try:
        return (yield from source_gate_job(xray, scaling, model, within=box, tiles=OOD_TILES))
    except InputError:
        return None


def _recalibrated(members: Sequence[Predictor], params: TranslateParams, scene: Scene) -> Recalibration | None:
    """From the calibration block; None if nothing is uncertain (one pass of a model without variance)."""
    answer = answers(mixture(members, params), scene.xray)
    total = np.hypot(answer["aleatoric"], answer["epistemic"])
    if not (total[scene.valid] > 0).any():
        return None
    return Recalibration.fit(answer["mean"], total, scene.em, valid=scene.valid)
