"""Out-of-distribution (OOD) detection for tiles of an image: the class `Gate`.

Two statistics of a tile: the Mahalanobis distance of its features, from the model's own encoder, to those of the
training tiles (by probabilistic PCA), and how much the model's output changes when the tile is flipped. A tile beyond
the limit of either is out of distribution. The limits are conformal quantiles over held-out blocks of training tiles.

References
----------
Lee et al., NeurIPS 2018, arXiv 1807.03888 (Mahalanobis distance of a network's features); Bates, Candes, Lei, Romano,
Sesia, Ann. Statist. 51 (2023) 149, arXiv 2104.08279 (conformal limits of outliers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import ceil

import numpy as np
from scipy.stats import binomtest

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import Predictor
from napari_connecto.core.shown import shown
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.ood.gaussian import Gaussian
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.shared.uncertainty_kinds import FLIPS

FOLDS = 5


@shown
@dataclass(frozen=True)
class Gate:
    """Out-of-distribution detector of one model, fitted to tiles it was trained on.

    Parameters
    ----------
    gaussian
        Fitted to the encoder's feature vectors of all training tiles.
    distance_limit
        Largest Mahalanobis distance, divided by sqrt(d), of a tile in distribution.
    inconsistency_limit
        Largest mean absolute difference between the outputs for a tile's flips of a tile in distribution.
    false_alarm
        Target false-alarm rate: share of tiles like the training data that may be flagged.
    alarms, tiles, blocks
        Measured false alarms: how many of the training tiles, from how many blocks, are flagged when their part is
        held out from both the Gaussian and the limits.
    shape
        Shape of a tile as the model reads it, voxels (z, y, x).
    space
        Digest of the model.
    """

    gaussian: Gaussian = field(repr=False)
    distance_limit: float
    inconsistency_limit: float
    false_alarm: float
    alarms: int
    tiles: int
    blocks: int
    shape: Vec3 = (1, 1, 1)
    space: str = ""

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        inconsistency: np.ndarray,
        *,
        groups: np.ndarray | None = None,
        false_alarm: float = 0.05,
        seed: int = 0,
        shape: Vec3 = (1, 1, 1),
        space: str = "",
    ) -> Gate:
        """Fit to the statistics of training tiles.

        Parameters
        ----------
        vectors
            (n, d) feature vectors of the model's encoder.
        inconsistency
            (n,) see `inconsistency`.
        groups
            (n,) block of each tile, numbered in spatial order. Five-fold cross-validation holds out whole neighbouring
            blocks, because neighbouring tiles are near copies. Without it the folds are random, which makes the
            measured rate too good where tiles are neighbours.
        false_alarm
            Target false-alarm rate on tiles like these.
        seed
            Random seed of the folds, without ``groups``.
        shape, space
            See `Gate`.

        Raises
        ------
        InputError
            If there are too few tiles for this false-alarm rate, only one block, or a value is not finite.
        """
        vectors, inconsistency = np.asarray(vectors, np.float64), np.asarray(inconsistency, np.float64)
        _check(vectors, inconsistency, false_alarm)
        n = len(vectors)
        blocks = np.random.default_rng(seed).permutation(n) if groups is None else np.asarray(groups)
        held, flagged = np.empty(n), np.zeros(n, bool)
        parts = list(_parts(blocks))
        for part in parts:
            held[part] = Gaussian.fit(vectors[~part]).distance(vectors[part])
        for part in parts:
            far, unsure = _limits(held[~part], inconsistency[~part], false_alarm)
            flagged[part] = (held[part] > far) | (inconsistency[part] > unsure)
        far, unsure = _limits(held, inconsistency, false_alarm)
        count = len(np.unique(blocks))
        return cls(Gaussian.fit(vectors), far, unsure, false_alarm, int(flagged.sum()), n, count, shape, space)

    @property
    def measured(self) -> float:
        """Measured false-alarm rate on held-out training tiles."""
        return self.alarms / self.tiles

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Clopper-Pearson interval of `measured`; somewhat too narrow, for it takes tiles as independent."""
        found = binomtest(self.alarms, self.tiles).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    @property
    def sentence(self) -> str:
        """The measured false-alarm rate in words."""
        low, high = self.interval
        return (
            f"Of {self.tiles} training tiles in {self.blocks} blocks {percent(self.measured, 1)} are out of "
            f"distribution when their block is held out ({percent(low, 1)} to {percent(high, 1)}); the target is "
            f"{percent(self.false_alarm)}."
        )

    def judge(self, vectors: np.ndarray, inconsistency: np.ndarray) -> Judgement:
        """Decide which tiles are out of distribution.

        Parameters
        ----------
        vectors, inconsistency
            (n, d) and (n,), as in `fit`.
        """
        distance = self.gaussian.distance(np.asarray(vectors, np.float64))
        unsure = np.asarray(inconsistency, np.float64)
        inside = (distance <= self.distance_limit) & (unsure <= self.inconsistency_limit)
        return Judgement(distance, unsure, ~inside, max(self.false_alarm, self.interval[1]))


