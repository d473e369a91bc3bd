"""Maximum mean discrepancy: distance between two samples of features. docs/science.md section 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.models.inference.device import pick_device

Bandwidth: TypeAlias = Literal["median"] | float | Sequence[float]

MEDIAN_ROWS = 4000
"""Above this number of rows the median distance is taken on a sample of this size, drawn with a fixed seed."""
BOOTSTRAPS = 1000
"""Resamples behind the interval of `mmd_test`."""
BLOCK = 2**24
"""Kernel values held at a time: 128 MB."""


@shown
@dataclass(frozen=True)
class MmdTest:
    """Whether two samples come from one distribution.

    Parameters
    ----------
    mmd2
        Unbiased squared discrepancy; may be a little below 0 where the samples are alike.
    p
        ``(1 + permutations at least as far apart) / (1 + permutations)``.
    interval
        95 % percentile bootstrap of ``mmd2``. For samples that are alike it is too wide: read ``p`` there.
    bandwidth
        The s that were used, in units of the features.
    """

    mmd2: float
    p: float
    interval: tuple[float, float]
    bandwidth: tuple[float, ...]


def mmd2(
    x: Any, y: Any, *, bandwidth: Bandwidth = "median", unbiased: bool = True, device: str | torch.device = "cpu"
) -> float:
    """Squared maximum mean discrepancy of two samples under Gaussian kernels.

    ``k(a, b) = exp(-|a - b|^2 / (2 s^2))``; of several s, the mean of their kernels (so that k(a, a) stays 1).

    Parameters
    ----------
    x, y
        Samples (n, d) and (m, d): one row each, n, m >= 2, finite.
    bandwidth
        s, or several; "median" is the median distance between two different rows of both samples pooled.
    unbiased
        Leave the pairs of a row with itself out (U-statistic); else the V-statistic, which is never negative.
    device
        "cpu", "cuda", "auto". All arithmetic is in float64; Apple's GPU has none, so the CPU stands in for it.

    Returns
    -------
    float
        The same for the same input and machine. Memory: both samples in float64 and `BLOCK` kernel values a few times.

    Raises
    ------
    InputError
        If a sample has fewer than 2 rows or NaN, the widths differ, or the bandwidth is not positive.

    References
    ----------
    Gretton et al., JMLR 13 (2012); its use between domains: Sawmya et al., arXiv 2503.06196.
    """
    pooled, n = _pool(x, y, device)
    widths = _bandwidths(pooled, bandwidth)
    a, b = pooled[:n], pooled[n:]
    m = len(b)
    off_a, off_b = _off_diagonal(a, widths), _off_diagonal(b, widths)
    cross = sum(float(block.sum()) for _, block in _rows(a, b, widths)) / (n * m)
    if unbiased:
        return off_a / (n * (n - 1)) + off_b / (m * (m - 1)) - 2 * cross
    return (off_a + n) / n**2 + (off_b + m) / m**2 - 2 * cross


def mmd_test(
    x: Any,
    y: Any,
    permutations: int = 1000,
    seed: int = 0,
    *,
    bandwidth: Bandwidth = "median",
    device: str | torch.device = "cpu",
) -> MmdTest:
    """Permutation test and bootstrap interval of `mmd2`.

    The kernel of the pooled sample is computed once, row block by row block, and never held whole. A permutation is a
    vector z of ones for "x" and zeros for "y": with r = K 1, the sums of the three kernels are z'Kz, z'r - z'Kz and
    1'r - 2 z'r + z'Kz; all permutations are the columns of one matrix product. A resample of the bootstrap likewise,
    with the multiplicity of each row instead of ones; pairs of copies of one row are left out of it, else it would
    be biased upwards.

    Parameters
    ----------
    x, y, bandwidth, device
        As `mmd2`.
    permutations
        Random relabellings of the pooled rows, >= 1; the smallest p is ``1 / (1 + permutations)``.
    seed
        Of permutations and resamples.

    Raises
    ------
    InputError
        As `mmd2`, or if there are no permutations.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> near, far = rng.normal(0, 1, (50, 4)), rng.normal(2, 1, (50, 4))
    >>> test = nc.mmd_test(near, far, permutations=99)
    >>> test.mmd2 > 0, test.p
    (True, 0.01)
    """
    if permutations < 1:
        raise InputError(f"got {permutations} permutations; at least 1 is needed, 1000 is usual")
    pooled, n = _pool(x, y, device)
    widths = _bandwidths(pooled, bandwidth)
    rng = np.random.default_rng(seed)
    labels = torch.as_tensor(_relabelled(len(pooled), n, permutations, rng)).to(pooled)
    m = len(pooled) - n
    copies_x, copies_y = (
        torch.as_tensor(rng.multinomial(k, np.full(k, 1 / k), BOOTSTRAPS).T.copy()).to(pooled) for k in (n, m)
    )
    (inside, with_all, total), resampled = _kernel_sums(pooled, widths, labels, copies_x, copies_y)
    cross, other = with_all - inside, total - 2 * with_all + inside
    values = (inside - n) / (n * (n - 1)) + (other - m) / (m * (m - 1)) - 2 * cross / (n * m)
    observed, null = float(values[0]), values[1:]
    p = (1 + int((null >= observed - 1e-13).sum())) / (1 + permutations)  # equal labellings differ by rounding
    spread = _resampled_mmd2(resampled, copies_x, copies_y).cpu().numpy()
    low, high = (float(v) for v in np.quantile(spread, [0.025, 0.975]))
    return MmdTest(observed, p, (low, high), tuple(widths))


def _kernel_sums(
    pooled: torch.Tensor,
    widths: Sequence[float],
    labels: torch.Tensor,
    copies_x: torch.Tensor,
    copies_y: torch.Tensor,
) -> tuple[tuple[torch.Tensor, torch.Tensor, float], torch.Tensor]:
    """One pass over the kernel K: (z'Kz, z'K1, 1'K1) of the labels' columns, and of the copies (xx, yy, xy)."""
    n, like = len(copies_x), pooled.new_zeros
    inside, with_all, total = like(labels.shape[1]), like(labels.shape[1]), 0.0
    resampled = like(3, BOOTSTRAPS)
    for rows, kernel in _rows(pooled, pooled, widths, cut=n):
        kernel.diagonal(rows.start).fill_(1.0)
        sums = kernel.sum(1)
        total += float(sums.sum())
        inside += (labels[rows] * (kernel @ labels)).sum(0)
        with_all += sums @ labels[rows]
        to_y = kernel[:, n:] @ copies_y
        if rows.start < n:
            resampled[0] += (copies_x[rows] * (kernel[:, :n] @ copies_x)).sum(0)
            resampled[2] += (copies_x[rows] * to_y).sum(0)
        else:
            resampled[1] += (copies_y[rows.start - n : rows.stop - n] * to_y).sum(0)
    return (inside, with_all, total), resampled


def median_distance(rows: Any) -> float:
    """Median distance of two different rows of ``rows`` (n, d): one bandwidth for a whole map of domains.

    Raises
    ------
    InputError
        If there are fewer than 2 rows, a NaN, or most rows are equal.
    """
    return _median_distance(_sample(rows, "pooled"))


def _pool(x: Any, y: Any, device: str | torch.device) -> tuple[torch.Tensor, int]:
    """Both samples as one float64 tensor around its mean (distances by products lose fewer digits), and n."""
    samples = [_sample(x, "first"), _sample(y, "second")]
    if samples[0].shape[1] != samples[1].shape[1]:
        raise InputError(
            f"got samples of {samples[0].shape[1]} and {samples[1].shape[1]} features; both must come from one encoder"
        )
    chosen = pick_device(device) if isinstance(device, str) else device
    pooled = torch.cat(samples)
    pooled -= pooled.mean(0)
    return pooled.to("cpu" if chosen.type == "mps" else chosen), len(samples[0])


def _sample(sample: Any, name: str) -> torch.Tensor:
    rows = torch.as_tensor(sample).detach().cpu()
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] < 1:
        raise InputError(f"got a {name} sample of shape {tuple(rows.shape)}; it must be (rows >= 2, features >= 1)")
    rows = rows.double()
    if not bool(torch.isfinite(rows).all()):
        raise InputError(f"got NaN or infinite features in the {name} sample; drop these rows")
    return rows


def _bandwidths(pooled: torch.Tensor, bandwidth: Bandwidth) -> list[float]:
    if isinstance(bandwidth, str):
        if bandwidth != "median":
            raise InputError(f"got bandwidth {bandwidth!r}; allowed: 'median', a number, several numbers")
        return [_median_distance(pooled)]
    widths = [float(s) for s in (bandwidth if isinstance(bandwidth, Sequence | np.ndarray) else [bandwidth])]
    if not widths or not all(isfinite(s) and s > 0 for s in widths):
        raise InputError(f"got bandwidth {bandwidth}; it must be positive, in units of the features")
    return widths


def _median_distance(pooled: torch.Tensor) -> float:
    """Median distance of two different rows, on a sample of `MEDIAN_ROWS` rows where there are more."""
    if len(pooled) > MEDIAN_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(pooled), MEDIAN_ROWS, replace=False))
        pooled = pooled[torch.as_tensor(chosen).to(pooled.device)]
    squared = _squared_distances(pooled, pooled, (pooled**2).sum(1)).cpu().numpy()
    median = float(np.median(np.sqrt(squared[np.triu_indices(len(squared), 1)])))
    if median <= 0:
        raise InputError("got samples most of whose rows are equal; give a bandwidth, or take other patches")
    return median


def _squared_distances(rows: torch.Tensor, columns: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """(r, c) from ``|a|^2 + |b|^2 - 2 a b``; ``norms`` are those of the columns."""
    squared = torch.addmm(norms[None], rows, columns.T, alpha=-2.0)
    return squared.add_((rows**2).sum(1)[:, None]).clamp_(min=0)


def _rows(
    a: torch.Tensor, b: torch.Tensor, widths: Sequence[float], cut: int = 0
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The kernel between the rows of ``a`` and of ``b``, some rows at a time; no block goes over row ``cut``."""
    norms, step = (b**2).sum(1), max(1, BLOCK // len(b))
    for first, last in ((0, cut), (cut, len(a))):
        for start in range(first, last, step):
            rows = slice(start, min(start + step, last))
            yield rows, _kernel(_squared_distances(a[rows], b, norms), widths)


def _kernel(squared: torch.Tensor, widths: Sequence[float]) -> torch.Tensor:
    """Mean over s of ``exp(-squared / (2 s^2))``; overwrites its input where there is one s."""
    if len(widths) == 1:
        return squared.mul_(-0.5 / widths[0] ** 2).exp_()
    total = torch.zeros_like(squared)
    for s in widths:
        total += torch.exp(squared * (-0.5 / s**2))
    return total.div_(len(widths))


def _off_diagonal(a: torch.Tensor, widths: Sequence[float]) -> float:
    """Sum of the kernel over ordered pairs of two different rows; each pair is computed once."""
    norms, step = (a**2).sum(1), max(1, min(BLOCK // len(a), 1024))
    total = 0.0
    for start in range(0, len(a), step):
        stop = min(start + step, len(a))
        kernel = _kernel(_squared_distances(a[start:stop], a[start:], norms[start:]), widths)
        own = kernel[:, : stop - start]
        total += 2 * float(kernel[:, stop - start :].sum()) + 2 * float(torch.triu(own, 1).sum())
    return total


def _relabelled(rows: int, n: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """(rows, 1 + permutations) of 0 and 1, n ones in each column; the first column is the true labelling."""
    labels = np.zeros((rows, 1 + permutations))
    labels[:n, 0] = 1
    for column in range(1, 1 + permutations):
        labels[rng.permutation(rows)[:n], column] = 1
    return labels


def _resampled_mmd2(sums: torch.Tensor, copies_x: torch.Tensor, copies_y: torch.Tensor) -> torch.Tensor:
    """Unbiased MMD^2 of each resample from its kernel sums (xx, yy, xy), without pairs of copies of one row."""
    same_x, same_y = (copies_x**2).sum(0), (copies_y**2).sum(0)
    n, m = len(copies_x), len(copies_y)
    xx, yy = (sums[0] - same_x) / (n**2 - same_x).clamp(min=1), (sums[1] - same_y) / (m**2 - same_y).clamp(min=1)
    return xx + yy - 2 * sums[2] / (n * m)
