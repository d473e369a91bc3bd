"""What does a network know of a concept, since which checkpoint, in which stage, from which size on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import check_channels
from napari_connecto.core.volume import Volume
from napari_connecto.models.inspect.features import untrained
from napari_connecto.models.inspect.taps import Network
from napari_connecto.workflows.inspect.concepts.inputs import Mask, Models, Named, mask_levels, named_networks
from napari_connecto.workflows.inspect.concepts.look import Seen, View, seen_job, stages_of, touched
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.concepts.pixels import TEST, VALIDATION, Pixels, choose_pixels
from napari_connecto.workflows.inspect.concepts.readings import (
    Coder,
    best_channel,
    best_latent,
    coder_of,
    interval,
    precision_of,
    probe_of,
)
from napari_connecto.workflows.inspect.concepts.result import Concepts, Reading
from napari_connecto.workflows.inspect.concepts.used import Found, Used, used_job

CACHE_BYTES = 2**28
NORM_PATCHES = 8
"""Tiles that give untrained networks their batch-norm statistics."""
PLACES = 20
"""Places kept for each concept."""


def concepts(
    model: Models,
    volume: Volume,
    masks: Mapping[str, Mask] | Mask,
    params: ConceptParams | None = None,
    *,
    sizes: Mapping[int, Predictor] | None = None,
    region: Box | None = None,
) -> Concepts:
    """Which concepts can be read from a network's stages: since when, where, and from which size on.

    Parameters
    ----------
    model
        A model, or checkpoints of one training: in order, or by their step. Native ones, and imported U-Nets.
    volume
        Image; resampled to the model's voxel size where no level has it.
    masks
        By name of the concept, labels of any voxel size or arrays on the image's grid: not 0 where it is there, or
        scribbles (``params.scribbles``).
    params
        See `ConceptParams`.
    sizes
        Models of other sizes by their width, to find the smallest that knows a concept.
    region
        Part to look at, in voxels of the finest level. Default: all of it.

    Returns
    -------
    Concepts
        A reading for each network, stage and concept, with its controls; ``since``, ``returns`` and ``smallest_width``
        give the thresholds, ``used`` what the answer depends on.

    Raises
    ------
    ModelError
        If a network's layers cannot be reached.
    InputError
        If a mask has another shape, or holds too little to keep training, validation and test apart.
    VoxelSizeError
        If volume and model do not fit.

    Notes
    -----
    Everything is fitted on training blocks, chosen on validation blocks and measured on test blocks. "Readable" is not
    "used": see `Used`. Receptive fields reach beyond the gap between blocks, so a stage sees the image, but never the
    masks, of neighbouring blocks.

    References
    ----------
    Sawmya, Adler, Shavit, arXiv 2505.19440 (thresholds in time and size, reactivation in depth; in language models, by
    autoencoders). Controls: arXiv 2501.17727, 2602.14111.

    Examples
    --------
    >>> sample = nc.phantom("neuropil", (8, 128, 128))
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 128, 128))
    >>> membranes = np.asarray(sample.truth["neurons"].levels[0].array) == 0
    >>> params = nc.ConceptParams(stages="encoder.2", sections=2, pixels=4000, block=32, autoencoder=False)
    >>> known = nc.concepts(model, sample.image, {"membranes": membranes}, params)
    >>> [reading] = known.last("membranes")
    >>> bool(reading.probe > 3 * reading.prevalence)
    True
    """
    return run(concepts_job(model, volume, masks, params, sizes=sizes, region=region))


def concepts_job(
    model: Models,
    volume: Volume,
    masks: Mapping[str, Mask] | Mask,
    params: ConceptParams | None = None,
    *,
    sizes: Mapping[int, Predictor] | None = None,
    region: Box | None = None,
) -> Job[Concepts]:
    """`concepts` as a job; each report's ``payload`` is the readings of a network that is finished."""
    params = params or ConceptParams()
    named = named_networks(model, sizes)
    card = named[0].network.card
    level = card.level_in(volume)
    check_channels(level, card)
    here = None if region is None else volume.levels[0].box_in(region, level)
    pixels = choose_pixels(level, mask_levels(masks, volume, level), params, here)
    scale = card.normalisation.resolve(volume)
    view = View(cached(level, CACHE_BYTES), scale)
    last = max((one for one in named if one.axis == "step"), key=lambda one: one.at)
    readings: list[Reading] = []
    controls: dict[str, _Controls] = {}
    end: _Read | None = None
    for one in named:
        key = repr(sorted((name, tap.channels) for name, tap in one.network.taps.items()))
        if key not in controls:
            controls[key] = yield from _controls_job(one.network, view, pixels, params)
        read = yield from _read_job(one, view, pixels, params, controls[key], final=one is last)
        readings += read.readings
        end = read if one is last else end
        yield Progress(len(readings), 0, one.name, tuple(read.readings))
    assert end is not None
    used: tuple[Used, ...] = ()
    if params.ablation:
        used = yield from used_job(last.network, view, pixels, end.seen.activations, end.found, end.coders, params.seed)
    return Concepts(tuple(readings), used, _places(end, pixels, level.to_nm))


