"""Does `why_missed` find what carries a failure? ``python benchmarks/why_missed.py``

On shipped boundary models and real sections that they were not trained on: planted faults, identities, agreement of the
gradient with exact replacement, and whether channels ranked on some scenes restore more than random ones on others.
Needs the real data (see CONTRIBUTING). ``--only WORD`` takes models by name; ``--part`` one of the two experiments.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch
from _em_data import DATASETS
from scipy import ndimage
from torch import nn

import napari_connecto as nc
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.taps import network, patched
from napari_connecto.workflows.inspect.missed.asked import Asked, asked_job, effects_job, margins_job
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.why_missed import explained_job
from napari_connecto.workflows.shared.em_labels import boundary_target
from napari_connecto.workflows.shared.whole import answers

SIDE, BEFORE, AFTER = 128, 128, 48
"""Painted part of a scene, one tile; and the context before and after it along y and x, voxels."""
PARAMS = MissedParams(tiles=4)
FAULTS, NEAR_NOTHING = 10, 0.05
"""Planted faults per model; a channel counts as without influence if it is among this share of least effect."""
DRAWS = 4
SCENES = {"fly-medulla": ((0, 20, 40), (75, 95, 114)), "rat-axons": ((0,), (1,))}
"""Sections to rank on and to read on: fly z 135-175 and 210-249; of the held-out rats one each, in three places."""


BLUR = {"fly-medulla": 2.0, "rat-axons": 4.0}
"""Voxels; with 2 the model of axons misses nothing."""


def degradations(model: str) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """Of a section (y, x)."""
    drawn = np.random.default_rng(0)

    def faint(x: np.ndarray) -> np.ndarray:
        return 128 + (x - 128) * 0.3 + drawn.normal(0, 8, x.shape)

    return {"blurred": lambda x: ndimage.gaussian_filter(x, BLUR[model]), "faint and noisy": faint}


class Scene:
    """One section with its truth, and the box in which pixels count."""

    def __init__(self, name: str, section: int, corner: tuple[int, int]) -> None:
        image, labels = (v.levels[0] for v in DATASETS[name].volume("test"))
        around = tuple(slice(max(0, c - BEFORE), c + SIDE + AFTER) for c in corner)
        self.image = np.asarray(image.array[section])[around]
        self.voxel_nm = DATASETS[name].voxel_nm
        truth, _ = boundary_target(np.asarray(labels.array[section])[around][None])
        self.boundary = truth > 0
        self.inside = ndimage.binary_erosion(truth[0] == 0, iterations=2)[None]
        (y, x) = (c - s.start for c, s in zip(corner, around, strict=True))
        box = np.zeros_like(self.boundary)
        box[:, y : y + SIDE, x : x + SIDE] = True
        self.boundary, self.inside = self.boundary & box, self.inside & box

    def volume(self, name: str = "clean", change: Callable[[np.ndarray], np.ndarray] | None = None) -> Volume:
        """The section, degraded or not."""
        seen = self.image if change is None else np.clip(change(self.image.astype(float)), 0, 255).astype(np.uint8)
        return Volume((Level(seen[None], self.voxel_nm),), name=name)


def scenes(name: str, which: int) -> list[Scene]:
    """Those to rank on (0), or to read on (1)."""
    sections = SCENES[name][which]
    if len(sections) > 1:
        return [Scene(name, z, (128, 128)) for z in sections]
    shape = DATASETS[name].volume("test")[0].levels[0].shape[1:]
    corners = [(shape[0] // 4, shape[1] // 4), (shape[0] // 2, shape[1] // 2), (shape[0] // 2, shape[1] // 4)]
    return [Scene(name, sections[0], corner) for corner in corners]


def probability(model: TorchPredictor, volume: Volume) -> np.ndarray:
    """(1, y, x)."""
    scaling = model.card.normalisation.resolve(volume)
    return answers(model, scaling(np.asarray(volume.levels[0].array)))["boundary"]


def degraded(
    model: TorchPredictor, scene: Scene, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> Asked | None:
    """Boundaries that the degradation hides, or weakens most where it hides fewer than 30, against insides."""
    bad, good = scene.volume(name, change), scene.volume()
    low, high = probability(model, bad), probability(model, good)
    missed = scene.boundary & (low < 0.5) & (high >= 0.5)
    if missed.sum() < 30:
        missed = weakened(scene, high - low)
    there = missed.any() and scene.inside.any()
    return run(asked_job(model, bad, good, missed, scene.inside, PARAMS)) if there else None


def weakened(scene: Scene, loss: np.ndarray) -> np.ndarray:
    """The 300 boundary pixels that lose most probability, of those that lose any."""
    fallen = np.where(scene.boundary, loss, -1.0)
    return scene.boundary & (loss > 0) & (fallen >= np.sort(fallen.ravel())[-300])


def held_out(name: str, model: TorchPredictor) -> Iterator[str]:
    """Rows: stage, whole, top quarter, random quarter, quarter of largest difference, ratio; ranked elsewhere."""
    for kind, change in degradations(name).items():
        ranked = [a for s in scenes(name, 0) if (a := degraded(model, s, kind, change)) is not None]
        read = [a for s in scenes(name, 1) if (a := degraded(model, s, kind, change)) is not None]
        if not ranked or not read:
            yield f"{name}, {kind}: {len(ranked)} and {len(read)} scenes with missed boundaries: not measured"
            continue
        effect, difference = ranking(ranked)
        drawn = np.random.default_rng(1)
        quarters = {place: max(1, len(values) // 4) for place, values in effect.items()}
        plans = []
        for place, n in quarters.items():
            plans += [{place: None}, {place: np.argsort(-effect[place])[:n].tolist()}]
            plans += [{place: np.argsort(-difference[place])[:n].tolist()}]
            plans += [{place: drawn.permutation(len(effect[place]))[:n].tolist()} for _ in range(DRAWS)]
        shares = np.mean([restored(asked, plans) for asked in read], axis=0)
        wins = 0
        for i, place in enumerate(effect):
            whole, top, most, *chance = shares[i * (3 + DRAWS) : (i + 1) * (3 + DRAWS)]
            ratio = top / np.mean(chance)
            wins += ratio >= 1.5
            shown = f"{whole:.2f} | {top:.2f} | {np.mean(chance):.2f} | {most:.2f} | {ratio:.1f}"
            yield f"| {name} | {kind} | {place} | {shown} |"
        told = [run(explained_job(asked, PARAMS)) for asked in read[:1]]
        rho = ", ".join(f"{t.total.spearman:.2f} (direct {t.direct.spearman:.2f})" for t in told if t.direct)
        first = ", ".join(f"{dict(t.total.together['difference'])[5]:.2f}" for t in told)
        yield f"{name}, {kind}: {wins} of {len(effect)} stages at 1.5 or more; {len(ranked)} and {len(read)} scenes"
        yield f"Spearman of gradient and exact, 60 and 20 channels of a scene: {rho}"
        yield f"first 5 by difference restore: {first}"


def ranking(ranked: Sequence[Asked]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean share of the gap, and mean difference, by place."""
    effects, differences = [], []
    for asked in ranked:
        found = run(effects_job(asked))
        gap = sum(e.good - e.bad for e in found)
        effects.append({p: sum(e.effect[p] for e in found) / gap for p in asked.patcher.taps})
        differences.append({p: sum(e.change[p] for e in found) for p in asked.patcher.taps})
    return tuple({p: np.mean([each[p] for each in all_], axis=0) for p in all_[0]} for all_ in (effects, differences))  # type: ignore[return-value]


