"""What every ranked model answered on a place, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.widgets.adapt.jobs import Picture

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Rank, Ranking

MOST = 4
"""Largest number of models shown at a time."""


def answer_row(ranking: Ranking, n: int) -> list[Picture | None]:
    """The image at place ``n`` and the segments of the best models, with their scores as titles; [] if none is kept."""
    places = ranking.places
    if places is None:
        return []
    row: list[Picture | None] = [Picture("image", places.level(n, places.image(n)), "image", f"place {n + 1}")]
    for rank in [rank for rank in ranking.ranks if rank.name in ranking.answers][:MOST]:
        labels = np.asarray(ranking.answers[rank.name].labels[n])
        row.append(Picture(f"{rank.name} segments", places.level(n, labels), "labels", _title(rank)))
    return row


def _title(rank: Rank) -> str:
    """Name, consensus, instability."""
    told = [f"{rank.consensus.value:.2f} bits"] if rank.consensus is not None else []
    told += [f"{percent(rank.instability.value)} unstable"] if rank.instability is not None else []
    return f"{rank.name}: {', '.join(told)}{'' if rank.fits else ', does not fit'}"
