"""Maps of a miss: answers of both runs, the restored answer, and the channels that carry the failure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from napari_connecto.core.geometry import FVec3, Vec3, fvec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.patching import Plan
from napari_connecto.workflows.inspect.missed.asked import Asked
from napari_connecto.workflows.inspect.missed.result import Channel, WhyMissed

RESTORED, SHOWN = 10, 3
"""Channels replaced together for the restored answer, and channels shown."""
BAD, GOOD, BACK = "bad", "good", "restored"


def maps_job(asked: Asked, found: WhyMissed, *, shown: int = SHOWN) -> Job[dict[str, Volume]]:
    """Maps of the tile with most painted pixels.

    Returns
    -------
    dict
        Probability in the bad and in the good run, and in the bad run with the first ten channels of the good one
        ("bad", "good", "restored"); then of each of the first channels its activations in both runs and their
        difference ("encoder.2-22 bad", "... good", "... difference"), at the voxel size of its stage, without the halo.
    """
    painted = asked.painted[0]
    scene = asked.scene(painted)
    last = list(asked.patcher.taps)[-1]
    plans: dict[str, Plan] = {BAD: {}, GOOD: {last: None}, BACK: together(found.total.top[:RESTORED])}
    maps: dict[str, Volume] = {}
    count = len(plans) + shown
    for n, (name, plan) in enumerate(plans.items()):
        yield Progress(n, count, "making maps")
        logits = asked.patcher.answer(scene, plan)
        stride = asked.output.stride
        maps[name] = _map(asked, painted.tile, expit(logits), stride, asked.output.trimmed, name)
    for n, channel in enumerate(found.total.carriers[:shown]):
        yield Progress(len(plans) + n, count, "making maps")
        bad, good = asked.patcher.activations(scene, channel.place, [channel.channel])
        label = f"{channel.place}-{channel.channel}"
        stride = asked.patcher.taps[channel.place].stride
        for name, values in ((BAD, bad[0]), (GOOD, good[0]), ("difference", good[0] - bad[0])):
            maps[f"{label} {name}"] = _map(asked, painted.tile, values, stride, (0, 0, 0), f"{label} {name}")
    return maps


def restored_job(asked: Asked, channels: Sequence[Channel], point_nm: Sequence[float]) -> Job[Volume]:
    """The bad run once more in the tile at a point, with these channels of the good one.

    Parameters
    ----------
    asked
        Both runs.
    channels
        To be replaced; none for the plain run.
    point_nm
        (z, y, x); of a point outside of the image the nearest tile.

    Returns
    -------
    Volume
        Probability, float32, of what the tile owns.
    """
    yield Progress(0, 1, "restoring")
    painted = asked.tile_at(point_nm)
    logits = asked.patcher.answer(asked.scene(painted), together(tuple(channels)))
    return _map(asked, painted.tile, expit(logits), asked.output.stride, asked.output.trimmed, BACK)


def together(channels: tuple[Channel, ...]) -> Plan:
    """Replace these channels at once."""
    plan: dict[str, list[int]] = {}
    for channel in channels:
        plan.setdefault(channel.place, []).append(channel.channel)
    return plan


def _map(asked: Asked, tile: Tile, values: np.ndarray, stride: Vec3, trimmed: Vec3, name: str) -> Volume:
    """Values on the grid of what a tile reads, without its halo, at their place in the world."""
    level = asked.levels[0]
    first = [a + t for a, t in zip(tile.read.start, trimmed, strict=True)]
    cut = []
    for a, b, c, s, n in zip(tile.write.start, tile.write.stop, first, stride, values.shape, strict=True):
        start = max(0, (a - c) // s)
        cut.append(slice(start, max(start + 1, min(n, -(-(b - c) // s)))))
    corner = [c + k.start * s for c, k, s in zip(first, cut, stride, strict=True)]
    voxel: FVec3 = fvec3([s * v for s, v in zip(stride, level.voxel_nm, strict=True)])
    array = np.ascontiguousarray(values[tuple(cut)], np.float32)
    return Volume((Level(array, voxel, fvec3(level.to_nm(corner).tolist())),), name=name)
