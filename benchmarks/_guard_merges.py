"""Merges planted into answers: are they found in the error map, and among the worst places of a section?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.models.inspect.pair import ERROR
from napari_connecto.workflows.inspect.guard.check import WIDE
from napari_connecto.workflows.inspect.guard.faults import plant
from napari_connecto.workflows.inspect.guard.scenes import (
    HALO,
    INNER,
    Source,
    answer_at,
    crop,
    draw,
    labels_at,
    pair,
    view,
    view_shape,
)
from napari_connecto.workflows.inspect.guard.tiles import Setting
from napari_connecto.workflows.inspect.guard.truth import judge, objects_of
from napari_connecto.workflows.shared.worst import worst_boxes

SEED, PLANTED, SECTIONS, WORST = 18, 120, 24, 10
"""Merges planted for the limit, and again for the figures; sections with one merge each, and places listed of each."""
LEAST, RECALL, PRECISION = 9, 0.8, 0.5
"""Voxels of a new error that make a planted merge one; aims."""


class Planted(NamedTuple):
    """A tile or section with one merge: error map, truth, and where the merge is an error."""

    error: np.ndarray
    wrong: np.ndarray
    merge: np.ndarray


def merges(setting: Setting, judging: Any, mixed: Any, own: Sequence[Source], held: Sequence[Source]) -> Iterator[str]:
    """The limit is chosen on the source's own part, figures are of the held-out part."""
    seen = planted(setting, judging, own)
    scored = [(limit, *found(seen, limit)) for limit in np.linspace(0.1, 0.9, 33)]
    limit, *_ = max(scored, key=lambda s: min(s[1] - RECALL, s[2] - PRECISION))
    for name, cases in (("source", seen), ("held out", planted(setting, judging, held))):
        recall, precision, by_chance, precise_by_chance = found(cases, limit)
        yield (
            f"- planted merges, {name}: recall {recall:.2f} of {len(cases)} (chance {by_chance:.2f}), precision "
            f"{precision:.2f} (chance {precise_by_chance:.2f}) of regions above {limit / 2:.3f} that pass {limit:.2f}"
        )
    recall, precision, *_ = found(planted(setting, mixed, held), limit)
    yield f"- control, another tile's image: recall {recall:.2f}, precision {precision:.2f}"


def planted(setting: Setting, judging: Any, sources: Sequence[Source]) -> list[Planted]:
    """Tiles with one merge that the truth counts as an error."""
    rng, cases = np.random.default_rng(SEED), list[Planted]()
    inner = (slice(HALO, -HALO),) * 2
    while len(cases) < PLANTED:
        source = sources[int(rng.integers(len(sources)))]
        scene = view(source, draw(source, view_shape(setting.model), rng), setting.model, setting.output)
        made = []
        for _ in range(8):
            at = crop(scene, rng)
            answer, labels = answer_at(scene, at), labels_at(scene, at)
            before = judge(answer, labels, setting.kind, setting.segment, HALO).wrong
            changed, where = plant(answer, objects_of(labels), setting.kind, "merge", float(rng.random()), rng)
            tile = pair(scene, at, changed, setting.kind, setting.segment)
            if (tile.judged.wrong & where & ~before)[inner].sum() >= LEAST:
                made.append((tile, where))
        if len(made) > 1:
            maps = judging(np.stack([t.both for t, _ in made]), [0] * len(made))[ERROR][:, 0]
            cases += [
                Planted(m[inner], t.judged.wrong[inner], (t.judged.wrong & where)[inner])
                for m, (t, where) in zip(maps, made, strict=True)
            ]
    return cases[:PLANTED]


def found(cases: Sequence[Planted], limit: float) -> tuple[float, float, float, float]:
    """Share of planted merges that a region touches, of regions that touch an error; then both by chance.

    A region is above half the limit everywhere and above it somewhere. Chance: the truth is that of another tile.
    """
    hits, right = np.zeros(2), np.zeros(2)
    regions = 0
    for k, case in enumerate(cases):
        parts, n = ndimage.label(apply_hysteresis_threshold(case.error, limit / 2, limit))
        regions += n
        for which, truth in enumerate((case, cases[(k + len(cases) // 2) % len(cases)])):
            hits[which] += bool((parts[truth.merge] > 0).any())
            right[which] += len(np.setdiff1d(np.unique(parts[truth.wrong]), [0]))
    recall, precision = hits / len(cases), right / max(1, regions)
    return float(recall[0]), float(precision[0]), float(recall[1]), float(precision[1])


def worst(setting: Setting, judging: Any, sources: Sequence[Source]) -> Iterator[str]:
    """One merge in a whole section: is it among the worst places, and do these hold errors?"""
    rng, hits, right, places, chance = np.random.default_rng(SEED), 0, 0, 0, 0.0
    cases = [case for k in range(SECTIONS) for case in section(setting, judging, sources, k, rng)]
    for case in cases:
        level = Level(case.error[None], setting.model.card.voxel_nm)
        size = WIDE * setting.model.card.voxel_nm[1]
        boxes = worst_boxes(case.error[None], level, WORST, size)
        listed = np.zeros(case.error.shape, bool)
        for box in boxes:
            listed[box.slices[1:]] = True
            right += bool((case.wrong[box.slices[1:]]).sum() >= LEAST)
        hits, places, chance = hits + bool((listed & case.merge).any()), places + len(boxes), chance + listed.mean()
    yield (
        f"- worst {WORST} places of a section: hold the merge in {hits} of {len(cases)} (they cover "
        f"{chance / max(1, len(cases)):.0%}), an error in {right} of {places}"
    )


def section(setting: Setting, judging: Any, sources: Sequence[Source], k: int, rng: Any) -> Iterator[Planted]:
    """A section with one merge; none where none can be planted."""
    source = sources[k % len(sources)]
    per = -(-SECTIONS // len(sources))
    z = source.part.start[0] + (k // len(sources)) * source.part.shape[0] // per
    sides = [n // INNER * INNER for n in source.part.shape[1:]]
    scene = view(source, Box((z, 0, 0), (z + 1, *whole_tiles(setting, sides))), setting.model, setting.output)
    own = tuple(slice(0, side) for side in sides)
    answer, labels = scene.answer[0][own], scene.labels[0][own]
    before = judge(answer, labels, setting.kind, setting.segment).wrong
    for _ in range(20):
        changed, where = plant(answer, objects_of(labels), setting.kind, "merge", float(rng.random()), rng)
        wrong = judge(changed, labels, setting.kind, setting.segment).wrong
        if (wrong & where & ~before).sum() >= LEAST:
            image = scene.image[:, scene.halo[0]][:, scene.halo[1] :, scene.halo[2] :][:, *own]
            both = np.concatenate([image, changed[None]])
            padded = np.pad(both, ((0, 0), (HALO, HALO), (HALO, HALO)), mode="edge")[None, :, None]
            yield Planted(judging(padded, [0])[ERROR][0, 0][HALO:-HALO, HALO:-HALO], wrong, wrong & where)
            return


def whole_tiles(setting: Setting, sides: Sequence[int]) -> list[int]:
    """Sides of a view of whole tiles of the model that holds these."""
    return [-(-side // t) * t for side, t in zip(sides, setting.model.card.tile[1:], strict=True)]