def inconsistency(model: Predictor, tiles: np.ndarray) -> np.ndarray:
    """How much the model's outputs differ between the four in-plane flips of each tile.

    Parameters
    ----------
    model
        Any predictor.
    tiles
        (n, c, z, y, x) float32, scaled.

    Returns
    -------
    ndarray
        (n,) mean absolute difference over pairs of flips, voxels and outputs, each flipped back; in the outputs' units.
    """
    return np.array([_spread_of_flips(model, tile[None]) for tile in tiles], np.float64)


def statistics(encoder: TorchEncoder, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Feature vectors (n, d) and inconsistencies (n,) of tiles (n, c, z, y, x) float32, scaled."""
    return encoder(tiles), inconsistency(encoder.model, tiles)


def fit_gate(
    model: Predictor, tiles: np.ndarray, groups: np.ndarray | None = None, false_alarm: float = 0.05, *, seed: int = 0
) -> Gate:
    """Fit an out-of-distribution detector to tiles that a model was trained on.

    Parameters
    ----------
    model
        A model with an encoder, see `napari_connecto.models.transfer.encoder.encoder_parts`.
    tiles
        (n, c, z, y, x) float32, scaled, halo included.
    groups, false_alarm, seed
        See `Gate.fit`.

    Raises
    ------
    InputError, ModelError
        As `Gate.fit`, and if the model has no encoder.
    """
    vectors, unsure = statistics(TorchEncoder(model), tiles)
    shape, space = vec3(tiles.shape[2:]), model.card.digest
    return Gate.fit(vectors, unsure, groups=groups, false_alarm=false_alarm, seed=seed, shape=shape, space=space)


def judge_tiles(gate: Gate, model: Predictor, tiles: np.ndarray) -> Judgement:
    """Decide which tiles are out of distribution for a model.

    Parameters
    ----------
    gate, model
        A model and the `Gate` fitted for it.
    tiles
        (n, c, z, y, x) float32, scaled; (z, y, x) is ``gate.shape``.

    Raises
    ------
    ModelError
        If the gate was fitted for another model.
    InputError
        If tiles have another shape.
    """
    check_fits(gate, model)
    if tiles.shape[2:] != gate.shape:
        raise InputError(f"got tiles of {tiles.shape[2:]} voxels; this Gate takes tiles of {gate.shape}")
    return gate.judge(*statistics(TorchEncoder(model), tiles))


def check_fits(gate: Gate, model: Predictor) -> None:
    """Raise `ModelError` unless the gate was fitted for this model: distances of two encoders are not comparable."""
    if gate.space != model.card.digest:
        raise ModelError(
            f"this Gate was fitted for model {gate.space[:12] or 'unknown'}, not for {model.card.digest[:12]}; "
            "fit one for this model"
        )


def _spread_of_flips(model: Predictor, tile: np.ndarray) -> float:
    flipped = np.concatenate([np.flip(tile, axes) for axes in FLIPS])
    answers = model(flipped, [0] * len(FLIPS))
    found = []
    for output in model.card.outputs:
        same = [np.flip(answer, axes) for answer, axes in zip(answers[output.name], FLIPS, strict=True)]
        found.append(np.mean([np.abs(a - b).mean(dtype=np.float64) for a, b in combinations(same, 2)]))
    return float(np.mean(found))


def _limits(distance: np.ndarray, unsure: np.ndarray, false_alarm: float) -> tuple[float, float]:
    """The same quantile of both, so that a share of ``false_alarm`` of tiles like these exceeds either limit.

    At most that share of new tiles exceeds the k-th smallest of n, ``k = ceil((n + 1) (1 - false_alarm))``.
    """
    n = len(distance)
    k = min(n, ceil((n + 1) * (1 - false_alarm)))
    ranks = [np.searchsorted(np.sort(values), values) + 1 for values in (distance, unsure)]
    cut = np.sort(np.maximum(*ranks))[k - 1]
    return float(np.sort(distance)[cut - 1]), float(np.sort(unsure)[cut - 1])


def _parts(blocks: np.ndarray) -> Iterator[np.ndarray]:
    """Masks (n,) of up to five folds of whole neighbouring blocks."""
    names = np.unique(blocks)
    if len(names) < 2:
        raise InputError(f"got {len(names)} block of tiles; 2 or more are needed to hold one out")
    for part in np.array_split(names, min(FOLDS, len(names))):
        yield np.isin(blocks, part)


def _check(vectors: np.ndarray, unsure: np.ndarray, false_alarm: float) -> None:
    if not 0 < false_alarm < 1:
        raise InputError(f"got a false-alarm rate of {false_alarm}; allowed: between 0 and 1")
    if vectors.ndim != 2 or unsure.shape != vectors.shape[:1]:
        raise InputError(f"got vectors {vectors.shape} and inconsistencies {unsure.shape}; need (n, d) and (n,)")
    needed = ceil(1 / false_alarm)
    if len(vectors) < needed:
        raise InputError(
            f"got {len(vectors)} tiles; a false-alarm rate of {percent(false_alarm)} needs {needed} or more: take more "
            "tiles, smaller ones, or a higher rate"
        )
    if not (np.isfinite(vectors).all() and np.isfinite(unsure).all()):
        raise InputError("got vectors or inconsistencies that are not finite; check the tiles for NaN")
