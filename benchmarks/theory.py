"""Figures and tables of the two theories of superposition: ``PYTHONPATH=src python benchmarks/theory.py``.

Writes ``docs/images/theory_superposition.png`` and ``docs/images/theory_channels.png``, and prints what they show.
About a minute.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, sqrt
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from napari_connecto import theory

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SEEDS = 3


def some_pairs(features: int, seed: int) -> tuple[int, np.ndarray]:
    """Random pairs of 4 sqrt(m') inputs: an input is in about sqrt(m') / 2 of them."""
    m = ceil(4 * sqrt(features))
    every = np.array(list(combinations(range(m), 2)))
    return m, np.random.default_rng(seed).permutation(every)[:features]


def neurons_needed(features: int) -> int:
    """Fewest neurons, within 5 %, with at most 1 / m' false positives: about one wrong AND for two inputs."""
    low, high = theory.code_length(features), 4096
    while high > low * 1.05:
        middle = int(sqrt(low * high))
        if middle == low:
            break
        rates = []
        for seed in range(SEEDS):
            m, pairs = some_pairs(features, seed)
            rates.append(theory.two_and(m, pairs, middle, seed).false_positive_rate())
        low, high = (low, middle) if np.mean(rates) <= 1 / features else (middle, high)
    return high


def superposition() -> None:
    print("features | neurons: lower bound, needed, by the proof | parameters: lower bound, used")
    rows = []
    for power in range(4, 14):
        features = 2**power
        needed = neurons_needed(features)
        m, pairs = some_pairs(features, 0)
        net = theory.two_and(m, pairs, needed)
        proof = 2 * net.degree * theory.code_length(features)
        rows.append((features, theory.neurons_lower_bound(features), needed, proof))
        print(f"{features} | {rows[-1][1]:.0f}, {needed}, {proof} | ", end="")
        print(f"{theory.parameters_lower_bound(features):.0f}, {net.parameters}")
    features, least, needed, proof = np.array(rows).T
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(least, features, "k--", label="no network, up to a factor: n = sqrt(m' log m')")
    axes.loglog(needed, features, "o-", label=f"simulated: 1/m' false positives, mean of {SEEDS} seeds")
    axes.loglog(proof, features, "s-", label="guaranteed: n = 2 d log m'")
    axes.loglog(features, features, ":", color="grey", label="one neuron per AND")
    axes.set(xlabel="neurons n", ylabel="pairwise ANDs m'", title="Capacity of AND in superposition")
    axes.legend(fontsize=8)
    figure.savefig(IMAGES / "theory_superposition.png", dpi=120)


def average_precision(toy: theory.Network, clauses: list[tuple[int, int]], rng: np.random.Generator) -> float:
    """Of ranking all pairs of inputs by the agreement of their codes; equal ones in random order."""
    agree = theory.agreement(theory.sign_codes(toy.w1, 0.1 * np.abs(toy.w1).max()))
    pairs = rng.permutation(list(combinations(range(toy.w1.shape[1]), 2)))
    order = np.argsort([-agree[i, j] for i, j in pairs], kind="stable")
    hit = np.array([(i, j) in clauses for i, j in pairs[order].tolist()])
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())


def channels() -> None:
    clauses, inputs, seeds = [(2 * c, 2 * c + 1) for c in range(8)], 16, 12
    rng = np.random.default_rng(0)
    x = rng.random((4000, inputs)) < 0.3
    wanted = np.any([x[:, list(clause)].all(1) for clause in clauses], axis=0)
    print("neurons | accuracy | average precision by signs: trained, rows shuffled, set by hand")
    rows = []
    for neurons in (4, 6, 8, 12, 16, 24):
        toys = theory.train(clauses, inputs, neurons, range(seeds))
        shuffled = [theory.Network(rng.permuted(t.w1, axis=1), t.b1, t.w2, t.b2) for t in toys]
        hand = [theory.hand_set(clauses, inputs, neurons, seed) for seed in range(seeds)] if neurons >= 6 else []
        found = [[average_precision(t, clauses, rng) for t in kind] for kind in (toys, shuffled, hand)]
        rows.append((neurons, found))
        accuracy = np.mean([(toy(x) == wanted).mean() for toy in toys])
        told = [f"{np.mean(f):.2f} ({np.std(f):.2f})" if f else "no code for each clause" for f in found]
        print(f"{neurons} | {accuracy:.2f} | {', '.join(told)}")
    exact = 0
    four = [(0, 1), (2, 3), (4, 5), (6, 7)]
    for toy in theory.train(four, 12, 4, range(24)):
        tau = 0.25 * np.abs(toy.w1).max()
        exact += [c.inputs for c in theory.decode_clauses(toy.w1, toy.b1, toy.w2, tau=tau, least=1.0)] == four
    print(f"4 clauses of 12 inputs on 4 neurons: decoded without an error in {exact} of 24 seeds")
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    at = [neurons for neurons, _ in rows]
    for kind, label in enumerate(("trained", "trained, rows shuffled", "set by hand")):
        values = [(n, np.mean(found[kind]), np.std(found[kind])) for n, found in rows if found[kind]]
        axes.errorbar(*zip(*values, strict=True), fmt="o-", capsize=3, label=label)
    axes.axhline(8 / 120, color="grey", linestyle=":", label="share of pairs that are clauses")
    axes.set(
        xlabel="hidden neurons", ylabel="average precision", ylim=(0, 1.4), xticks=at, yticks=np.arange(0, 1.1, 0.2)
    )
    axes.set_title(f"8 clauses of 16 inputs found by equal signs ({seeds} seeds)")
    axes.legend(fontsize=8, loc="upper center", ncol=2)
    figure.savefig(IMAGES / "theory_channels.png", dpi=120)


if __name__ == "__main__":
    superposition()
    channels()
