"""Which pretrained domain fits a new dataset, by maximum mean discrepancy in one feature space.

Choosing the source by MMD^2: Sawmya et al., arXiv 2503.06196.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.fitting import voxel_ratio
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.models.transfer.mmd import median_distance, mmd2, mmd_test
from napari_connecto.workflows.adapt.domain_map import DomainMap, distance_matrix
from napari_connecto.workflows.adapt.domains import Domain, load_encoder, load_library, sample_features
from napari_connecto.workflows.adapt.params import RankParams


@shown
@dataclass(frozen=True)
class Rank:
    """One domain compared with the volume.

    Parameters
    ----------
    mmd2, interval, p
        See `models.transfer.mmd.MmdTest`; NaN if the domain could not be compared.
    voxel_ratio
        Model voxel size relative to the volume's finest, in plane.
    fits
        Whether the volume is as near this domain as the library's domains are to each other.
    note
        Why not, or a remark, in words; "" for none.
    """

    name: str
    mmd2: float
    interval: tuple[float, float]
    p: float
    voxel_ratio: float
    fits: bool
    note: str
    licence: str

    def line(self) -> str:
        """In words."""
        if not np.isfinite(self.mmd2):
            return f"{self.name}: not compared: {self.note}"
        low, high = self.interval
        said = f"MMD^2 {self.mmd2:.4f} ({low:.4f} to {high:.4f}), p {self.p:.3f}, voxel ratio {self.voxel_ratio:.2f}"
        return f"{self.name}: {said}, {'fits' if self.fits else 'does not fit'}{': ' if self.note else ''}{self.note}"

    def row(self) -> dict[str, Any]:
        """JSON."""
        return {**self.__dict__, "interval": list(self.interval)}


@shown
@dataclass(frozen=True)
class Ranking:
    """Domains, nearest first.

    Parameters
    ----------
    limit
        Largest MMD^2 at which a domain fits: the median over pairs of different domains in the library.
    patches, skipped
        Tissue patches compared with the best domain, and patches skipped as empty.
    map
        Distances among the domains and "this volume", for a dendrogram.
    space
        Digest of the encoder.
    """

    ranks: tuple[Rank, ...]
    limit: float
    patches: int
    skipped: int
    map: DomainMap
    space: str

    @property
    def best(self) -> Rank | None:
        """The nearest domain that fits; None: no model fits."""
        return next((rank for rank in self.ranks if rank.fits), None)

    def to_json(self) -> dict[str, Any]:
        """Content of ``ranking.json``."""
        rows = [rank.row() for rank in self.ranks]
        counted = {"patches": self.patches, "skipped": self.skipped}
        return {"ranks": rows, "limit": self.limit, "encoder": self.space, **counted, "version": __version__}

    def lines(self) -> list[str]:
        """A table in words."""
        rows = [rank.line() for rank in self.ranks]
        best = self.best
        verdict = (
            f"Start from '{best.name}'."
            if best
            else f"No model fits: the nearest is farther than {self.limit:.4f}, the usual distance between two domains "
            "of the library. Training from scratch may work as well; compare both."
        )
        return [*rows, f"{self.patches} tissue patches compared, {self.skipped} empty ones skipped.", verdict]


def rank_domains(volume: Volume, library: str | Path | None = None, params: RankParams | None = None) -> Ranking:
    """Rank the domains of a library by the distance between their training data and a volume.

    Parameters
    ----------
    volume
        Image with a voxel size; a few hundred patches are read, at the voxel size of each domain.
    library
        Folder of domains. Default: the shipped ones.
    params
        Number and size of patches, see `RankParams`.

    Returns
    -------
    Ranking
        ``ranks``, nearest first, each with ``mmd2``, its 95 % ``interval``, ``p`` and ``fits``; ``best`` is the first,
        or None if none fits.

    Raises
    ------
    InputError
        If the library is empty or made by another encoder, or too few patches contain tissue.
    VoxelSizeError
        If the volume states no voxel size.

    Notes
    -----
    The distance is the squared maximum mean discrepancy (`mmd2`). All kernels have one bandwidth, the median distance
    of the library's features, so that the distances can be compared.

    Examples
    --------
    >>> ranking = nc.rank_domains(nc.open_sample("neuropil"), params=nc.RankParams(patches=16))
    >>> ranking.ranks[0].name
    'synthetic-neuropil'
    """
    return run(rank_domains_job(volume, library, params))


def rank_domains_job(
    volume: Volume, library: str | Path | None = None, params: RankParams | None = None
) -> Job[Ranking]:
    """`rank_domains` as a job, with a report per domain."""
    params = params or RankParams()
    domains, encoder = load_library(library), load_encoder(library)
    check_space(domains, encoder)
    width = median_distance(np.concatenate([domain.features for domain in domains.values()]))
    rows: list[tuple[Rank, np.ndarray | None, int]] = []
    for n, domain in enumerate(domains.values()):
        yield Progress(n, len(domains), f"comparing with {domain.name}")
        rows.append(_compare(volume, domain, encoder, width, params))
    if not any(vectors is not None for _, vectors, _ in rows):
        raise InputError(f"no domain can be compared with '{volume.name}': {rows[0][0].note}")
    rows.sort(key=lambda row: (not np.isfinite(row[0].mmd2), row[0].mmd2))
    limit = _limit(domains, width)
    best, vectors, skipped = rows[0]
    shown = {name: domain.features for name, domain in domains.items()} | {"this volume": vectors}
    ranks = tuple(_judged(rank, limit, len(domains)) for rank, _, _ in rows)
    yield Progress(len(domains), len(domains), f"nearest: {best.name}")
    distances = distance_matrix({k: v for k, v in shown.items() if v is not None})
    return Ranking(ranks, limit, 0 if vectors is None else len(vectors), skipped, distances, encoder.card.digest)


def check_space(domains: Mapping[str, Domain], encoder: TorchEncoder) -> None:
    """Raise `InputError` unless all features come from this encoder: those of two encoders are not comparable."""
    for domain in domains.values():
        if domain.about.get("encoder") != encoder.card.digest:
            raise InputError(
                f"the features of domain '{domain.name}' come from encoder {str(domain.about.get('encoder'))[:12]}, "
                f"but the library's is {encoder.card.digest[:12]}; remake the domain with `napari-connecto domains "
                "train`"
            )


def _compare(
    volume: Volume, domain: Domain, encoder: TorchEncoder, width: float, params: RankParams
) -> tuple[Rank, np.ndarray | None, int]:
    ratio, licence = voxel_ratio(volume, domain.card), domain.card.licence
    try:
        sample = sample_features(
            volume, domain.card, encoder, patches=params.patches, size=params.patch, seed=params.seed
        )
    except (InputError, VoxelSizeError) as error:
        nan = float("nan")
        if not volume.calibrated:
            raise
        return Rank(domain.name, nan, (nan, nan), nan, ratio, False, str(error), licence), None, 0
    test = mmd_test(sample.vectors, domain.features, params.permutations, params.seed, bandwidth=width)
    rank = Rank(domain.name, test.mmd2, test.interval, test.p, ratio, True, "", licence)
    return rank, sample.vectors, sample.skipped


def _limit(domains: Mapping[str, Domain], width: float) -> float:
    features = [domain.features for domain in domains.values()]
    pairs = [mmd2(a, b, bandwidth=width) for i, a in enumerate(features) for b in features[:i]]
    return float(np.median(pairs)) if pairs else float("inf")


def _judged(rank: Rank, limit: float, count: int) -> Rank:
    if not np.isfinite(rank.mmd2):
        return rank
    note = "the library has only one domain, so there is no distance to compare with" if count == 1 else ""
    if rank.mmd2 > limit:
        note = f"farther than two domains of the library usually are ({limit:.4f})"
    return Rank(**{**rank.__dict__, "fits": rank.mmd2 <= limit, "note": note})
