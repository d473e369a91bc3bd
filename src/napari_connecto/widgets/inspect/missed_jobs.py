"""Jobs of the tab "Why missed"; no Qt, no napari. torch is imported only when a job runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.jobs import load
from napari_connecto.widgets.viewer.mesa import torch_job

if TYPE_CHECKING:
    from napari_connecto.core.model import Predictor
    from napari_connecto.workflows.inspect.missed.asked import Asked
    from napari_connecto.workflows.inspect.missed.attacked import Attack
    from napari_connecto.workflows.inspect.missed.params import MissedParams
    from napari_connecto.workflows.inspect.missed.result import Channel, WhyMissed

MISSED, BACKGROUND = 1, 2
"""Labels to paint."""


@dataclass(frozen=True)
class Explaining:
    """What *Why missed* was asked.

    Parameters
    ----------
    volume, good
        The image, and a better version of it; None: the same image.
    model, better
        Folders of the model that missed and of one that does better; None: the same model.
    painted
        Labels: `MISSED` and `BACKGROUND`.
    """

    volume: Volume
    good: Volume | None
    model: Path
    better: Path | None
    painted: Volume
    params: MissedParams


class Explained(NamedTuple):
    """The answer, its maps, and both runs, opened, to go on with; image and model of the better run."""

    found: WhyMissed
    maps: Mapping[str, Volume]
    asked: Asked
    image: Volume
    model: Predictor


def explain_job(asked: Explaining) -> Job[Explained]:
    """Compare both runs, and make the maps."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.missed.asked import asked_job
    from napari_connecto.workflows.inspect.missed.maps import maps_job
    from napari_connecto.workflows.inspect.missed.painted import label_of
    from napari_connecto.workflows.inspect.missed.why_missed import explained_job

    yield Progress(0, 0, "loading the model")
    model = load(asked.model)
    better = load(asked.better) if asked.better is not None else None
    missed, background = (label_of(asked.painted, value) for value in (MISSED, BACKGROUND))
    good = asked.good if asked.good is not None else asked.volume
    opened = yield from asked_job(model, asked.volume, good, missed, background, asked.params, good_model=better)
    found = yield from explained_job(opened, asked.params)
    return Explained(found, (yield from maps_job(opened, found)), opened, good, better or model)


def restore_job(answer: Explained, channels: int, point_nm: Sequence[float]) -> Job[Volume]:
    """The run that missed, in the tile at a point, with the first ``channels`` of the ranking from the better run."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.missed.maps import restored_job

    return (yield from restored_job(answer.asked, answer.found.total.top[:channels], point_nm))


class Attacked(NamedTuple):
    """What an attack did, and where: clean places, (n, 3) nm, and the pattern's own."""

    found: Attack
    places_nm: np.ndarray
    pattern_nm: np.ndarray


def attack_job(answer: Explained, channel: Channel) -> Job[Attacked]:
    """Put what a channel answers to into empty places of the better run's image, and ask the better run's model."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.missed.attack import attack_job as plant_job

    source = answer.asked.painted[0].tile.write
    found = yield from plant_job(answer.model, answer.image, (channel.place, channel.channel), source)
    level = answer.asked.levels[1]
    places, pattern = (level.to_nm(np.array(at, float) + 0.5) for at in (found.places, [found.pattern]))
    return Attacked(found, places, pattern)
