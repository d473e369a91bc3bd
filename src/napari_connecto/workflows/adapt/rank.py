"""Which pretrained model fits a new dataset: segment a few unlabelled places with all of them, and see who agrees.

Consistency of one model under perturbations: Talks and Kreshuk, arXiv 2503.00450. The distance of the training data by
MMD^2, reported beside it: Sawmya et al., arXiv 2503.06196.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, ModelError, VoxelSizeError
from napari_connecto.core.fitting import fitting_level, voxel_ratio
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.models.transfer.mmd import MmdTest, median_distance, mmd_test
from napari_connecto.workflows.adapt.agreement.answers import Answers, answers_job, between
from napari_connecto.workflows.adapt.agreement.calibration import LIMIT, expected_vi
from napari_connecto.workflows.adapt.agreement.places import draw_places
from napari_connecto.workflows.adapt.agreement.rule import Score, decide
from napari_connecto.workflows.adapt.domain_map import distance_matrix
from napari_connecto.workflows.adapt.domains import Domain, load_encoder
from napari_connecto.workflows.adapt.feature_sample import sample_features_job
from napari_connecto.workflows.adapt.library_candidates import Candidate, load_models
from napari_connecto.workflows.adapt.own_sample import own_distance_job
from napari_connecto.workflows.adapt.params import RankParams
from napari_connecto.workflows.adapt.ranking import Rank, Ranking

__all__ = ["Rank", "Ranking", "check_space", "rank_domains", "rank_domains_job"]
SEGMENTED, ENCODED = 4.0, 8.0
"""Calls of a model for a place, and patches whose features take as long as one call."""
Judged: TypeAlias = tuple[Score, Score, Score, float]
"""Consensus, consistency, instability, and the chance that another model is better."""


def rank_domains(volume: Volume, library: str | Path | None = None, params: RankParams | None = None) -> Ranking:
    """Rank the boundary models of a library by how well their segmentations of a volume agree. No labels are needed.

    Parameters
    ----------
    volume
        Image with a voxel size. A few places are segmented by every model, each at its own voxel size.
    library
        Folder of models: domains, and boundary models imported from bioimage.io. Default: the shipped domains.
    params
        Number and size of places and patches, see `RankParams`.

    Returns
    -------
    Ranking
        ``ranks``, best first, each with its ``consensus`` and ``consistency`` (VI in bits, with 95 % intervals),
        whether it ``fits``, the VI to be expected and the chance that another model is better; ``best`` is the first
        that fits, or None. ``answers`` holds every model's segmentation of every place.

    Raises
    ------
    InputError
        If the library is empty or made by another encoder, or no model can segment the volume.
    VoxelSizeError
        If the volume states no voxel size.

    Notes
    -----
    The rule is `napari_connecto.workflows.adapt.agreement.rule.decide`. MMD^2 between the volume and a domain's
    training data is reported, in the library's common features and in the model's own, but decides nothing: in common
    features it did not predict the VI after transfer on five datasets.

    Examples
    --------
    >>> params = nc.RankParams(places=2, patches=16)
    >>> ranking = nc.rank_domains(nc.open_sample("neuropil"), params=params)
    >>> ranking.ranks[0].name
    'synthetic-neuropil'
    """
    return run(rank_domains_job(volume, library, params))


def rank_domains_job(
    volume: Volume, library: str | Path | None = None, params: RankParams | None = None
) -> Job[Ranking]:
    """`rank_domains` as a job, with a report per segmentation."""
    params = params or RankParams()
    models = load_models(library)
    domains = {name: model.domain for name, model in models.items() if model.domain is not None}
    encoder = load_encoder(library) if domains else None
    if encoder is not None:
        check_space(domains, encoder)
    near, notes = _readable(volume, models)
    cards = [card for name in near if (card := models[name].card) is not None]
    places = draw_places(volume, cards, params.places, params.place, params.seed)
    answers: dict[str, Answers] = {}
    own: dict[str, dict[str, Score]] = {}
    work = {f"segmenting with {name}": SEGMENTED * params.places for name in near}
    phases = Phases({**work, "comparing training data": max(1.0, len(domains) * params.patches / ENCODED)})
    for name in near:
        try:
            model = load_model(models[name].folder)
            job = answers_job(model, volume, places, models[name].segment(), params.seed)
            answers[name] = yield from phases.run(f"segmenting with {name}", job)
            learnt = domains[name].own_features() if name in domains else None
            own[name] = yield from own_distance_job(volume, model, learnt, params.seed)
        except (InputError, ModelError, OSError) as error:  # one damaged model does not stop the others
            notes[name] = str(error)
    if not answers:
        raise InputError(f"no model can be compared on '{volume.name}': {next(iter(notes.values()))}")
    known = {name: domain for name, domain in domains.items() if name not in notes}
    distances, vectors = yield from phases.run("comparing training data", _distances(volume, known, encoder, params))
    sampled = {name: domain.features for name, domain in domains.items()}
    if vectors is not None:
        sampled["this volume"] = vectors
    ranks = _ranks(volume, models, answers, notes, distances, params.seed)
    ranks = tuple(_with_own(rank, own.get(rank.name, {})) for rank in ranks)
    return Ranking(
        ranks,
        LIMIT,
        0 if vectors is None else len(vectors),
        places.skipped,
        distance_matrix(sampled) if len(sampled) > 1 else None,
        "" if encoder is None else encoder.card.digest,
        places,
        answers,
    )


def calls(models: int, params: RankParams) -> float:
    """Approximate cost of a ranking in calls of a model, for progress."""
    return models * (SEGMENTED * params.places + params.patches / ENCODED)


def check_space(domains: Mapping[str, Domain], encoder: TorchEncoder) -> None:
    """Raise `InputError` unless all features come from this encoder: those of two encoders are not comparable."""
    for domain in domains.values():
        if domain.about.get("encoder") != encoder.card.digest:
            raise InputError(
                f"the features of domain '{domain.name}' come from encoder {str(domain.about.get('encoder'))[:12]}, "
                f"but the library's is {encoder.card.digest[:12]}; remake the domain with `napari-connecto domains "
                "train`"
            )


def _readable(volume: Volume, models: Mapping[str, Candidate]) -> tuple[list[str], dict[str, str]]:
    """Models that can read the volume, and why the others cannot."""
    near, notes = [], dict[str, str]()
    for name, model in models.items():
        if model.card is None or model.damage:
            notes[name] = model.damage
            continue
        try:
            fitting_level(volume, model.card)
            near.append(name)
        except VoxelSizeError as error:
            if not volume.calibrated:
                raise
            notes[name] = str(error)
    if not near:
        raise InputError(f"no model can be compared on '{volume.name}': {next(iter(notes.values()))}")
    return near, notes


def _distances(
    volume: Volume, domains: Mapping[str, Domain], encoder: TorchEncoder | None, params: RankParams
) -> Job[tuple[dict[str, MmdTest], np.ndarray | None]]:
    """MMD^2 to each domain whose sample can be compared; and the volume's features at the nearest one's voxel size."""
    found: dict[str, MmdTest] = {}
    vectors: dict[str, np.ndarray] = {}
    if encoder is None or not domains:
        return found, None
    width = median_distance(np.concatenate([domain.features for domain in domains.values()]))
    phases = Phases({f"comparing with the data of {name}": 1.0 for name in domains})
    asked = {"patches": params.patches, "size": params.patch, "seed": params.seed}
    for name, domain in domains.items():
        job = sample_features_job(volume, domain.card, encoder, **asked)
        try:
            sample = yield from phases.run(f"comparing with the data of {name}", job)
        except InputError:
            continue
        vectors[name] = sample.vectors
        found[name] = mmd_test(sample.vectors, domain.features, params.permutations, params.seed, bandwidth=width)
    nearest = min(found, key=lambda name: found[name].mmd2, default=None)
    return found, None if nearest is None else vectors[nearest]


def _ranks(
    volume: Volume,
    models: Mapping[str, Candidate],
    answers: Mapping[str, Answers],
    notes: Mapping[str, str],
    distances: Mapping[str, MmdTest],
    seed: int,
) -> tuple[Rank, ...]:
    """In order: judged by the rule; then degenerate ones, by their training data; then those not compared."""
    sound = {name: answer for name, answer in answers.items() if not answer.degenerate}
    ordered = _judged(sound, seed)
    out = []
    unsound = sorted((n for n in answers if n not in sound), key=lambda n: distances[n].mmd2 if n in distances else inf)
    for name in [*ordered, *unsound, *notes]:
        card = models[name].card
        ratio, licence = (nan, "") if card is None else (voxel_ratio(volume, card), card.licence)
        rank = Rank(name, None, None, ratio, False, notes.get(name, ""), licence)
        if name in distances:
            test = distances[name]
            rank = replace(rank, mmd2=test.mmd2, interval=test.interval, p=test.p)
        if name in answers:
            rank = _with_answers(rank, answers[name], ordered.get(name))
        out.append(rank)
    return tuple(out)


def _with_own(rank: Rank, own: Mapping[str, Score]) -> Rank:
    return replace(rank, own_encoder=own.get("encoder"), own_decoder=own.get("decoder"))


def _judged(sound: Mapping[str, Answers], seed: int) -> dict[str, Judged]:
    """Models with sound answers, best first."""
    if not sound:
        return {}
    names = list(sound)
    rows = np.stack([answer.inconsistency.mean(axis=1) for answer in sound.values()], axis=1)
    entropy = np.stack([answer.entropy for answer in sound.values()], axis=1)
    found = decide(rows, between(sound), entropy, seed)
    columns = list(zip(found.consensus, found.consistency, found.instability, found.better, strict=True))
    return {names[i]: columns[i] for i in found.order}


def _with_answers(rank: Rank, answers: Answers, judged: Judged | None) -> Rank:
    if judged is None:
        own = answers.inconsistency.mean(axis=1)
        note = f"degenerate answers: {answers.degenerate}"
        return replace(rank, consistency=Score(float(own.mean()), float("nan"), float("nan")), note=note)
    consensus, consistency, instability, better = judged
    fits = instability.value <= LIMIT
    note = "" if fits else f"{percent(instability.value)} of its segmentation changes under flip, noise and blur"
    alone = not np.isfinite(consensus.value)
    return replace(
        rank,
        consensus=None if alone else consensus,
        consistency=consistency,
        instability=instability,
        better=float("nan") if alone else better,
        expected=expected_vi(consensus.value, consistency.value),
        fits=fits,
        note="no other model gives answers to compare with" if fits and alone else note,
    )
