"""Whether units far from normal matter more: small networks with ReLU, SiLU and GELU, trained on the fly's medulla."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _transfer import kept, patches, sections
from scipy.stats import spearmanr
from torch import Tensor, nn

import napari_connecto as nc
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor, one_thread
from napari_connecto.models.inspect.neurons import mapping_difficulty, wasserstein_to_normal
from napari_connecto.models.inspect.obs import rows_of
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.workflows.adapt.em_samples import EmSamples
from napari_connecto.workflows.adapt.fine_tune import boundary_card

NAME = "fly-medulla"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"ReLU": nn.ReLU, "SiLU": nn.SiLU, "GELU": nn.GELU}
SEEDS = (0, 1)
STEPS, CROP, BATCH = 150, 96, 4
TOP, SETS, SINGLE = 0.01, 20, 120
"""Share of units that is ablated together, matched control sets, and units that are ablated one by one."""
Unit = tuple[str, int]


def neurons(folder: Path, *, measure: bool) -> None:
    """Measure what is missing, then print the table."""
    print(
        "\n| activation | seed | units | WD, median and 99 % | top 1 %, negative | controls | p "
        "| positive: top, controls | Spearman WD, loss | Spearman difficulty, loss |"
    )
    print("|" + "---|" * 10)
    for seed in SEEDS:
        for activation in ACTIVATIONS:
            path = folder / "neurons" / f"{activation}-{seed}.json"
            if measure or path.exists():
                found = kept(path, lambda a=activation, s=seed: one(a, s))
                print(row(activation, seed, found) if found else "")


def row(activation: str, seed: int, found: dict[str, Any]) -> str:
    """Markdown."""

    def effect(sign: str) -> tuple[float, str]:
        return found[sign]["top"], f"{np.mean(found[sign]['controls']):.2g} (max {max(found[sign]['controls']):.2g})"

    negative, positive = effect("negative"), effect("positive")
    beaten = sum(c >= negative[0] for c in found["negative"]["controls"])
    spread = [f"{r:+.2f} ({a:+.2f} to {b:+.2f})" for r, a, b in (found["wd"], found["difficulty"])]
    return (
        f"| {activation} | {seed} | {found['units']} | {found['wd_median']:.3f}, {found['wd_99']:.3f} "
        f"| {negative[0]:+.2g} | {negative[1]} | {(1 + beaten) / (1 + len(found['negative']['controls'])):.2f} "
        f"| {positive[0]:+.2g}, {positive[1]} | {spread[0]} | {spread[1]} |"
    )


def one(activation: str, seed: int) -> dict[str, Any]:
    """One network: trained, its units described, then ablated."""
    model = trained(activation, seed)
    net = model.net.eval()
    test = EmSamples(sections(NAME, "test")[::12], model.card, 128, 6, 7, None)
    image, target, weight = (torch.from_numpy(a) for a in test.at(0))
    units = described(net, torch.from_numpy(np.concatenate([test.at(i)[0] for i in (1, 2)])), seed)
    names = list(units)
    wd = np.array([units[u]["wd"] for u in names])
    top = [names[i] for i in np.argsort(-wd)[: max(1, round(TOP * len(names)))]]

    def loss(chosen: Sequence[Unit], sign: str) -> float:
        with ablated(net, chosen, sign), one_thread(), torch.inference_mode():
            each = nn.functional.binary_cross_entropy_with_logits(net(image), target, reduction="none")
            return float((each * weight).sum() / weight.sum())

    whole, rng = loss([], "negative"), np.random.default_rng(seed)
    sets = [matched(units, top, rng) for _ in range(SETS)]
    told: dict[str, Any] = {
        sign: {"top": loss(top, sign) - whole, "controls": [loss(s, sign) - whole for s in sets]}
        for sign in ("negative", "positive")
    }
    some = [names[i] for i in rng.permutation(len(names))[:SINGLE]]
    harm = np.array([loss([u], "negative") - whole for u in some])
    for key in ("wd", "difficulty"):
        told[key] = ranked(np.array([units[u][key] for u in some]), np.abs(harm), rng)
    spread = {"wd_median": float(np.median(wd)), "wd_99": float(np.quantile(wd, 0.99))}
    return told | spread | {"loss": whole, "units": len(names), "top": len(top)}


def trained(activation: str, seed: int) -> TorchPredictor:
    """A boundary model with this activation everywhere."""
    card = boundary_card(activation, (10.0, 10.0, 10.0), depth=3, width=8)
    start = new_model(card, seed, device="cpu")
    for name, module in list(start.net.named_modules()):
        if isinstance(module, nn.ReLU):
            start.net.set_submodule(name, ACTIVATIONS[activation]())
    samples = EmSamples(patches(NAME, seed, 12), card, CROP, BATCH, seed, Augment())
    return nc.run(fit(start, samples.from_step, FitParams(steps=STEPS, validate_every=STEPS)))


def described(net: nn.Module, x: Tensor, seed: int) -> dict[Unit, dict[str, float]]:
    """Of every channel before an activation: distance to normal, spread, and difficulty for the convolution before."""
    before: dict[str, np.ndarray] = {}
    makers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    last: list[tuple[np.ndarray, np.ndarray]] = []

    def conv_hook(conv: nn.Module, inputs: tuple[Tensor]) -> None:
        rows = rows_of(conv, inputs[0], 3000, torch.Generator().manual_seed(seed))
        last[:] = [(rows.numpy(), (rows @ conv.weight.flatten(1).T).numpy())]

    def act_hook(name: str) -> Any:
        def see(_module: nn.Module, inputs: tuple[Tensor]) -> None:
            y = inputs[0].detach().clone().movedim(1, -1).flatten(0, -2).numpy()
            before[name] = y[np.random.default_rng(seed).permutation(len(y))[:3000]]
            makers[name] = last[0]

        return see

    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    hooks = [conv.register_forward_pre_hook(conv_hook) for conv in convs]
    hooks += [m.register_forward_pre_hook(act_hook(n)) for n, m in activations(net).items()]
    with one_thread(), torch.inference_mode():
        net(x)
    for handle in hooks:
        handle.remove()
    return {
        (name, i): {
            "wd": wasserstein_to_normal(y),
            "sd": float(y.std()),
            "difficulty": mapping_difficulty(makers[name][0], makers[name][1][:, i], pairs=2000, seed=seed),
        }
        for name, rows in before.items()
        for i, y in enumerate(rows.T)
    }


def activations(net: nn.Module) -> dict[str, nn.Module]:
    """All activations, by name."""
    return {n: m for n, m in net.named_modules() if isinstance(m, tuple({type(a()) for a in ACTIVATIONS.values()}))}


def matched(units: dict[Unit, dict[str, float]], top: Sequence[Unit], rng: np.random.Generator) -> list[Unit]:
    """As many units of the same layers and like spread, none of them in ``top``."""
    chosen: list[Unit] = []
    for name, i in top:
        own = [u for u in units if u[0] == name and u not in top and u not in chosen]
        own.sort(key=lambda u: abs(np.log((units[u]["sd"] + 1e-9) / (units[name, i]["sd"] + 1e-9))))
        chosen.append(own[int(rng.integers(min(8, len(own))))])
    return chosen


@contextmanager
def ablated(net: nn.Module, chosen: Sequence[Unit], sign: str) -> Iterator[None]:
    """Pre-activations of these units are 0 where they have this sign."""
    layers = activations(net)

    def hook(channels: list[int]) -> Any:
        def change(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            y = inputs[0].clone()
            y[:, channels] = y[:, channels].clamp(min=0) if sign == "negative" else y[:, channels].clamp(max=0)
            return (y,)

        return change

    by = {name: [i for n, i in chosen if n == name] for name in {n for n, _ in chosen}}
    hooks = [layers[name].register_forward_pre_hook(hook(channels)) for name, channels in by.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def ranked(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Spearman's correlation with a 95 % bootstrap interval over units."""
    if b.std() == 0:
        return 0.0, 0.0, 0.0
    draws = [spearmanr(a[i], b[i]).statistic for i in rng.integers(0, len(a), (1000, len(a)))]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(spearmanr(a, b).statistic), float(low), float(high)
