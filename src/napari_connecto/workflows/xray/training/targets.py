"""What a translator learns besides the brightness of the EM: its membranes, a teacher's answer, other microscopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.phases import Phases
from napari_connecto.core.views.pedestal import percentiles
from napari_connecto.core.volume import Level
from napari_connecto.workflows.shared.whole import answers_job
from napari_connecto.workflows.xray.pair import Pair
from napari_connecto.workflows.xray.training.design import CELL
from napari_connecto.workflows.xray.training.microscopes import other_xrays_job
from napari_connecto.workflows.xray.training.pair_samples import Scene, Taught
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from napari_connecto.workflows.xray.translator import Translator

SIMULATING, FINDING, ASKING = "simulating X-ray", "finding membranes in the EM", "asking the teacher"
NEAR = 1.3
"""Largest ratio of the pixels of EM and boundary model."""
TARGET = (0.5, 99.5)
"""Percentiles of the EM mapped to 0 and 1."""


def brightness_target(em: np.ndarray, name: str) -> Scaling:
    """Maps the ends of an EM's brightness, the percentiles `TARGET`, to 0 and 1; ``name`` is for the error.

    Raises
    ------
    InputError
        If there is one brightness only.
    """
    base, (low, high) = percentiles(em, TARGET)
    if not high > low:
        raise InputError(f"'{name}' has only one brightness in the training part; give a pair with tissue in it")
    return Scaling.between(base, low, high - low, em.dtype)


def scene_of(pair: Pair, xray: Scaling, em: Scaling) -> Scene:
    """Both scaled; invalid voxels are made finite."""
    values = [np.where(pair.valid, s(level.read(level.box)), 0) for level, s in ((pair.xray, xray), (pair.em, em))]
    return Scene(values[0].astype(np.float32), np.clip(values[1], 0, 1).astype(np.float32), pair.valid)


def prepared_job(
    blocks: Mapping[str, Scene],
    em: Level,
    box: Box,
    card: ModelCard,
    params: TranslatorParams,
    segmenter: Predictor | None,
    teacher: Translator | None,
    target: Scaling,
) -> Job[dict[str, Scene]]:
    """The parts of a pair with everything that is learnt beside the EM's brightness; a report per tile or simulation.

    Parameters
    ----------
    blocks
        By name; "train" and "validation" are changed.
    em, box
        The whole EM in its own brightness, and the training part of it.
    card, params, segmenter, teacher, target
        Of the translator that is trained, see `train_translator`; ``target`` maps the EM's brightness to 0 to 1.
    """
    found, phases = dict(blocks), Phases({SIMULATING: 0.1 + params.microscopes, FINDING: 10, ASKING: 10})
    if params.microscopes:
        here = Level(np.asarray(em.read(box)), em.voxel_nm)
        ends = (card.normalisation.low, card.normalisation.high)
        simulating = with_microscopes_job(found["train"], here, params.microscopes, params.seed, ends)
        found["train"] = yield from phases.run(SIMULATING, simulating)
    if segmenter is not None:
        for name in ("train", "validation"):
            finding = with_membranes_job(found[name], segmenter, card.voxel_nm)
            found[name] = yield from phases.run(FINDING, finding)
    if teacher is not None:
        found["train"] = yield from phases.run(ASKING, with_teacher_job(found["train"], teacher, target))
    return found


def with_membranes_job(scene: Scene, segmenter: Predictor, voxel_nm: FVec3) -> Job[Scene]:
    """The scene with the membranes that a boundary model finds in its EM.

    Sections along z; where voxels are nearly cubes, the mean over sections along z, y and x.

    Raises
    ------
    InputError
        If pixels of the EM and of the model differ by more than `NEAR`.
    """
    pixel, wanted = voxel_nm[1], segmenter.card.voxel_nm[1]
    if not 1 / NEAR <= pixel / wanted <= NEAR:
        raise InputError(
            f"got EM pixels of {pixel:g} nm and the boundary model '{segmenter.card.name}' for {wanted:g} nm; choose a "
            "model of about that pixel size, or another EM level (--grid-nm)"
        )
    low, high = np.percentile(
        scene.em[scene.valid], (segmenter.card.normalisation.low, segmenter.card.normalisation.high)
    )
    image = ((scene.em - low) / max(float(high - low), 1e-9)).astype(np.float32)
    name, found = segmenter.card.outputs[0].name, []
    for axis in range(3) if 1 / CELL <= voxel_nm[0] / voxel_nm[1] <= CELL else range(1):
        turned = np.ascontiguousarray(np.moveaxis(image, axis, 0))
        answer = yield from answers_job(segmenter, turned, FINDING)
        found.append(np.moveaxis(answer[name], 0, axis))
    return replace(scene, membrane=np.asarray(np.mean(found, axis=0), np.float32))


def with_teacher_job(scene: Scene, teacher: Translator, target: Scaling) -> Job[Scene]:
    """The scene with the answer of an ensemble to its X-ray, on the scale of the scene's EM.

    Raises
    ------
    InputError
        If the teacher does not tell the scale of its EM.
    """
    told = teacher.about.get("target")
    if not told:
        raise InputError(
            f"translator '{teacher.name}' does not state the brightness of its EM, so it cannot be a teacher; "
            "choose another"
        )
    own = Scaling(**told)
    answer = yield from answers_job(teacher.predictor(), scene.xray, ASKING)
    factor = np.float32(own.scale / target.scale)
    shift = np.float32((own.offset + own.base - target.offset - target.base) / target.scale)
    noise, unknown = (answer[name] ** 2 * factor**2 for name in ("aleatoric", "epistemic"))
    return replace(scene, taught=Taught(answer["mean"] * factor + shift, noise + unknown, unknown))


def with_microscopes_job(
    scene: Scene, em: Level, count: int, seed: int, percentiles: tuple[float, float]
) -> Job[Scene]:
    """The scene with X-ray of the same tissue by random microscopes; stain is as dark in them as in the scene's own.

    Parameters
    ----------
    scene
        With its own X-ray.
    em
        Of the scene, in memory: its own brightness.
    count, seed, percentiles
        See `other_xrays_job`.
    """
    alike = np.corrcoef(scene.xray[scene.valid], scene.em[scene.valid])[0, 1] >= 0
    others = yield from other_xrays_job(em, count, seed=seed, percentiles=percentiles, dark=bool(alike))
    return replace(scene, others=others)
