"""Why a model missed something: which stages and channels restore it when they come from a run that did not.

After Wang et al. (arXiv 2312.08793), who find the components of a language model that suppress a forbidden answer by
replacing their activations with those of a run without the prohibition. Here the two runs are two versions of one
scene, or two models of one architecture; the answer is the margin of logits between painted pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import spearmanr

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, fvec3
from napari_connecto.core.jobs import Job, Progress, loading, run
from napari_connecto.core.model import Output, Predictor, Scaling
from napari_connecto.core.predict import check_channels, read_tile
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.patching import Effects, Patcher, Plan, Scene
from napari_connecto.workflows.inspect.missed.painted import Painted, painted_job, tile_plan
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.result import Channel, Ranking, Stage, WhyMissed
from napari_connecto.workflows.shared.on_grid import placed_on
from napari_connecto.workflows.shared.region import region_in

SHARES = (1 / 4, 1 / 2)
"""Of a stage's channels, for its curves."""
TOGETHER = (1, 5, 10, 30)
"""Numbers of channels replaced together."""
PATCHING = "replacing activations"


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


@dataclass(frozen=True)
class Asked:
    """Two runs, opened, and the painted tiles.

    Parameters
    ----------
    patcher
        Both networks.
    levels, scalings
        Of the bad and of the good image.
    painted
        At least one tile.
    output
        Whose logits count.
    names
        Bad image, good image, bad model, good model.
    """

    patcher: Patcher
    levels: tuple[Level, Level]
    scalings: tuple[Scaling, Scaling]
    painted: Sequence[Painted]
    output: Output
    names: tuple[str, str, str, str]

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Missed and background pixels."""
        return sum(int(p.missed.sum()) for p in self.painted), sum(int(p.background.sum()) for p in self.painted)

    def scene(self, painted: Painted) -> Scene:
        """A tile in both versions."""
        images = [
            scaling(read_tile(level, painted.tile))[None]  # type: ignore[arg-type]
            for level, scaling in zip(self.levels, self.scalings, strict=True)
        ]
        return Scene(images[0], images[1], painted.weight(self.output, *self.counts))


def asked_job(
    model: Predictor,
    bad: Volume,
    good: Volume | Predictor,
    missed: Volume | np.ndarray,
    background: Volume | np.ndarray,
    params: MissedParams,
    *,
    good_model: Predictor | None = None,
    region: Box | None = None,
) -> Job[Asked]:
    """Open what `why_missed` was asked about, and find the painted tiles."""
    if not isinstance(good, Volume | Predictor):
        raise InputError(f"got {type(good).__name__} for good; give a better version of the image, or a better model")
    if isinstance(good, Volume):
        better, other = good, good_model or model
    else:
        better, other = bad, good
    if better is bad and other is model:
        raise InputError("got one image and one model; give a better version of the image (good), or a better model")
    volumes, models = (bad, better), (model, other)
    levels = (model.card.level_in(bad), other.card.level_in(better))
    if levels[0].shape != levels[1].shape:
        raise InputError(
            f"got '{bad.name}' of {levels[0].shape} and '{better.name}' of {levels[1].shape} voxels as the models read "
            "them; both must show one scene, voxel for voxel: crop or resample one"
        )
    for level, used in zip(levels, models, strict=True):
        check_channels(level, used.card)
    output = model.card.output(params.output) if params.output else model.card.outputs[0]
    patcher = Patcher(model, other, output.name)
    masks = [placed_on(mask, bad, levels[0], "painted pixels") for mask in (missed, background)]
    where = region_in(region, bad, levels[0])
    painted = yield from painted_job(masks[0], masks[1], tile_plan(model, levels[0].shape), params.tiles, where)
    scalings = [used.card.normalisation.resolve(v) for used, v in zip(models, volumes, strict=True)]
    names = (bad.name, better.name, model.card.name, other.card.name)
    return Asked(patcher, levels, (scalings[0], scalings[1]), painted, output, names)


def margins_job(asked: Asked, plans: Sequence[Plan]) -> Job[np.ndarray]:
    """The bad run's margin with each plan's activations replaced, (plans,)."""
    total = np.zeros(len(plans))
    count = len(plans) * len(asked.painted)
    for t, painted in enumerate(asked.painted):
        for n, margin in enumerate(asked.patcher.margins(asked.scene(painted), plans)):
            total[n] += margin
            yield Progress(t * len(plans) + n + 1, count, PATCHING)
    return total


def effects_job(asked: Asked) -> Job[list[Effects]]:
    """First-order effects of all channels, tile by tile."""
    found: list[Effects] = []
    for n, painted in enumerate(asked.painted):
        yield Progress(n, len(asked.painted), "running both")
        found.append(asked.patcher.effects(asked.scene(painted)))
    return found


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
    staged = {name: _orders(*scores[name], drawn, params.draws) for name in taps}
    modes = _modes(asked.patcher)
    ranked = {mode: _Ranked.of(mode, names, scores, drawn, params) for mode, names in modes.items()}
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


Orders = Mapping[str, Sequence[np.ndarray]]
"""Channels, best first, by the order's name; several for "random"."""


