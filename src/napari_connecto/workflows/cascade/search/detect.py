"""Find sparse objects: classify the whole volume coarsely, then only promising chunks at full resolution."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.phases import Phases
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.volume import PIXEL, UNIT, Level, Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.report import build_report
from napari_connecto.workflows.cascade.results.measured_before import with_measures
from napari_connecto.workflows.cascade.search.coarser import MAKING, fill_job, with_levels_at
from napari_connecto.workflows.cascade.search.costs import Costs
from napari_connecto.workflows.cascade.search.descent import roots
from napari_connecto.workflows.cascade.search.plan import AUDIT, OBJECTS, Plan, make_plan
from napari_connecto.workflows.cascade.search.reexamine import audit_job
from napari_connecto.workflows.cascade.search.run import MAP, REPORT, Search
from napari_connecto.workflows.cascade.search.timing import timings_job, worth_timing
from napari_connecto.workflows.cascade.thresholds.prices import TIMINGS, Timings, calibrated
from napari_connecto.workflows.ood.check import CALLS, RUN_BYTES, STAGE, TILES, OodCheck, gate_check_job
from napari_connecto.workflows.ood.document import KEY
from napari_connecto.workflows.shared import judged
from napari_connecto.workflows.shared.judged import JUDGING, Judge, judging_job, need_judge_of
from napari_connecto.workflows.shared.region import inside, region_in

LEVELS = "coarse"
"""Folder, in a result, of levels computed during its search."""
OBJECTS_SHARE = 0.3
"""Share of a search spent on extracting objects: 0.2 to 0.4 on the samples. For progress only."""


def detect(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams | None = None,
    *,
    out: str | Path | None = None,
    client: Any = None,
    region: Box | None = None,
    guard: Judge | None = None,
) -> Detections:
    """Find sparse objects: search a coarse level everywhere, finer levels only where the coarser one fires.

    Parameters
    ----------
    volume
        (z, y, x), or with channels (c, z, y, x). Each stage of the cascade reads the level of its own voxel size;
        missing coarse levels are averaged from finer ones as they are read, and kept in the user's cache or in ``out``.
    cascade
        From `train_cascade` or `load_cascade`.
    params
        Target recall, audit and more, see `DetectParams`.
    out
        Result folder: tables, probability map, labels, report, and what is needed to resume. An existing folder of the
        same volume and models is resumed. Default: a temporary folder.
    client
        A ``distributed.Client``: tiles run on its workers.
    region
        Part to search, in voxels of the finest level. Default: all of it.
    guard
        The `Guard` of the finest model (``fit_guard(cascade.stages[0], ...)``): it judges the probability map, also
        where the search did not look, so it reads everything at the finest level; see `check_pair`. The error map and
        the worst places go into ``out/check``. Default: no error map.

    Returns
    -------
    Detections
        ``centre_nm`` (n, 3) in nm, (z, y, x), and ``score`` (n,) in [0, 1]; ``report`` has calls per level, thresholds,
        the audit, the out-of-distribution check and, with a guard, ``guard``.

    Raises
    ------
    VoxelSizeError
        If no level is within 25 % of a stage's voxel size.
    InputError
        If ``region`` does not touch the volume, the volume has other channels than the models, or a guard is to judge
        damaged chunks.
    ModelError
        If the guard was fitted to another model than the finest.
    StoreError
        If ``out`` holds something else, or was made from another volume or other models.
    ChunkError
        If a chunk is damaged, unless ``params.on_bad_chunk`` says otherwise.

    References
    ----------
    Athey, Sawmya, Shavit, arXiv 2504.21598 (the gating rule).

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> cascade = nc.load_cascade(nc.list_cascades()["mitochondria"], device="cpu")
    >>> region = nc.Box((0, 0, 0), (8, 128, 128))  # (z, y, x), the end is exclusive
    >>> found = nc.detect(volume, cascade, nc.DetectParams(audit=0), out="found", region=region)
    >>> found.centre_nm.shape == (len(found), 3)
    True
    >>> found.at(0.99).save("sure.csv")  # only those of score 0.99 or more
    """
    return run(detect_job(volume, cascade, params, out=out, client=client, region=region, guard=guard))


def detect_job(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams | None = None,
    *,
    out: str | Path | None = None,
    client: Any = None,
    region: Box | None = None,
    first: Box | None = None,
    live: bool = False,
    check: OodCheck | None = None,
    guard: Judge | None = None,
) -> Job[Detections]:
    """`detect` as a job.

    Parameters
    ----------
    volume, cascade, params, out, client, region, guard
        As in `detect`.
    first
        Searched before the rest, such as the field of view.
    live
        Report objects as soon as they are found; costs about as much as a small network.
    check
        An earlier out-of-distribution check of this volume. Default: it is made first, unless ``params.ood_check`` is
        "off". It warns in the report, and never stops a search.

    Yields
    ------
    Progress
        ``stage`` is "level 2" ...; with ``live``, ``payload`` has the `Detections` of the chunk just finished, or None.
    """
    params = params or DetectParams()
    need_judge_of(cascade.stages[0], guard)
    if guard is not None and params.damaged:
        raise InputError("a guard cannot judge damaged chunks; set on_bad_chunk to 'fail', or make no error map")
    region = None if region is None else inside(volume, region)
    planned = with_levels(volume, cascade)
    make_plan(
        planned, cascade, params, Timings(calibrated(cascade.calibration)), region
    )  # raises before anything is written
    with JobFolder.open(result_folder(out), fingerprint(volume, cascade)) as job:
        volume = with_levels(volume, cascade, job.path)
        scalings = Scalings(volume, damaged=params.damaged)
        timings = yield from _timings_job(job, volume, cascade, scalings, params, region)
        plan = make_plan(volume, cascade, params, timings, region)
        rule = replace(cascade.rule, threshold=params.threshold or cascade.rule.threshold)
        view = first.clip(region or volume.levels[0].shape) if first is not None else None
        looks = check is None and params.ood_check != "off" and cascade.gate is not None
        work = _work(volume, plan, region, view, looks=looks)
        judging_s = {} if guard is None else {JUDGING: judged.WORK * plan.exhaustive_s}
        phases = Phases({**work, **judging_s})
        checking = _check_job(volume, cascade, params, region, plan.steps[0].level, scalings)
        check = check or (yield from phases.run(STAGE, checking))
        read = [step.level for step in plan.steps]
        making = fill_job(volume, read, region, damaged=params.damaged)
        yield from phases.run(MAKING, Costs.open(job).timed(MAKING, making))
        curve = cascade.calibration.score_curve
        search = Search(volume, plan.steps, rule, job, scalings, params, curve, client, live)
        if view is not None and view.size:
            yield from phases.run("view", search.descend(view))
        yield from phases.run("search", search.descend(region))
        found = yield from phases.run(OBJECTS, search.costs.timed(OBJECTS, search.objects()))
        audit = yield from phases.run(AUDIT, audit_job(search, region, found))
        report = {**build_report(search, cascade, plan, found, audit), KEY: check.to_json(), **_of(volume, region)}
        found = with_measures(replace(found, report=report), job.path / "detections.csv")
        found.save(job.path / "detections.csv")
        job.write_json(REPORT, report)
        if guard is not None:  # after all is kept: no verdict changes what was found
            judging = judging_job(guard, volume, search.store.volume(MAP), job.path, region, client)
            report[judged.KEY] = yield from phases.run(JUDGING, judging)
            job.write_json(REPORT, report)
        if region is None:
            shutil.rmtree(job.path / LEVELS, ignore_errors=True)
        return found


def _of(volume: Volume, region: Box | None) -> dict[str, Any]:
    """What a report says of the image and the part that was searched."""
    own = volume.levels[0]
    told: dict[str, Any] = {"image": {k: list(getattr(own, k)) for k in ("shape", "voxel_nm", "origin_nm")}}
    told["region"] = None if region is None else [*region.start, *region.stop]
    # of all lengths, whatever the columns are called
    return told | ({UNIT: PIXEL} if volume.metadata.get(UNIT) == PIXEL else {})


def check_job(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams | None = None,
    region: Box | None = None,
    *,
    most_bytes: int = RUN_BYTES,
) -> Job[OodCheck]:
    """Out-of-distribution check of a volume for the finest stage of a cascade.

    Raises
    ------
    VoxelSizeError
        If no level is within 25 % of that stage's voxel size.
    """
    params, volume = params or DetectParams(), with_levels(volume, cascade)
    level, scalings = volume.level_at(cascade.stages[0].card.voxel_nm), Scalings(volume, damaged=params.damaged)
    return (yield from _check_job(volume, cascade, params, region, level, scalings, most_bytes))


def _check_job(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams,
    region: Box | None,
    level: Level,
    scalings: Scalings,
    most_bytes: int = RUN_BYTES,
) -> Job[OodCheck]:
    """`check_job` of a volume that has all levels, of which the finest stage reads ``level``."""
    if params.ood_check == "off":
        return OodCheck(cascade.name, reason="switched off")
    finest, gate = cascade.stages[0], cascade.gate
    told: dict[str, Any] = {"region": region, "name": cascade.name, "most_bytes": most_bytes}
    told |= {"level": level, "scalings": scalings, "damaged": params.damaged}
    return (yield from gate_check_job(volume, finest, gate, **told))


def _timings_job(
    job: JobFolder, volume: Volume, cascade: Cascade, scalings: Scalings, params: DetectParams, region: Box | None
) -> Job[Timings]:
    """As measured when the job began, so that it goes on as it was planned; else measured now."""
    if (job.path / TIMINGS).exists():
        return Timings.from_json(job.read_json(TIMINGS), len(cascade.stages))
    if not worth_timing(volume, cascade, region):
        return Timings(calibrated(cascade.calibration))
    timings = yield from timings_job(volume, cascade, scalings, larger=not params.damaged)
    job.write_json(TIMINGS, timings.to_json())
    return timings


def _work(volume: Volume, plan: Plan, region: Box | None, view: Box | None, looks: bool) -> dict[str, float]:
    """Seconds that each phase is expected to take, see `Phases`; ``looks``: tiles are read for the check."""
    coarsest = plan.steps[-1]
    chunks = [len(roots(coarsest, region_in(box, volume, coarsest.level))) for box in (view, region)]
    search_s = max(1e-9, sum(plan.seconds[step.name] for step in plan.steps))
    seen = chunks[0] / max(1, chunks[1]) if view is not None else 0.0
    return {
        STAGE: TILES * CALLS * plan.choice.one_level_cost_s if looks else 0.0,
        MAKING: plan.seconds[MAKING],
        "view": search_s * seen,
        "search": search_s * (1 - seen),
        OBJECTS: search_s * OBJECTS_SHARE,
        AUDIT: max(plan.seconds[AUDIT], plan.choice.one_level_cost_s),
    }


def with_levels(volume: Volume, cascade: Cascade, out: Path | None = None) -> Volume:
    """The volume with a level for every stage, as far as they can be computed; see `with_levels_at`.

    Computed levels are stored in the user's cache, else in ``out``. A cascade trained in pixels reads a volume without
    a voxel size in pixels.

    Raises
    ------
    VoxelSizeError
        If it was trained in pixels, and the volume states a voxel size.
    """
    if cascade.metadata.get(UNIT) == PIXEL:
        if volume.calibrated and volume.metadata.get(UNIT) != PIXEL:
            raise VoxelSizeError(
                f"'{cascade.name}' was trained in pixels, on an image without a voxel size, but '{volume.name}' has "
                "one: train a cascade on an image that states its voxel size"
            )
        volume = volume.in_pixels()
    sizes = [card.voxel_nm for card in cascade.cards]
    return with_levels_at(volume, sizes, beside=out / LEVELS if out is not None else None)


def fingerprint(volume: Volume, cascade: Cascade) -> dict[str, Any]:
    """What a result folder belongs to: scores depend on volume and models, not on thresholds or order."""
    return {
        "workflow": "detect",
        "volume": volume.fingerprint(),
        "models": [card.digest for card in cascade.cards],
        "tiles": [[list(card.tile), list(card.halo)] for card in cascade.cards],
        "rule": {k: v for k, v in asdict(cascade.rule).items() if k != "split_nm" or v},  # older rules have none
    }
