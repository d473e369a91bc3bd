"""How well one stage of one network tells a concept: by a linear probe, by its best channel, by its best latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.ranking import average_precision
from napari_connecto.models.inspect.sae import Quality, Sae, SaeParams, fit_sae, random_sae
from napari_connecto.workflows.inspect.concepts.logistic import Linear, fit_linear
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.concepts.pixels import TEST, TRAIN, VALIDATION, Pixels

RESAMPLES = 200
COVERED = 95.0


@dataclass(frozen=True)
class Unit:
    """One channel or latent, chosen on the validation blocks.

    Parameters
    ----------
    ap
        Average precision on the test blocks.
    index
        Its number.
    sign
        -1 where low values tell the concept.
    """

    ap: float
    index: int
    sign: int = 1


@dataclass(frozen=True)
class Coder:
    """An autoencoder of a stage and the codes of all pixels."""

    sae: Sae
    codes: np.ndarray
    quality: Quality


def probe_of(activations: np.ndarray, pixels: Pixels, concept: str, *, shuffled: bool = False) -> Linear:
    """A linear probe fitted on the training blocks."""
    truth = (pixels.shuffled if shuffled else pixels.truth)[concept]
    learn = pixels.known(concept, TRAIN, shuffled=shuffled)
    return fit_linear(activations[learn], truth[learn] == 1)


def precision_of(score: np.ndarray, pixels: Pixels, concept: str, role: int, *, shuffled: bool = False) -> float:
    """Average precision of a score (all pixels) on the blocks of a role."""
    truth = (pixels.shuffled if shuffled else pixels.truth)[concept]
    here = pixels.known(concept, role, shuffled=shuffled)
    return average_precision(score[here], truth[here] == 1)


def interval(score: np.ndarray, pixels: Pixels, concept: str, seed: int) -> tuple[float, float]:
    """95 % interval of a score's (all pixels) average precision on the test: whole blocks are drawn again."""
    test = pixels.known(concept, TEST)
    truth, block = pixels.truth[concept][test] == 1, pixels.block[test]
    members = [np.flatnonzero(block == b) for b in np.unique(block)]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if truth[drawn].any():
            found.append(average_precision(score[test][drawn], truth[drawn]))
    low, high = np.percentile(found, [(100 - COVERED) / 2, (100 + COVERED) / 2])
    return float(low), float(high)


def best_channel(activations: np.ndarray, pixels: Pixels, concept: str) -> Unit:
    """The channel, high or low, with the best average precision on the validation blocks."""
    return _best(np.concatenate([activations, -activations], axis=1), pixels, concept, activations.shape[1])


def best_latent(codes: np.ndarray, pixels: Pixels, concept: str) -> Unit:
    """The same of latents, which are 0 or positive, so that only high values count."""
    return _best(codes, pixels, concept, codes.shape[1])


def _best(values: np.ndarray, pixels: Pixels, concept: str, count: int) -> Unit:
    truth = pixels.truth[concept]
    look, test = (pixels.known(concept, role) for role in (VALIDATION, TEST))
    scores = [average_precision(column, truth[look] == 1) for column in values[look].T]
    best = int(np.argmax(scores))
    ap = average_precision(values[test, best], truth[test] == 1)
    return Unit(ap, best % count, -1 if best >= count else 1)


def coder_of(activations: np.ndarray, pixels: Pixels, params: ConceptParams, *, learnt: bool = True) -> Coder:
    """An autoencoder of this stage, fitted on the training blocks, its quality on the test blocks; or a random one."""
    size = SaeParams(params.expansion, params.active, params.steps)
    sae = (fit_sae if learnt else random_sae)(activations[pixels.role == TRAIN], size, params.seed)
    return Coder(sae, sae.encode(activations), sae.quality(activations[pixels.role == TEST]))
