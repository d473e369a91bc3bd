"""Cost of a translation before it is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.compute.options import default_batch
from napari_connecto.compute.trial import trial_job
from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, FVec3, Vec3, vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.predict import check_channels
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.device import describe_device
from napari_connecto.workflows.shared.region import inside, region_in
from napari_connecto.workflows.shared.room import room_for, run_bytes
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator

BYTES = 4
"""Bytes per voxel of each output, float32."""
SUMS = 24
"""Bytes per voxel while passes are summed: means, variances and their differences, float32."""


@shown
@dataclass(frozen=True)
class TranslateEstimate:
    """Expected cost of a translation.

    Parameters
    ----------
    source_nm
        Voxel size of the X-ray level that is read, (z, y, x).
    shape, voxel_nm
        Of the part of the result that is computed: all tiles that touch the region.
    passes
        Forward passes per tile: members, mirror images, or passes of dropout.
    seconds
        On this machine.
    memory_bytes, disk_bytes
        Peak memory of the process, including everything loaded; upper bound of the disk space, uncompressed, with all
        three outputs and their coarser levels.
    notes, fits
        As in `Estimate`.
    checking_s
        Seconds to check the result (membranes, segments, uncertain places); not in ``seconds``; 0 without a check.
    """

    source_nm: FVec3
    shape: Vec3
    voxel_nm: FVec3
    tiles: int
    passes: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    device: str
    notes: tuple[str, ...]
    fits: bool
    checking_s: float = 0.0

    @property
    def voxels(self) -> int:
        """Computed, each with three outputs."""
        return Box.of(self.shape).size

    def lines(self) -> Iterator[str]:
        """The estimate, one sentence per line."""
        shape, voxel = " x ".join(f"{n}" for n in self.shape), "x".join(f"{v:g}" for v in self.voxel_nm)
        source = "x".join(f"{v:g}" for v in self.source_nm)
        yield f"{shape} voxels of {voxel} nm from X-ray of {source} nm: {self.tiles} tiles, {self.passes} passes each"
        yield f"about {seconds_text(self.seconds)}, from two tiles timed here"
        if self.checking_s:
            yield f"check (membranes, segments, uncertain places): about {seconds_text(self.checking_s)}"
        yield f"on {self.device}; memory {self.memory_bytes / 1e9:.2g} GB, disk at most {self.disk_bytes / 1e9:.2g} GB"
        yield from self.notes


def estimate_translate(
    volume: Volume,
    translator: Translator,
    params: TranslateParams | None = None,
    *,
    region: Box | None = None,
    out: str | Path | None = None,
) -> TranslateEstimate:
    """`estimate_translate_job`, run to its end."""
    return run(estimate_translate_job(volume, translator, params, region=region, out=out))


def estimate_translate_job(
    volume: Volume,
    translator: Translator,
    params: TranslateParams | None = None,
    *,
    region: Box | None = None,
    out: str | Path | None = None,
) -> Job[TranslateEstimate]:
    """Tiles, seconds, memory and disk of a translation; two tiles are translated to see how long it takes.

    Parameters
    ----------
    volume, translator, params, region, out
        As for `translate`.

    Raises
    ------
    VoxelSizeError, InputError
        As `translate` does.
    """
    params = params or TranslateParams()
    level = fitting_level(volume, translator.card)
    translator = translator.fitted(level.shape)
    predictor, card = translator.predictor(params), translator.card
    check_channels(level, card)
    inside(volume, region)
    plan = TilePlan(level.shape, card.tile, card.halo)
    touched = plan.touching([region_in(region, volume, level) or level.box])
    passes = len(predictor.mixture.passes)
    timed = predictor.mixture.first(1)  # all take as long; timing 256 would block a cancelled estimate for minutes
    batch = default_batch(card)  # a batch of 1 takes another, far slower path through torch in 3-D
    scaling = card.normalisation.resolve(volume)
    trial = yield from trial_job(level, plan, timed, scaling, sizes=(batch,), seconds=0.0)
    starts = plan.cells(touched) * plan.tile
    stops = np.minimum(starts + plan.tile, plan.shape)
    box = Box(vec3(starts.min(axis=0).tolist()), vec3(stops.max(axis=0).tolist()))
    memory = run_bytes(level, plan, predictor.card, trial, batch) + int(np.prod(plan.read_shape)) * SUMS * batch
    disk = int(np.prod(stops - starts, axis=1).sum() * 4 / 3) * BYTES * len(predictor.card.outputs)
    notes, fits = room_for(memory, disk, out, "use a translator with smaller tiles")
    return TranslateEstimate(
        _read_nm(volume, card.voxel_nm),
        box.shape,
        level.voxel_nm,
        len(touched),
        passes,
        len(touched) * trial.tile_s * passes,
        memory,
        disk,
        describe_device(getattr(translator.members[0], "device", "cpu")),
        tuple(notes),
        fits,
    )


def _read_nm(volume: Volume, wanted: FVec3) -> FVec3:
    """Voxel size of the stored level that `fitting_level` reads."""
    fine = [v.voxel_nm for v in volume.levels if all(a <= 1.02 * b for a, b in zip(v.voxel_nm, wanted, strict=True))]
    return fine[-1] if fine else volume.levels[0].voxel_nm
