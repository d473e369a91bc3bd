"""Two runs and painted tiles, opened, and what the runs' margins and effects are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Output, Predictor, Scaling
from napari_connecto.core.predict import check_channels, read_tile
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.patching import Effects, Patcher, Plan, Scene
from napari_connecto.workflows.inspect.missed.painted import Painted, painted_job, tile_plan
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.shared.on_grid import placed_on
from napari_connecto.workflows.shared.region import region_in

PATCHING = "replacing activations"


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
    plan
        Tiles of the image.
    """

    patcher: Patcher
    levels: tuple[Level, Level]
    scalings: tuple[Scaling, Scaling]
    painted: Sequence[Painted]
    output: Output
    names: tuple[str, str, str, str]

    plan: TilePlan

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

    def tile_at(self, point_nm: Sequence[float]) -> Painted:
        """The tile that owns a point, or the nearest one, without painted pixels."""
        level = self.levels[0]
        at = [min(max(int(c), 0), n - 1) for c, n in zip(level.to_voxels(point_nm), level.shape, strict=True)]
        voxel = Box(vec3(at), vec3([c + 1 for c in at]))
        tile = self.plan[int(self.plan.touching([voxel])[0])]
        nothing = np.zeros(tile.write.shape, bool)
        return Painted(tile, nothing, nothing)


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
    plan = tile_plan(model, levels[0].shape)
    painted = yield from painted_job(masks[0], masks[1], plan, params.tiles, where)
    scalings = [used.card.normalisation.resolve(v) for used, v in zip(models, volumes, strict=True)]
    names = (bad.name, better.name, model.card.name, other.card.name)
    return Asked(patcher, levels, (scalings[0], scalings[1]), painted, output, names, plan)


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
