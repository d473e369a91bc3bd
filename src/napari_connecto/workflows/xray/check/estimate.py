"""Cost of checking a translation before it is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.segment.estimate import estimate_segment_job
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.room import room_for
from napari_connecto.workflows.xray.estimate import TranslateEstimate
from napari_connecto.workflows.xray.translator import Translator

JUDGED = 3.0
"""Time to judge segments and to find uncertain places, relative to the estimate of segmenting. Measured on the X-ray
sample: 27 s, beside estimates of 8 to 13 s."""


def with_check_job(
    cost: TranslateEstimate,
    volume: Volume,
    translator: Translator,
    model: Predictor,
    params: SegmentParams,
    *,
    out: str | Path | None = None,
) -> Job[TranslateEstimate]:
    """Add the check after a translation (`check_translation_job` of all of it) to its estimate.

    Parameters
    ----------
    cost
        Of the translation.
    volume, translator
        The X-ray volume and what translates it.
    model, params
        Boundary model and parameters of the check.
    out
        Where the result will be.
    """
    like = Volume((fitting_level(volume, translator.card),), name=volume.name)  # stands for the EM-like image
    check = yield from estimate_segment_job(like, params, model=model)
    memory, disk = max(cost.memory_bytes, check.memory_bytes), cost.disk_bytes + check.disk_bytes
    notes, fits = room_for(memory, disk, out, "use a translator with smaller tiles")
    seconds = check.seconds + JUDGED * check.segment_s
    needs = replace(cost, memory_bytes=memory, disk_bytes=disk, notes=tuple(notes), fits=fits)
    return replace(needs, checking_s=seconds)
