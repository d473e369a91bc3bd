"""How fast, how exact and how large the MMD and its permutation test are: ``python benchmarks/mmd.py`` prints the page.

About three minutes on two cores. Recomputing is timed on a few permutations and multiplied.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from statistics import median

import numpy as np
import torch
from scipy.spatial.distance import cdist

from napari_connecto.models.transfer.mmd import mmd2, mmd_test

N, D, PERMUTATIONS, RECOMPUTED = 2000, 512, 1000, 7
LARGE = 20_000


def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples (n, `D`), float32, a little apart."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, n, D)).astype(np.float32)
    return x, y + np.float32(0.05)


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD^2 from differences taken pair by pair in float64 (scipy), the median over all pairs."""
    pooled, n = np.concatenate([x, y]).astype(float), len(x)
    squared = cdist(pooled, pooled, "sqeuclidean")
    kernel = np.exp(-squared / (2 * np.median(np.sqrt(squared[np.triu_indices(len(pooled), 1)])) ** 2))
    np.fill_diagonal(kernel, 0)
    m = len(y)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())


def recomputed(x: np.ndarray, y: np.ndarray, bandwidth: float) -> list[float]:
    """Seconds of a few permutations, each with its kernels computed anew."""
    pooled, rng, seconds = np.concatenate([x, y]), np.random.default_rng(0), []
    for _ in range(RECOMPUTED):
        order = rng.permutation(len(pooled))
        start = time.perf_counter()
        mmd2(pooled[order[: len(x)]], pooled[order[len(x) :]], bandwidth=bandwidth)
        seconds.append(time.perf_counter() - start)
    return seconds


def large() -> None:
    """In its own process: seconds of `mmd2` on two samples of `LARGE` rows, and the process's peak memory."""
    x, y = samples(LARGE)
    mmd2(x[:64], y[:64])  # what the libraries take
    start = time.perf_counter()
    mmd2(x, y)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.1f} {peak / 2**20:.2f}")


def main() -> None:
    """Print the table."""
    load = os.getloadavg()[0]
    x, y = samples(N)
    mmd_test(x[:64], y[:64], 10)
    tests = []
    for _ in range(3):
        start = time.perf_counter()
        test = mmd_test(x, y, PERMUTATIONS)
        tests.append(time.perf_counter() - start)
    once = recomputed(x, y, test.bandwidth[0])
    exact = reference(x, y)
    off = [abs(value - exact) / abs(exact) for value in (mmd2(x, y), test.mmd2)]
    answer = subprocess.run([sys.executable, __file__, "large"], check=True, capture_output=True, text=True).stdout
    seconds, peak = answer.split()
    print(f"""# MMD: `python benchmarks/mmd.py`

2-core AMD EPYC (AVX-512) virtual machine without GPU, torch {torch.__version__} on {torch.get_num_threads()} threads;
load average {load:.1f} when it began. Samples of n = m = {N} rows, d = {D}, float32; all arithmetic in float64.

| what | measured | aim |
|---|---|---|
| test: {PERMUTATIONS} permutations and a bootstrap of 1000, median heuristic included | {median(tests):.1f} s | |
| one permutation with its kernels computed anew, median of {RECOMPUTED} | {median(once):.2f} s | |
| {PERMUTATIONS} of these (extrapolated) / the test | {PERMUTATIONS * median(once) / median(tests):.0f} | >= 50 |
| MMD^2 against differences pair by pair in float64, relative | {off[0]:.0e} | <= 1e-9 |
| the test's MMD^2 against the same | {off[1]:.0e} | <= 1e-9 |
| n = m = {LARGE}, d = {D}: seconds | {seconds} s | |
| the same: peak memory of the whole process (libraries, samples in float32 and float64, blocks) | {peak} GiB | < 2 GB |

Recomputing uses the same `mmd2` (each pair once, one matrix product a block, bandwidth given), so the ratio is that
of the method, not of a slow rival.""")


if __name__ == "__main__":
    large() if sys.argv[1:] == ["large"] else main()
