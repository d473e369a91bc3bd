"""An attack built by hand: what a channel answers to, put where it does not belong, with and without that channel.

After Wang et al. (arXiv 2312.08793), who read off the first components of their ranking what these wrongly attend to,
build a prompt from it (the "California attack") and show that it fails once the component is ablated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, loading, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.models.inspect.ablate import without_channel
from napari_connecto.models.inspect.patching import raised
from napari_connecto.workflows.inspect.missed.attacked import Attack, Planted
from napari_connecto.workflows.inspect.missed.params import AttackParams
from napari_connecto.workflows.inspect.missed.windows import Windows, planted, quiet_job

FLIPPED = 0.1
"""An answer flips if at least this share of a disc is called an object where none of it was."""


def attack(
    model: Predictor,
    image: Volume,
    channel: tuple[str, int],
    source: Box,
    places: Sequence[Sequence[int]] | np.ndarray | None = None,
    params: AttackParams | None = None,
    *,
    allowed: np.ndarray | None = None,
) -> Attack:
    """Put what a channel answers to where it does not belong: does the answer flip, and only with that channel?

    The pattern is the disc of ``source`` around the position at which the channel, by being other than its mean,
    raises the first output most (to first order). It is blended into each place. Controls: patterns of random channels
    of the same stage, random pieces of ``source``, and the first pattern with a random channel ablated. Ablated means
    held at its mean over ``source``.

    Parameters
    ----------
    model
        As for `why_missed`, with an output of stride 1.
    image
        Fits the model.
    channel
        Place and number, such as ``found.total.carriers[0]`` of `why_missed` has.
    source
        Where patterns are taken from, voxels of the level that the model reads; a few tiles.
    places
        (n, 3) voxels (z, y, x) of that level where the model should answer nothing, such as the middle of cells; those
        where it calls any pixel of the disc an object (or boundary) are left out. Default: the places near ``source``
        that are farthest from all it calls so.
    params
        See `AttackParams`.
    allowed
        Bool of the shape of ``source``: where a pattern's centre may lie. Default: anywhere.

    Returns
    -------
    Attack
        Flips by what was planted and ablated; ``lines()`` are sentences.

    Raises
    ------
    InputError
        If the channel does not exist, no pattern fits, or no place is clean.
    ModelError
        If the model's layers cannot be reached.

    Notes
    -----
    One pattern of one channel in one scene; nothing is claimed about how robust the model is. An answer flips if a
    tenth of the disc is called an object (or boundary).

    References
    ----------
    Wang et al., arXiv 2312.08793. Discs, first-order position and controls are for segmentation networks.

    Examples
    --------
    >>> image = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", backend="torch")
    >>> source, few = nc.Box((0, 0, 0), (1, 128, 128)), nc.AttackParams(places=4, controls=1)
    >>> told = nc.attack(model, image, ("decoder.4", 5), source, params=few)
    """
    return run(attack_job(model, image, channel, source, places, params, allowed=allowed))


def attack_job(
    model: Predictor,
    image: Volume,
    channel: tuple[str, int],
    source: Box,
    places: Sequence[Sequence[int]] | np.ndarray | None = None,
    params: AttackParams | None = None,
    *,
    allowed: np.ndarray | None = None,
) -> Job[Attack]:
    """Job of `attack`."""
    yield loading("torch")
    params = params or AttackParams()
    windows, side = Windows.of(model, image, params.side), params.side
    (place, index), drawn = channel, np.random.default_rng(params.seed)
    tap = windows.opened.taps.get(place)
    if tap is None or not 0 <= index < tap.channels:
        raise InputError(f"got the channel {place}:{index}; the model has stages {', '.join(windows.opened.taps)}")
    rest = np.delete(np.arange(tap.channels), index)
    others = drawn.permutation(rest)[: params.controls].tolist()
    fits = _fitting(source, allowed, side)
    peaks, means = _peaks(windows, place, [index, *others], source, fits)
    patterns = [windows.disc(at) for at in peaks]
    free = np.argwhere(fits) + source.start
    total: dict[str, list[tuple[float, float]]] = {}
    clean: list[Vec3] = []
    if places is None:
        places = yield from quiet_job(windows, source, params.places)
    for n, at in enumerate(np.asarray(places)):
        yield Progress(n, len(places), "planting patterns")
        window = windows.around(at)
        if windows.called(window[None], {})[0][0] > 0:
            continue
        clean.append(vec3(at))
        piece = windows.disc(free[drawn.integers(len(free))])
        inputs = np.stack([planted(window, p) for p in (*patterns, piece)])
        off = [{place: without_channel(c, means[c])} for c in (index, *others)]
        shown = windows.called(inputs, {})
        seen = {"pattern": shown[:1], "other pattern": shown[1:-1], "random piece": shown[-1:]}
        seen["pattern, ablated"] = windows.called(inputs[:1], off[0])
        seen["pattern, other ablated"] = [r for change in off[1:] for r in windows.called(inputs[:1], change)]
        for name, rows in seen.items():
            total.setdefault(name, []).extend(rows)
    if not clean:
        raise InputError(f"got {len(places)} places, at all of which the model already answers; give others")
    kept = {c: windows.kept(source, {place: without_channel(c, means[c])}) for c in (index, *others)}
    flipped = tuple(share >= FLIPPED for share, _ in total["pattern"])
    other = float(np.mean([kept[c] for c in others] or [1]))
    return Attack(channel, peaks[0], tuple(clean), flipped, _runs(total), kept[index], other)


def _runs(total: Mapping[str, list[tuple[float, float]]]) -> Mapping[str, Planted]:
    return {
        name: Planted(sum(share >= FLIPPED for share, _ in rows), len(rows), float(np.mean([m for _, m in rows])))
        for name, rows in total.items()
        if rows
    }


def _fitting(source: Box, allowed: np.ndarray | None, side: int) -> np.ndarray:
    """Bool of the source's shape: where a disc's centre may lie."""
    fits = np.zeros(source.shape, bool)
    edge = side // 2
    fits[:, edge : source.shape[1] - edge, edge : source.shape[2] - edge] = True
    if allowed is not None:
        if allowed.shape != source.shape:
            raise InputError(f"got {allowed.shape} for allowed; it needs the shape of source, {source.shape}")
        fits &= allowed
    if not fits.any():
        raise InputError(f"got no allowed centre for a disc of {side} voxels in {source}; give more of the image")
    return fits


def _peaks(
    windows: Windows, place: str, channels: list[int], source: Box, fits: np.ndarray
) -> tuple[list[Vec3], dict[int, float]]:
    """Where each channel raises the output most, and its mean."""
    best: dict[int, tuple[float, Any]] = {}
    means: dict[int, list[float]] = {c: [] for c in channels}
    card = windows.opened.card
    for tile, patch in windows.tiles(source):
        a, gradient = raised(windows.opened, place, patch, windows.output)
        trimmed, grid = np.array(card.outputs[0].trimmed), np.indices(a.shape[1:]).reshape(3, -1).T
        step = (np.array(tile.read.shape) - 2 * trimmed) / a.shape[1:]
        at = np.floor((grid + 0.5) * step).astype(int) + tile.read.start + trimmed
        local = at - source.start
        inside = ((local >= 0) & (local < source.shape)).all(1)
        inside[inside] = fits[tuple(local[inside].T)]
        for c in channels:
            means[c].append(float(a[c].mean()))
            push = ((a[c] - a[c].mean()) * gradient[c]).ravel()
            push = np.where(inside, push, -np.inf)
            if push.max() > best.get(c, (-np.inf, None))[0]:
                best[c] = (float(push.max()), vec3(at[push.argmax()]))
    if len(best) < len(channels):
        raise InputError(f"got no centre for a pattern at the voxels of '{place}' in {source}; allow more of it")
    return [best[c][1] for c in channels], {c: float(np.mean(m)) for c, m in means.items()}
