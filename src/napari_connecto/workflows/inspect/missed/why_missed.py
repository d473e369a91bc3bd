"""Why a model missed something: which stages and channels restore it when they come from a run that did not.

After Wang et al. (arXiv 2312.08793), who find the components of a language model that suppress a forbidden answer by
replacing their activations with those of a run without the prohibition. Here the two runs are two versions of one
scene, or two models of one architecture; the answer is the margin of logits between painted pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, fvec3
from napari_connecto.core.jobs import Job, loading, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.models.inspect.patching import Patcher, Plan
from napari_connecto.workflows.inspect.missed.asked import Asked, asked_job, effects_job, margins_job
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.ranked import Orders, Ranked, orders_of
from napari_connecto.workflows.inspect.missed.result import Stage, WhyMissed

SHARES = (1 / 4, 1 / 2)
"""Of a stage's channels, for its curves."""


def why_missed(
    model: Predictor,
    bad: Volume,
    good: Volume | Predictor,
    missed: Volume | np.ndarray,
    background: Volume | np.ndarray,
    params: MissedParams | None = None,
    *,
    good_model: Predictor | None = None,
    region: Box | None = None,
) -> WhyMissed:
    """Find the stages and channels that carry a failure, from two runs of which one did better.

    The two runs are two versions of one scene (degraded and clean, X-ray and translated EM), or two models of one
    architecture (before and after fine-tuning) on one image. The margin is the mean logit on ``missed`` less that on
    ``background``; its gap between the runs is what there is to restore. Activations of the good run replace those of
    the bad one: all channels of a stage; then channel by channel, to first order by one gradient and exactly for the
    highest-ranked ones and as many random ones.

    Parameters
    ----------
    model
        The one that missed: a native model, or an imported U-Net of MONAI or segmentation_models_pytorch.
    bad
        The image in which it missed.
    good
        The same scene, better, with the same shape at the model's voxel size; or a model that does better on ``bad``.
    missed, background
        Painted pixels, not 0: where the first output should be high and is not, and where it should be low. Labels with
        a voxel size of their own, or with the voxels of the finest level of ``bad``.
    params
        See `MissedParams`.
    good_model
        Makes the good run; default: ``model``.
    region
        Only pixels painted in this box of ``bad``'s finest level count.

    Returns
    -------
    WhyMissed
        Stages, ranked channels with their controls; ``lines()`` are sentences, ``to_json()`` plain types.

    Raises
    ------
    InputError
        If nothing is painted, the two images differ in shape, or the good run is no better than the bad one.
    ModelError
        If the model's layers cannot be reached, or the two models have different architectures.
    VoxelSizeError
        If an image does not fit the model.

    Notes
    -----
    Only tiles with painted pixels are read, with the card's halo. The first and the last stage of most networks carry
    everything that follows, so that they restore 100 % whatever the failure; the stages between them tell. Channels
    named here carry the failure in these pixels; nothing is claimed about what they stand for.

    References
    ----------
    Wang et al., arXiv 2312.08793 (first-order patching, direct effects); the gradient form, the painted margin and the
    controls are for segmentation networks.

    Examples
    --------
    >>> clean = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", backend="torch")
    >>> image = clean.levels[0].read(nc.Box((0, 0, 0), (1, 64, 64)))
    >>> good = nc.Volume((nc.Level(image, clean.levels[0].voxel_nm),), name="clean")
    >>> faint = (120 + (image - 120.0) * 0.3).astype("uint8")
    >>> bad = nc.Volume((nc.Level(faint, clean.levels[0].voxel_nm),), name="faint")
    >>> boundary = nc.predict(good, model).levels[0].read(nc.Box((0, 0, 0), (1, 64, 64)))
    >>> found = nc.why_missed(model, bad, good, boundary > 230, boundary < 25)
    """
    job = why_missed_job(model, bad, good, missed, background, params, good_model=good_model, region=region)
    return run(job)


def why_missed_job(
    model: Predictor,
    bad: Volume,
    good: Volume | Predictor,
    missed: Volume | np.ndarray,
    background: Volume | np.ndarray,
    params: MissedParams | None = None,
    *,
    good_model: Predictor | None = None,
    region: Box | None = None,
) -> Job[WhyMissed]:
    """Job of `why_missed`."""
    yield loading("torch")
    params = params or MissedParams()
    asked = yield from asked_job(model, bad, good, missed, background, params, good_model=good_model, region=region)
    return (yield from explained_job(asked, params))


def explained_job(asked: Asked, params: MissedParams) -> Job[WhyMissed]:
    """Run both, rank, replace: the answer."""
    found = yield from effects_job(asked)
    bad, good = sum(e.bad for e in found), sum(e.good for e in found)
    gap = good - bad
    if not gap > 0:
        raise InputError(
            f"got a margin of {good:.3g} in the good run and {bad:.3g} in the bad one; there is nothing to restore: "
            "paint other pixels, or exchange the two"
        )
    taps = asked.patcher.taps
    effects = {name: np.sum([e.effect[name] for e in found], axis=0) / gap for name in taps}
    change = {name: np.mean([e.change[name] for e in found], axis=0) for name in taps}
    drawn = np.random.default_rng(params.seed)
    scores = {name: (effects[name], change[name]) for name in taps}
    staged = {name: orders_of(*scores[name], drawn, params.draws) for name in taps}
    modes = _modes(asked.patcher)
    ranked = {mode: Ranked.of(mode, names, scores, drawn, params) for mode, names in modes.items()}
    plans = [plan for name in taps for plan in _stage_plans(name, staged[name])]
    plans += [plan for ranking in ranked.values() for plan in ranking.plans]
    margins = yield from margins_job(asked, plans)
    shares = iter(((margins - bad) / gap).tolist())
    stages = tuple(_stage(asked, name, staged[name], shares) for name in taps)
    rankings = {mode: ranking.read(shares) for mode, ranking in ranked.items()}
    names = asked.names
    return WhyMissed(
        *(names[2], names[3], names[0], names[1], (bad, good), asked.counts, stages),
        *(rankings["total"], rankings.get("direct"), effects, tuple(p.tile.write for p in asked.painted)),
    )


def _modes(patcher: Patcher) -> dict[str, list[str]]:
    """Places by the kind of effect: what follows changes too, or what the decoder reads alone."""
    taps = patcher.taps
    skips = [name for name, tap in taps.items() if tap.kind == "skip"]
    deepest = [name for name, tap in taps.items() if tap.kind == "encoder"][-1:]
    total = [name for name, tap in taps.items() if tap.kind != "skip"]
    return {"total": total} | ({"direct": [*skips, *deepest]} if skips else {})


def _few(channels: int) -> list[int]:
    return sorted({max(1, round(share * channels)) for share in SHARES} - {channels})


def _stage_plans(name: str, orders: Orders) -> Iterator[Plan]:
    """All channels, then the curves of the three orders."""
    yield {name: None}
    for order in orders.values():
        for n in _few(len(order[0])):
            for one in order:
                yield {name: one[:n].tolist()}


def _stage(asked: Asked, name: str, orders: Orders, shares: Iterator[float]) -> Stage:
    tap, channels = asked.patcher.taps[name], asked.patcher.taps[name].channels
    scale = fvec3([s * v for s, v in zip(tap.stride, asked.levels[0].voxel_nm, strict=True)])
    restored = next(shares)
    curves = {
        kind: [
            *((n / channels, float(np.mean([next(shares) for _ in order]))) for n in _few(channels)),
            (1.0, restored),
        ]
        for kind, order in orders.items()
    }
    return Stage(name, tap.kind, channels, scale, restored, curves)
