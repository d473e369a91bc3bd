"""A detector as a cascade of one level: nothing is trained, and every chunk is searched."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import check_channels
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import PIXEL, UNIT, Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.coarser import with_levels_at
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.training.distil.distil import TIMED_CALLS, Survey
from napari_connecto.workflows.cascade.training.distil.places import candidates, spread
from napari_connecto.workflows.cascade.training.distil.sizes import measured_rule, rule_of

ACROSS = 8
"""Voxels across a typical object, where a detector states no diameter and finds nothing in the places looked at."""


def alone_job(volume: Volume, detector: Predictor, params: TrainParams) -> Job[Cascade]:
    """The cascade whose only stage is a detector.

    Parameters
    ----------
    volume
        If neither the detector nor the params state a diameter, the detector is run on a few places of it to measure
        one.
    detector
        See `train_cascade`.
    params
        ``name``, ``head``, ``dims``, ``diameter_nm`` and ``seed``, as in `train_cascade`.
    """
    card = detector.card
    volume = with_levels_at(volume.in_pixels(), [card.voxel_nm])
    level = volume.level_at(card.voxel_nm)
    check_channels(level, card)
    rule, plan = rule_of(card, params), TilePlan(level.shape, card.tile, card.halo)
    options = ExecuteOptions(scaling=card.normalisation.resolve(volume), batch=1)
    survey = Survey(level, plan, detector, rule, options, candidates(plan, params.seed), {})
    if not rule.diameter_nm:
        places = spread(survey.pool, TIMED_CALLS, params.seed)
        yield from survey.look_job(places, len(places), None)
    rule = measured_rule(list(survey.looks.values()), rule, level, params)
    if not rule.diameter_nm:
        rule = replace(rule, diameter_nm=ACROSS * float(card.voxel_nm[1]))
    metadata: dict[str, Any] = {"params": asdict(params), "volume": volume.name, "version": __version__}
    metadata["detector"] = {"name": card.name, "calls": 0, "gates": 0}
    if volume.metadata.get(UNIT) == PIXEL:
        metadata[UNIT] = PIXEL
    unmeasured = Calibration((np.zeros(1),), (), np.zeros(1, bool), np.empty(0), (1.0,), ())
    return Cascade(params.name, (detector,), rule, unmeasured, metadata)
