"""Suggest patches of a volume to annotate, each with a reason; after Sawmya et al., arXiv 2503.06196."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import check_channels
from napari_connecto.core.shown import shown
from napari_connecto.core.views.pedestal import above, plain
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.annotate.apart import Places, choices
from napari_connecto.workflows.adapt.annotate.strategies import Pool, needs_features
from napari_connecto.workflows.adapt.annotate.uncertainty import check_boundary, patch_uncertainty
from napari_connecto.workflows.adapt.params import SuggestParams
from napari_connecto.workflows.shared.patches import Candidates, candidates
from napari_connecto.workflows.shared.uncertainty_kinds import KINDS

THUMBNAIL = 128


@shown
@dataclass(frozen=True)
class Suggestion:
    """A suggested patch.

    Parameters
    ----------
    box
        In voxels of the volume's finest level.
    score
        Mean uncertainty of the model over the patch, bits (or variance over flips).
    reason
        Why this patch, in words.
    random
        Drawn at random, for unbiased figures.
    thumbnail
        Its middle section, uint8 (y, x), stretched to its own contrast, at most 128 wide.
    """

    box: Box
    score: float
    reason: str
    random: bool = False
    thumbnail: np.ndarray | None = field(default=None, compare=False, repr=False)


class Suggestions(list[Suggestion]):
    """Suggested patches; ``note`` says why there are fewer than requested, "" if there are not."""

    note: str = ""


class Encoder(Protocol):
    """Makes vectors (n, d) of patches (n, c, z, y, x), float32, scaled as its card says."""

    @property
    def card(self) -> ModelCard: ...

    def __call__(self, batch: np.ndarray) -> np.ndarray: ...


def suggest(
    volume: Volume,
    model: Predictor,
    n: int,
    *,
    exclude: Sequence[Box] = (),
    held_out: Sequence[Box] = (),
    encoder: Encoder | None = None,
    params: SuggestParams | None = None,
    **fields: Any,
) -> Suggestions:
    """Suggest patches to annotate, most useful first.

    Parameters
    ----------
    volume
        Image, also a single section.
    model
        Boundary model: an output "boundary" at stride 1. Models of one section get patches of one section, others as
        deep as their tile.
    n
        Largest number of patches.
    exclude, held_out
        Boxes that are annotated or unwanted, and boxes held out already; in voxels of the finest level.
    encoder
        For strategies that compare patches, such as ``models.transfer.encoder.TorchEncoder``.
    params
        Strategy, size and number of random patches, see `SuggestParams`.
    **fields
        Single fields of `SuggestParams`, which override ``params``: ``strategy="entropy"``, ``seed=1``.

    Returns
    -------
    Suggestions
        A list of `Suggestion`: ``box`` in voxels of the volume's finest level, ``score``, ``reason``. Random patches
        come last. No two overlap, and they keep a distance to each other and to the given boxes; if the volume is too
        small for that, there are fewer, and ``note`` says so.

    Raises
    ------
    InputError
        If no patch can be suggested, or a parameter is wrong.
    ModelError
        If the model gives no boundary probability.
    VoxelSizeError
        If volume and model do not fit.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> found = nc.suggest(volume, model, 2, size=64, pool=4, random_arm=0)
    >>> [suggestion.box.shape for suggestion in found]
    [(1, 64, 64), (1, 64, 64)]
    """
    job = suggest_job(volume, model, n, exclude=exclude, held_out=held_out, encoder=encoder, params=params, **fields)
    return run(job)


def suggest_job(
    volume: Volume,
    model: Predictor,
    n: int,
    *,
    exclude: Sequence[Box] = (),
    held_out: Sequence[Box] = (),
    encoder: Encoder | None = None,
    params: SuggestParams | None = None,
    **fields: Any,
) -> Job[Suggestions]:
    """`suggest` as a job, with a report per patch."""
    params = from_mapping(SuggestParams, {**asdict(params or SuggestParams()), **fields})
    card, finest = model.card, volume.levels[0]
    check_boundary(card)
    _check(n, params, encoder)
    level = fitting_level(volume, card)
    check_channels(level, card)
    taken = [finest.box_in(box, level) for box in (*exclude, *held_out)]
    shape = (card.tile[0], params.size, params.size)
    seen = encoder if needs_features(params.strategy, params.diversity) else None
    phases = Phases({"finding tissue": 1, "predicting": 20, "comparing patches": 10 * (seen is not None)})
    draw = partial(candidates, level, shape, max(n, params.pool), params.seed, taken)
    found = yield from phases.call("finding tissue", draw)
    if not found.boxes:
        raise InputError(_short(found, 0, n, params, len(taken)))
    places = Places.of(level, found.boxes, finest, exclude, held_out)
    pool = yield from phases.run("predicting", _pool(volume, level, found.boxes, model, params))
    if seen is not None:
        vectors = yield from phases.run("comparing patches", _vectors(volume, level, found.boxes, seen))
        pool = Pool(pool.score, pool.pixel, pool.unit, vectors)
    picks = choices(pool, n, params, places)
    chosen = Suggestions(
        Suggestion(
            box_in_finest(level, found.boxes[choice.index], finest),
            float(pool.score[choice.index]),
            choice.reason,
            choice.random,
            _thumbnail(level.read(found.boxes[choice.index])),
        )
        for choice in picks
    )
    if len(picks) < n or sum(p.random for p in picks) < params.random_arm:
        few = len(found.boxes) < n
        note = _short(found, len(found.boxes), n, params, len(taken)) if few else places.note(picks, n, params)
        if not chosen:
            raise InputError(note)
        chosen.note = note
    return chosen


def _check(n: int, params: SuggestParams, encoder: Encoder | None) -> None:
    if n < 1:
        raise InputError(f"got {n} patches to suggest; at least 1")
    if params.random_arm > n:
        raise InputError(f"got {params.random_arm} of {n} suggestions to draw at random; at most {n}")
    if encoder is None and needs_features(params.strategy, params.diversity):
        raise InputError(
            f"no encoder, which strategy '{params.strategy}' needs to compare patches; "
            "give encoder=, or another strategy without diversity"
        )


def _short(found: Candidates, there: int, n: int, params: SuggestParams, taken: int) -> str:
    where = "in the whole volume" if found.exhausted else "among those read"
    besides = f" besides the {taken} already taken" if taken else ""
    return (
        f"got {n} patches to suggest, but {where} {there} of {params.size} voxels contain tissue{besides} "
        f"({found.skipped_empty} skipped as empty); request fewer, or smaller patches"
    )


def _pool(volume: Volume, level: Level, boxes: Sequence[Box], model: Predictor, params: SuggestParams) -> Job[Pool]:
    scaling = model.card.normalisation.resolve(volume)
    scores, pixels = [], []
    for patch in patch_uncertainty(level, boxes, model, scaling, params.uncertainty):
        scores.append(float(patch.mean()))
        pixels.append(float(np.median(patch)))
        yield Progress(len(scores), len(boxes), "predicting")
    return Pool(np.array(scores), np.array(pixels), KINDS[params.uncertainty].unit)


def _vectors(volume: Volume, level: Level, boxes: Sequence[Box], encoder: Encoder) -> Job[np.ndarray]:
    card = encoder.card
    own, scaling = fitting_level(volume, card), card.normalisation.resolve(volume)
    check_channels(own, card)
    vectors = []
    for done, box in enumerate(boxes, 1):
        patch = own.read_padded(_seen(level, box, own, card))
        batch = scaling(patch if patch.ndim == 4 else patch[None])[None]
        vectors.append(encoder(batch)[0])
        yield Progress(done, len(boxes), "comparing patches")
    return np.stack(vectors)


def _seen(level: Level, box: Box, own: Level, card: ModelCard) -> Box:
    """The part of a patch that an encoder reads: same position and size in plane, as deep as its card says."""
    centre = own.to_voxels(level.to_nm(box.centre))
    factor = level.factor_to(own)
    shape = [card.tile[0] + 2 * card.halo[0], *(round(n * f) for n, f in zip(box.shape[1:], factor[1:], strict=True))]
    start = np.floor(centre - np.array(shape) / 2 + 1e-6).astype(int)
    return Box(vec3(start.tolist()), vec3((start + shape).tolist()))


def box_in_finest(level: Level, box: Box, finest: Level) -> Box:
    """``box`` on the finest grid with rounded faces: neighbours that touched still touch, and do not overlap."""
    start, stop = (
        np.rint(finest.to_voxels(level.to_nm(corner)) - 1e-6).astype(int) for corner in (box.start, box.stop)
    )
    return Box(vec3(start.tolist()), vec3(stop.tolist())).clip(finest.shape)


def _thumbnail(patch: np.ndarray) -> np.ndarray:
    section = (patch[0] if patch.ndim == 4 else patch)[patch.shape[-3] // 2]
    image = above(section, plain(section.min()))
    step = -(-max(image.shape) // THUMBNAIL)
    low, high = np.percentile(image, [1, 99])
    return np.rint(np.clip((image[::step, ::step] - low) / max(high - low, 1e-12), 0, 1) * 255).astype(np.uint8)