def _orders(effect: np.ndarray, change: np.ndarray, drawn: np.random.Generator, draws: int) -> Orders:
    return {
        "gradient": [np.argsort(-effect, kind="stable")],
        "random": [drawn.permutation(len(effect)) for _ in range(draws)],
        "difference": [np.argsort(-change, kind="stable")],
    }


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


@dataclass(frozen=True)
class _Ranked:
    """A ranking whose exact effects are still to be measured.

    Parameters
    ----------
    components
        (place, channel), highest effect first.
    effect
        (components,) in that order.
    by_difference
        (components,) rank by |activation difference|, from 1.
    orders
        Of indices into ``components``.
    """

    mode: str
    components: list[tuple[str, int]]
    effect: np.ndarray
    by_difference: np.ndarray
    orders: Orders
    exact: np.ndarray

    @classmethod
    def of(
        cls,
        mode: str,
        names: Sequence[str],
        scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
        drawn: np.random.Generator,
        params: MissedParams,
    ) -> _Ranked:
        effect = np.concatenate([scores[name][0] for name in names])
        change = np.concatenate([scores[name][1] for name in names])
        order = np.argsort(-effect, kind="stable")
        components = [(name, c) for name in names for c in range(len(scores[name][0]))]
        rank = np.empty(len(change), int)
        rank[np.argsort(-change, kind="stable")] = np.arange(1, len(change) + 1)
        effect, change = effect[order], change[order]
        wanted = params.exact if mode == "total" else max(3, params.exact // 3)
        top = min(wanted, len(order) // 2)
        rest = drawn.permutation(np.arange(top, len(order)))[:top]
        orders = _orders(effect, change, drawn, params.draws)
        chosen = np.concatenate([np.arange(top), rest]).astype(int)
        return cls(mode, [components[i] for i in order], effect, rank[order], orders, chosen)

    @property
    def plans(self) -> list[Plan]:
        """Single channels, then sets of the three orders."""
        single = [self._plan([i]) for i in self.exact]
        return single + [self._plan(one[:n]) for order in self.orders.values() for n in self._counts for one in order]

    @property
    def _counts(self) -> list[int]:
        return [n for n in TOGETHER if n <= len(self.components)]

    def _plan(self, indices: Sequence[int] | np.ndarray) -> Plan:
        plan: dict[str, list[int]] = {}
        for i in indices:
            place, channel = self.components[int(i)]
            plan.setdefault(place, []).append(channel)
        return plan

    def read(self, shares: Iterator[float]) -> Ranking:
        """The ranking, of the shares that the plans restored."""
        exact = np.array([next(shares) for _ in self.exact])
        together = {
            kind: [(n, float(np.mean([next(shares) for _ in order]))) for n in self._counts]
            for kind, order in self.orders.items()
        }
        top = tuple(
            Channel(*self.components[i], float(self.effect[i]), float(exact[i]), int(self.by_difference[i]))
            for i in range(len(self.exact) // 2)
        )
        flat = np.ptp(exact) == 0 or np.ptp(self.effect[self.exact]) == 0
        agreement = 0.0 if flat else float(spearmanr(self.effect[self.exact], exact).statistic)
        return Ranking(self.mode, top, agreement, together, len(self.components))
