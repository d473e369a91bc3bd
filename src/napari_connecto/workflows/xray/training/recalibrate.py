"""Recalibration of a translator's uncertainty, and its out-of-distribution detector, on parts of a pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.workflows.ood.check import source_gate_job
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.reliability import Recalibration
from napari_connecto.workflows.xray.training.pair_samples import Scene
from napari_connecto.workflows.xray.translate_params import KINDS, TranslateParams
from napari_connecto.workflows.xray.translator import mixture

OOD_TILES = 100


def recalibration_job(members: Sequence[Predictor], scene: Scene) -> Job[dict[str, Recalibration]]:
    """Recalibration by kind of uncertainty, where it has any."""
    found: dict[str, Recalibration] = {}
    kinds = [kind for kind in KINDS if kind != "dropout" or members[0].card.network.get("dropout")]
    for n, kind in enumerate(kinds):
        yield Progress(n, len(kinds), "recalibrating")
        one = _recalibrated(members, TranslateParams(uncertainty=kind), scene)
        found |= {kind: one} if one else {}
    return found


def detector_job(xray: Level, scaling: Scaling, model: Predictor, box: Box) -> Job[Gate | None]:
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
