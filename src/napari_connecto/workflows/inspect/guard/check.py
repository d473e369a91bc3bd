"""Check a model's answer to an image: where is it wrong, and how good is it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.amounts import counted
from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import write_json, write_text
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.models.inspect.pair import ERROR, QUALITY
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.inspect.guard.both import both
from napari_connecto.workflows.inspect.guard.guard import Guard, load_guard
from napari_connecto.workflows.inspect.guard.params import CheckParams
from napari_connecto.workflows.inspect.guard.places import WORST, Place, worst_places
from napari_connecto.workflows.inspect.guard.sample import SAMPLING, means_of, verdict_job
from napari_connecto.workflows.inspect.guard.verdict import Verdict
from napari_connecto.workflows.shared.filling import fill_job, fingerprint, tiles_in
from napari_connecto.workflows.shared.region import inside, region_in

REPORT, TILES = "report.json", "tiles.csv"
MAPPING, RATING = "mapping errors", "predicting quality"
WIDE = 48
"""Side of a worst place, voxels of the model in the plane."""


@shown
@dataclass(frozen=True)
class PairCheck:
    """Where an answer is wrong, and how good it is.

    Parameters
    ----------
    error
        Probability that the answer is wrong at a voxel: uint8 pyramid, 255 is 1, on the grid of the model.
    quality
        As the error: what the judge says of the surroundings; `Guard.score_of` of a tile's mean is its Dice or VI.
    tiles
        Box of every tile, in voxels of the error map's finest level.
    predicted
        (n,) Dice, or VI in bits, predicted per tile.
    verdict
        Of a sample of tissue tiles, by all checks.
    worst
        Places to look at first.
    report
        JSON, also in ``report.json``.
    """

    error: Volume
    quality: Volume
    tiles: Sequence[Box] = field(repr=False)
    predicted: np.ndarray
    verdict: Verdict
    worst: Sequence[Place]
    report: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def lines(self) -> list[str]:
        """In words."""
        return [*self.report["lines"]]


def check_pair(
    volume: Volume,
    output: Volume,
    guard: Guard | Predictor | str | Path,
    params: CheckParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
) -> PairCheck:
    """Check a model's answer against the image it answers.

    Parameters
    ----------
    volume
        Image that the model read.
    output
        The model's output as `predict` returns it: probabilities, uint8 (255 is 1) or float in 0..1.
    guard
        A `Guard`; or the folder of a model that has one beside it, the name of a shipped model, or a shipped model.
    params
        See `CheckParams`.
    out
        Result folder: ``error.zarr`` and ``quality.zarr`` (OME-Zarr pyramids), ``tiles.csv``, ``worst.json`` and
        ``report.json``. An unfinished check of the same image and answer is resumed. Default: a temporary folder.
    region
        Part to check, in voxels of the image's finest level. Default: all of it.
    client
        A ``distributed.Client``.

    Returns
    -------
    PairCheck
        ``error`` (a map), ``predicted`` (Dice or VI of each tile), ``verdict`` (a traffic light) and ``worst``. A check
        advises; it changes nothing.

    Raises
    ------
    ModelError
        If there is no guard.
    VoxelSizeError, InputError
        If volume, answer and guard do not fit.
    ChunkError
        If a chunk is damaged or a value is not finite.

    Notes
    -----
    Sections are judged singly, so wrong links between sections are not seen. A confident error that looks the same in
    image and answer as a right answer does is missed.

    Examples
    --------
    >>> volume, neurons = nc.open_sample("neuropil"), nc.open_sample("neuropil", "neurons")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", backend="torch")
    >>> few = nc.GuardParams(scenes=8, pairs=16, steps=2, tiles=60, false_alarm=0.2)
    >>> guard = nc.fit_guard(model, [(volume, neurons)], few)
    >>> part = nc.Box((0, 0, 0), (1, 192, 192))
    >>> boundary = nc.predict(volume, model, out="boundary", region=part)
    >>> check = nc.check_pair(volume, boundary, guard, out="check", region=part)
    >>> check.error.levels[0].shape
    (32, 512, 512)
    """
    return run(check_pair_job(volume, output, guard, params, out=out, region=region, client=client))


def check_pair_job(
    volume: Volume,
    output: Volume,
    guard: Guard | Predictor | str | Path,
    params: CheckParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    first: Box | None = None,
    client: Any = None,
) -> Job[PairCheck]:
    """`check_pair` as a job; each report's ``payload`` is the box just finished, in voxels of the error map.

    ``first`` is mapped before the rest, in voxels of the volume's finest level.
    """
    params, guard = params or CheckParams(), guard_of(guard)
    pair = both(volume, output, guard.card)
    level = pair.levels[0]
    told = {**fingerprint("check-pair", pair, guard.judge), "params": asdict(params)}
    with JobFolder.open(result_folder(out), told) as job:
        job.remove(REPORT)
        within = level.box if region is None else region_in(inside(volume, region), volume, level) or level.box
        halves = 5 if guard.gate is not None and guard.model is not None else 0
        tiles = _tiles(level.shape, guard.judge.card.tile, within)
        work = {MAPPING: tiles_in(pair, guard.judge), SAMPLING: params.tiles * (1 + halves), RATING: 0.1 * len(tiles)}
        phases = Phases(work)
        # the pair has one level, so its finest is what the model reads
        place: dict[str, Any] = {"region": within, "client": client, "metadata": {"guard": guard.judge.card.name}}
        place["first"] = None if first is None else region_in(first, volume, level)
        filling = fill_job(job.path, pair, guard.judge, "uint8", MAPPING, **place)
        store = yield from phases.run(MAPPING, filling)
        error, quality = (store.volume(name) for name in (ERROR, QUALITY))
        sampling = verdict_job(guard, volume, error.levels[0], quality.levels[0], within, params)
        verdict = yield from phases.run(SAMPLING, sampling)
        means = yield from phases.run(RATING, _means_job(error.levels[0], quality.levels[0], tiles))
        predicted = guard.score_of(means[:, 1])
        worst = worst_places(error, params.places, WIDE * guard.card.voxel_nm[1], within)
        report = _report(guard, verdict, predicted, worst)
        _written(job.path, tiles, means, predicted, worst, report)
        return PairCheck(replace(error, name="error probability"), quality, tiles, predicted, verdict, worst, report)


def guard_of(given: Guard | Predictor | str | Path) -> Guard:
    """The guard that is meant: itself, beside a model's folder, of a shipped model by name, or by the model.

    Raises
    ------
    ModelError
        If there is none.
    """
    if isinstance(given, Guard):
        return given
    shipped = list_models()
    if isinstance(given, str | Path):
        named = given if Path(given).exists() else shipped.get(str(given))
        if named is None:
            raise ModelError(f"got '{given}', which is neither a folder nor one of the models {', '.join(shipped)}")
        return load_guard(named)
    if not isinstance(given, Predictor):
        raise ModelError(f"got a guard of type {type(given).__name__}; give a Guard, a model or a model's folder")
    for folder in shipped.values():
        try:
            guard = load_guard(folder, model=given)
        except ModelError:
            continue
        return guard
    raise ModelError(
        f"the model '{given.card.name}' is none of those that ship with a guard; give the Guard itself, or the folder "
        "of a model that has one beside it (fit_guard makes it, Guard.save puts it there)"
    )


def _tiles(shape: Vec3, tile: Vec3, within: Box) -> list[Box]:
    plan = TilePlan(shape, tile)
    return [plan[int(i)].write for i in plan.touching([within])]


def _means_job(error: Level, quality: Level, tiles: Sequence[Box]) -> Job[np.ndarray]:
    """(n, 2) of `means_of`."""
    means = np.zeros((len(tiles), 2))
    for k, box in enumerate(tiles):
        means[k] = means_of(error, quality, box)
        if k % 16 == 15 or k + 1 == len(tiles):
            yield Progress(k + 1, len(tiles), RATING)
    return means


def _report(guard: Guard, verdict: Verdict, predicted: np.ndarray, worst: Sequence[Place]) -> dict[str, Any]:
    bad = guard.bad(predicted)
    lines = verdict.lines()
    side = "below" if guard.kind == "masks" else "above"
    lines.append(
        f"predicted {guard.unit} of {counted(len(predicted), 'tile')}: median {np.median(predicted):.3g} (usual for "
        f"this model {guard.usual:.3g}); {counted(int(bad.sum()), 'tile')} {side} {guard.limit:.3g}"
    )
    if worst:
        at = ", ".join(f"{c:.0f}" for c in worst[0].centre_nm)
        lines.append(f"worst at z y x {at} nm: {worst[0].reason}; {counted(len(worst), 'place')} in {WORST}")
    quantiles = {str(q): float(np.percentile(predicted, q)) for q in (5, 25, 50, 75, 95)}
    return {
        "model": guard.card.digest,
        "model_name": guard.card.name,
        "kind": guard.kind,
        "unit": guard.unit,
        "usual": guard.usual,
        "limit": guard.limit,
        "stated_false_alarm": guard.by_pair.false_alarm,
        "verdict": verdict.to_json(),
        "tiles": len(predicted),
        "bad_tiles": int(bad.sum()),
        "predicted": quantiles,
        "lines": lines,
    }


def _written(
    folder: Path,
    tiles: Sequence[Box],
    means: np.ndarray,
    predicted: np.ndarray,
    worst: Sequence[Place],
    report: Mapping[str, Any],
) -> None:
    """The report comes last: it marks a finished check."""
    rows = [
        f"{z},{y},{x},{e:.4f},{p:.4f}"
        for (z, y, x), e, p in zip([t.start for t in tiles], means[:, 0], predicted, strict=True)
    ]
    write_text(folder / TILES, "\n".join(["z,y,x,error,predicted", *rows]) + "\n")
    listed = [{"centre_nm": list(w.centre_nm), "box": [*w.box.start, *w.box.stop], "error": w.error} for w in worst]
    write_json(folder / WORST, listed)
    write_json(folder / REPORT, report)