def restored(asked: Asked, plans: Sequence[Mapping[str, list[int] | None]]) -> np.ndarray:
    """Share of the gap by each plan; checks that nothing restores nothing, and everything all of it."""
    everything = dict.fromkeys(asked.patcher.taps)
    bad, good, *margins = run(margins_job(asked, [{}, everything, *plans]))
    found = run(effects_job(asked))
    assert np.isclose(bad, sum(e.bad for e in found), atol=1e-4), "patched with nothing, the run is another"
    assert np.isclose(good, sum(e.good for e in found), atol=1e-4), "patched everywhere, the run is not the good one"
    return (np.array(margins) - bad) / (good - bad)


def planted(name: str, model: TorchPredictor) -> Iterator[str]:
    """Rows: two kernels permuted, one of influence and one without; rank of both by gradient and by difference.

    Not in the last block: nothing else differs where nothing follows, so that any fault there is first.
    """
    [scene, *_] = scenes(name, 1)
    effect = ablation(model, scene)
    order = sorted(effect, key=lambda c: -effect[c])
    few = [c for c in order if effect[c] > 0]
    harmless = few[-int(NEAR_NOTHING * len(few)) :]
    drawn = np.random.default_rng(0)
    hits = spared = 0
    last = list(network(model).taps)[-1]
    for place, channel in [c for c in order if c[0] != last][:FAULTS]:
        other, nothing = harmless[int(drawn.integers(len(harmless)))]
        ill = permuted(permuted(model, place, channel, drawn), other, nothing, drawn)
        low, high = probability(ill, scene.volume()), probability(model, scene.volume())
        missed = weakened(scene, high - low)
        asked = run(asked_job(ill, scene.volume(), scene.volume(), missed, scene.inside, PARAMS, good_model=model))
        found = run(effects_job(asked))
        ranks = []
        for key in ("effect", "change"):
            values = {(p, c): sum(getattr(e, key)[p][c] for e in found) for p, c in effect}
            best = sorted(values, key=lambda c: -values[c])
            ranks += [best.index((place, channel)) + 1, best.index((other, nothing)) + 1]
        hits, spared = hits + (ranks[0] <= 3), spared + (ranks[1] > 3)
        yield f"| {name} | {place}:{channel} | {ranks[0]} | {ranks[2]} | {other}:{nothing} | {ranks[1]} | {ranks[3]} |"
    yield f"{name}: {hits} of {FAULTS} faults in the top 3, {spared} of {FAULTS} without influence outside of it"


