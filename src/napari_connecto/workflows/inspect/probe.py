"""A pixel classifier from a few scribbles, on the activations of a network that was trained for something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import check_channels
from napari_connecto.core.ranking import average_precision
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.probe import ProbePredictor
from napari_connecto.models.inspect.taps import network
from napari_connecto.workflows.inspect.concepts.inputs import Mask, mask_levels
from napari_connecto.workflows.inspect.concepts.logistic import Linear, fit_linear
from napari_connecto.workflows.inspect.concepts.look import View, seen_job, stages_of
from napari_connecto.workflows.inspect.concepts.params import ProbeParams

CACHE_BYTES = 2**28
BACKGROUND, FIRST = 1, 2
MOST_CLASSES = 16


def probe(
    model: Predictor,
    volume: Volume,
    scribbles: Mask,
    params: ProbeParams | None = None,
    *,
    names: Sequence[str] | None = None,
    region: Box | None = None,
) -> ProbePredictor:
    """A pixel classifier of what is scribbled, on a model's own features; it is a model itself.

    Parameters
    ----------
    model
        Any native model, or an imported U-Net; it stays as it is.
    volume
        Image.
    scribbles
        Labels of any voxel size, or an array on the image's grid: 0 not labelled, 1 background, 2 a class, 3 and more
        further classes.
    params
        See `ProbeParams`.
    names
        Of the classes, which become the outputs. Default: "object", or "class 2", "class 3", ...
    region
        Part of the volume that holds the scribbles, in voxels of the finest level; the rest is not read. Default: all.

    Returns
    -------
    ProbePredictor
        One output in [0, 1] per class, against all else, for `lazy`, `predict`, and all that takes a model;
        `save_model` and `load_model` keep it. ``card.metrics`` has the pixels and, where there are two strokes of the
        class and of the rest, "held_out_ap" by class, the average precision on strokes left out.

    Raises
    ------
    InputError
        If the scribbles lack background or a class, or names do not fit.
    ModelError
        If the model's layers cannot be reached.

    Notes
    -----
    Logistic regression on the activations of all stages, coarse ones interpolated, classes weighing the same. The
    classical form of this is ilastik's (Berg et al., Nature Methods 2019), on fixed filters by a random forest.

    Examples
    --------
    >>> sample = nc.phantom("neuropil", (8, 128, 128))
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 128, 128))
    >>> scribbles = 1 + (sample.truth["mitochondria"].levels[0].read(nc.Box((0, 0, 0), (1, 128, 128))) > 0)
    >>> drawn = np.zeros((8, 128, 128), np.uint8)
    >>> drawn[0] = scribbles[0]
    >>> classifier = nc.probe(model, sample.image, drawn, names=["mitochondrion"])
    >>> nc.lazy(sample.image, classifier).shape
    (8, 128, 128)
    """
    return run(probe_job(model, volume, scribbles, params, names=names, region=region))


def probe_job(
    model: Predictor,
    volume: Volume,
    scribbles: Mask,
    params: ProbeParams | None = None,
    *,
    names: Sequence[str] | None = None,
    region: Box | None = None,
) -> Job[ProbePredictor]:
    """`probe` as a job."""
    params, opened = params or ProbeParams(), network(model)
    card = opened.card
    level = card.level_in(volume)
    check_channels(level, card)
    box = level.box if region is None else volume.levels[0].box_in(region, level).clip(level.shape)
    [labels] = mask_levels({"scribbles": scribbles}, volume, level).values()
    drawn = yield from _drawn_job(labels, box, params)
    classes = _classes(drawn.label, names)
    stages = stages_of(opened, params.stages)
    view = View(cached(level, CACHE_BYTES), card.normalisation.resolve(volume))
    seen = yield from seen_job(opened, view, drawn.at, stages, "features")
    values = np.concatenate([seen.activations[stage] for stage in stages], axis=1)
    fitted: list[Linear] = []
    held_out: dict[str, float] = {}
    for done, (number, name) in enumerate(classes.items(), 1):
        truth = drawn.label == number
        fitted.append(fit_linear(values, truth, params.ridge))
        if (found := _held_out(values, truth, drawn.stroke, params.ridge)) is not None:
            held_out[name] = found
        yield Progress(done, len(classes), "classifier")
    weights = np.stack([one.weights for one in fitted])
    edges = np.cumsum([seen.activations[stage].shape[1] for stage in stages])[:-1]
    parts = dict(zip(stages, np.split(weights, edges, axis=1), strict=True))
    bias = np.array([one.bias for one in fitted], np.float32)
    told = {"pixels": {name: int((drawn.label == number).sum()) for number, name in classes.items()}}
    return ProbePredictor(model, list(classes.values()), parts, bias, told | {"held_out_ap": held_out})


@dataclass(frozen=True)
class _Drawn:
    """Scribbled pixels (n, 3) of the level, their label (n,) and the number of their stroke (n,)."""

    at: np.ndarray
    label: np.ndarray
    stroke: np.ndarray


def _drawn_job(labels: Level, box: Box, params: ProbeParams) -> Job[_Drawn]:
    """Pixels that are not 0; of too many, as many of each label as there are, at most an equal share."""
    found, numbers, strokes, count = [], [], [], 0
    for z in range(box.start[0], box.stop[0]):
        yield Progress(z - box.start[0], box.shape[0], "looking for scribbles")
        plane = labels.read(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])))[0]
        if not plane.any():
            continue
        parts = cc3d.connected_components(np.ascontiguousarray(plane), connectivity=8)
        y, x = np.nonzero(plane)
        found.append(np.stack([np.full(len(y), z), y + box.start[1], x + box.start[2]], axis=1))
        numbers.append(plane[y, x].astype(np.int64))
        strokes.append(parts[y, x].astype(np.int64) + count)
        count += int(parts.max())
    if not found:
        raise InputError("the scribbles are empty; paint 1 on background and 2 on what is wanted")
    at, label, stroke = np.concatenate(found), np.concatenate(numbers), np.concatenate(strokes)
    kinds, rng = np.unique(label), np.random.default_rng(params.seed)
    share = max(1, params.pixels // len(kinds))
    kept = np.sort(np.concatenate([rng.permutation(np.flatnonzero(label == kind))[:share] for kind in kinds]))
    return _Drawn(at[kept], label[kept], stroke[kept])


def _classes(label: np.ndarray, names: Sequence[str] | None) -> dict[int, str]:
    """Output by number of the label."""
    numbers = [int(n) for n in np.unique(label)]
    wanted = [n for n in numbers if n >= FIRST]
    if BACKGROUND not in numbers or not wanted or min(numbers) < 0:
        raise InputError(f"got scribbles of {numbers[:9]}; paint 1 on background and 2 or more on what is wanted")
    if len(wanted) > MOST_CLASSES:
        raise InputError(f"got {len(wanted)} classes; at most {MOST_CLASSES} are allowed: are these instances?")
    if names is None:
        names = ["object"] if len(wanted) == 1 else [f"class {n}" for n in wanted]
    names = [names] if isinstance(names, str) else list(names)
    if not len(names) == len(set(names)) == len(wanted):
        raise InputError(f"got names {names} for classes {wanted}; give one different name for each")
    return dict(zip(wanted, names, strict=True))


def _held_out(values: np.ndarray, truth: np.ndarray, stroke: np.ndarray, ridge: float) -> float | None:
    """Average precision over two halves of the strokes, each scored by what the other taught; None with too few."""
    half = np.zeros(len(truth), bool)
    for kind in (False, True):
        mine = np.unique(stroke[truth == kind])
        if len(mine) < 2:
            return None
        half |= (truth == kind) & np.isin(stroke, mine[::2])

    def score(test: np.ndarray) -> float:
        taught = fit_linear(values[~test], truth[~test], ridge)
        return average_precision(taught(values[test]), truth[test])

    return float(np.mean([score(half), score(~half)]))
