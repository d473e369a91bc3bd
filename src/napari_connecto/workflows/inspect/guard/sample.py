"""Check a sample of tissue tiles by all means there are: the pair, the output and the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import binomtest

from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import Guard, of_halves, of_pair
from napari_connecto.workflows.inspect.guard.params import CheckParams
from napari_connecto.workflows.inspect.guard.verdict import Verdict
from napari_connecto.workflows.ood.gate import statistics
from napari_connecto.workflows.ood.tiles import around
from napari_connecto.workflows.shared.patches import candidates

SAMPLING = "checking sampled tiles"


def means_of(error: Level, quality: Level, box: Box) -> tuple[float, float]:
    """Mean error probability and mean quality of a box."""
    a, b = (float(np.mean(lv.read(box), dtype=np.float64)) / 255 for lv in (error, quality))
    return a, b


def verdict_job(
    guard: Guard, volume: Volume, error: Level, quality: Level, within: Box, params: CheckParams
) -> Job[Verdict]:
    """Check tissue tiles by all means there are."""
    card, model, gate = guard.card, guard.model, guard.gate
    tile = guard.judge.card.tile
    image = card.level_in(volume)
    drawn = candidates(image, tile, params.tiles, params.seed, within=within).boxes
    if not drawn:
        return Verdict(np.zeros(0, bool), np.zeros(0), 0.0, (), "no tissue was found in the image")
    means, halves = np.array([means_of(error, quality, box) for box in drawn]), None
    if guard.combined is not None and model is not None and gate is not None:
        scaling, encoder, found = card.normalisation.resolve(volume), TorchEncoder(model), []
        for k, block in enumerate(_read(image, drawn, gate.shape)):
            vectors, unsure = statistics(encoder, scaling(block if block.ndim == 4 else block[None])[None])
            found.append(of_halves(gate.gaussian.distance(vectors.astype(np.float64)), unsure)[0])
            yield Progress(k + 1, len(drawn), SAMPLING)
        halves = np.array(found)
    flagged, used = flag(guard, means, halves)
    unusual = None
    if halves is not None and guard.by_input is not None:
        unusual = guard.by_input.score(halves[:, :1]) > guard.by_input.limit
    return Verdict(flagged, guard.score_of(means[:, 1]), _expected(used), used.names, unusual=unusual)


def _read(image: Level, boxes: Sequence[Box], shape: Vec3) -> Iterator[np.ndarray]:
    return (image.read_padded(around(box, shape)) for box in boxes)


def flag(guard: Guard, means: np.ndarray, halves: np.ndarray | None = None) -> tuple[np.ndarray, Calibration]:
    """Whether tiles (n,) are flagged, and by which calibration.

    Parameters
    ----------
    guard
        Of the model.
    means
        (n, 2) mean error probability and mean quality.
    halves
        (n, 2) of `of_halves`; None: by the pair alone.
    """
    pair = guard.by_pair.score(of_pair(means[:, 0], means[:, 1]))
    if halves is None or guard.combined is None:
        return pair > guard.by_pair.limit, guard.by_pair
    return guard.combined.score(np.stack([pair, halves[:, 1]], axis=1)) > guard.combined.limit, guard.combined


def _expected(used: Calibration) -> float:
    interval = binomtest(used.alarms, used.tiles).proportion_ci(0.95, method="exact")
    return float(max(interval.high, used.false_alarm))