def ablation(model: TorchPredictor, scene: Scene) -> dict[tuple[str, int], float]:
    """How much the margin of boundary over inside changes, to first order, if a channel is held at its mean."""
    still = network(model)
    volume = scene.volume()
    same = Volume(volume.levels, name="same")
    asked = run(asked_job(model, volume, same, scene.boundary, scene.inside, PARAMS))
    total: dict[tuple[str, int], float] = {}
    for painted in asked.painted:
        tile = asked.scene(painted)
        seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        places = [p for p, t in still.taps.items() if t.kind != "skip"]
        with patched(still, {p: watching(p, seen) for p in places}):
            (still.logits(tile.bad)[0, 0] * torch.from_numpy(tile.weight)).sum().backward()
        for place, (a, delta) in seen.items():
            held = ((a.mean((0, 2, 3), keepdim=True) - a) * delta.grad).sum((0, 2, 3))
            for channel, value in enumerate(held.tolist()):
                total[place, channel] = total.get((place, channel), 0.0) + value
    return {key: abs(value) for key, value in total.items()}


def watching(place: str, seen: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Keeps the activations, and zeros added to them, whose gradient is theirs."""

    def change(a: torch.Tensor) -> torch.Tensor:
        seen[place] = (a.detach(), torch.zeros_like(a, requires_grad=True))
        return a + seen[place][1]

    return change


def permuted(model: TorchPredictor, place: str, channel: int, drawn: np.random.Generator) -> TorchPredictor:
    """The model with the kernel of the convolution behind a channel permuted at random."""
    net = deepcopy(model.net)
    conv = net.get_submodule(convolution(model, place))
    with torch.no_grad():
        kernel = conv.weight[channel].flatten()  # type: ignore[index,union-attr,operator]
        conv.weight[channel] = kernel[torch.from_numpy(drawn.permutation(len(kernel)))].view_as(conv.weight[channel])  # type: ignore
    return TorchPredictor(model.card, net, "cpu")


def convolution(model: TorchPredictor, place: str) -> str:
    """The last convolution with a kernel that ran before the activations of a place were there."""
    still = network(model)
    tap, ran, last = still.taps[place], [], []
    names = {module: name for name, module in still.net.named_modules()}
    hooks = [
        module.register_forward_hook(lambda m, _i, _o: ran.append(names[m]))
        for module in still.net.modules()
        if isinstance(module, nn.Conv2d) and module.out_channels == tap.channels and module.kernel_size[0] > 1
    ]
    hooks.append(still.net.get_submodule(tap.module).register_forward_hook(lambda *_: last.append(ran[-1])))
    size = [t + 2 * h for t, h in zip(model.card.tile, model.card.halo, strict=True)]
    with torch.no_grad():
        still.logits(np.zeros((1, model.card.channels, *size), np.float32))
    for hook in hooks:
        hook.remove()
    return last[0]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", choices=["planted", "held-out"])
    asked = parser.parse_args()
    for name in SCENES:
        if asked.only in name:
            model = torch_model(nc.load_model(nc.list_models()[name], backend="torch", device="cpu"))
            for part, rows in (("planted", planted), ("held-out", held_out)):
                if asked.part in (None, part):
                    for row in rows(name, model):
                        print(row, flush=True)


if __name__ == "__main__":
    main()