@dataclass(frozen=True)
class _Controls:
    """Average precisions of untrained networks by (stage, concept): of probes, channels and latents."""

    probe: Mapping[tuple[str, str], tuple[float, ...]]
    channel: Mapping[tuple[str, str], tuple[float, ...]]
    latent: Mapping[tuple[str, str], tuple[float, ...]]


@dataclass(frozen=True)
class _Read:
    """All that was read from one network."""

    readings: list[Reading]
    seen: Seen
    found: dict[tuple[str, str], Found]
    coders: dict[str, Coder]


def _controls_job(opened: Network, view: View, pixels: Pixels, params: ConceptParams) -> Job[_Controls]:
    """The readings of networks of this architecture before they learn anything."""
    rows: list[list[Reading]] = []
    none = _Controls({}, {}, {})
    for seed in range(params.untrained):
        patches = (view.patch(tile)[None] for tile, _ in islice(touched(opened, view.level, pixels.at), NORM_PATCHES))
        fresh = Named(f"untrained {seed + 1}", "step", 0.0, untrained(opened, params.seed + seed, patches))
        own = replace(params, seed=params.seed + seed)
        read = yield from _read_job(fresh, view, pixels, own, none, final=False)
        rows.append(read.readings)
    keys = [(r.stage, r.concept) for r in rows[0]] if rows else []

    def of(how: str) -> dict[tuple[str, str], tuple[float, ...]]:
        return {key: tuple(getattr(read[i], how) for read in rows) for i, key in enumerate(keys)}

    return _Controls(of("probe"), of("channel"), of("latent"))


def _read_job(
    one: Named, view: View, pixels: Pixels, params: ConceptParams, controls: _Controls, *, final: bool
) -> Job[_Read]:
    """All readings of one network; ``final``: with shuffled masks."""
    stages = stages_of(one.network, params.stages)
    seen = yield from seen_job(one.network, view, pixels.at, stages, one.name)
    read = _Read([], seen, {}, {})
    for done, stage in enumerate(stages, 1):
        values = seen.activations[stage]
        random = None
        if params.autoencoder:
            read.coders[stage] = coder_of(values, pixels, params)
            random = coder_of(values, pixels, params, learnt=False)
        for concept in pixels.truth:
            reading, found = _reading(one, stage, concept, values, read.coders.get(stage), random, pixels, params)
            key = stage, concept
            reading = replace(
                reading,
                untrained=controls.probe.get(key, ()),
                untrained_channel=controls.channel.get(key, ()),
                untrained_latent=controls.latent.get(key, ()),
            )
            if final:
                score = probe_of(values, pixels, concept, shuffled=True)(values)
                ap = precision_of(score, pixels, concept, TEST, shuffled=True)
                reading = replace(reading, shuffled=ap - pixels.prevalence(concept, shuffled=True))
            read.readings.append(reading)
            read.found[key] = found
        yield Progress(done, len(stages), f"{one.name}: probes")
    return read


def _reading(
    one: Named,
    stage: str,
    concept: str,
    values: np.ndarray,
    coder: Coder | None,
    random: Coder | None,
    pixels: Pixels,
    params: ConceptParams,
) -> tuple[Reading, Found]:
    probe = probe_of(values, pixels, concept)
    score = probe(values)
    low, high = interval(score, pixels, concept, params.seed)
    channel = best_channel(values, pixels, concept)
    reading = Reading(
        *(one.name, one.axis, one.at, stage, concept, pixels.prevalence(concept)),
        probe=precision_of(score, pixels, concept, TEST),
        low=low,
        high=high,
        validation=precision_of(score, pixels, concept, VALIDATION),
        channel=channel.ap,
        channel_index=channel.index,
        channel_sign=channel.sign,
    )
    if coder is None or random is None:
        return reading, Found(probe, channel, None)
    latent, quality = best_latent(coder.codes, pixels, concept), coder.quality
    reading = replace(
        reading,
        latent=latent.ap,
        latent_index=latent.index,
        random_latent=best_latent(random.codes, pixels, concept).ap,
        fvu=quality.fvu,
        l0=quality.l0,
        dead=quality.dead,
    )
    return reading, Found(probe, channel, latent)


def _places(read: _Read, pixels: Pixels, to_nm: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Where the last checkpoint is surest of each concept."""
    found = {}
    for concept in pixels.truth:
        best = max((r for r in read.readings if r.concept == concept), key=lambda r: r.validation).stage
        test = pixels.known(concept, TEST)
        score = read.found[best, concept].probe(read.seen.activations[best][test])
        found[concept] = to_nm(pixels.at[test[np.argsort(-score)[:PLACES]]] + 0.5)
    return found
