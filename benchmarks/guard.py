"""What a guard catches: ``python benchmarks/guard.py [membranes] [masks]``. Needs the real data (see CONTRIBUTING).

Membranes: the shipped fly-medulla model and its guard, on sections that neither has seen. Masks: a nuclei model and a
guard, both trained here. Each is shown held-out data as they are, degraded in ways that were not in the guard's
training, and other data sets; merges planted into held-out answers; and, as a control, pairs of one tile's answer with
another tile's image. ``--guard FOLDER`` takes another guard, ``--scenes N`` fewer or more views.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _em_data import DATASETS
from _guard_data import CARD, nuclei, nuclei_model
from _guard_merges import merges, worst
from scipy import ndimage

import napari_connecto as nc
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.guard import Guard, load_guard
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import (
    Source,
    draw,
    view,
    view_shape,
)
from napari_connecto.workflows.inspect.guard.tiles import Held, Setting, joined, measured, with_output

SEED = 17
NAMES = ("pair", "input", "output", "combined")


def inverted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 - image


def gamma(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image, 0, 1) ** float(rng.choice([0.3, 3.0]))


def motion(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.uniform_filter1d(image, int(rng.integers(5, 16)), axis=-1)


def specks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random(image.shape) < rng.uniform(0.02, 0.15)
    return np.where(hit, rng.integers(0, 2, image.shape), image)


def stripes(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    curtain = ndimage.gaussian_filter1d(rng.standard_normal(image.shape[-1]), 1.5)
    return image + rng.uniform(0.1, 0.5) * curtain / curtain.std()


def fold(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.indices(image.shape[-2:])
    angle, width = rng.uniform(0, np.pi), rng.uniform(8, 30)
    away = (rows - image.shape[-2] / 2) * np.cos(angle) + (columns - image.shape[-1] / 2) * np.sin(angle)
    return image * (1 - 0.9 * np.exp(-((away / width) ** 2)))


def blocks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    step = int(rng.integers(3, 7))
    return image[..., ::step, ::step].repeat(step, -1).repeat(step, -2)[..., : image.shape[-2], : image.shape[-1]]


def uneven(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ramp = np.linspace(-1, 1, image.shape[-1]) * rng.uniform(0.3, 0.9)
    return image * (1 + ramp)


FAMILIES: Mapping[str, Callable[..., np.ndarray]] = {
    "inverted": inverted,
    "gamma 0.3 or 3": gamma,
    "motion blur": motion,
    "salt and pepper": specks,
    "curtaining": stripes,
    "fold": fold,
    "3 to 6 voxels as one": blocks,
    "uneven brightness": uneven,
}
"""None of them is in the guard's training, which has blur, noise, correlated noise and contrast."""


@dataclass(frozen=True)
class Case:
    """A guard with its model, the part of the source to choose on, the held-out part, and other data."""

    name: str
    guard: Guard
    own: Sequence[Source]
    held: Sequence[Source]
    others: Mapping[str, Sequence[Source]]

    @property
    def setting(self) -> Setting:
        guard = self.guard
        assert guard.model is not None
        return Setting.of(guard.model, GuardParams(kind=guard.kind), guard.params, guard.output, ())


class Mismatched:
    """A judge that sees each answer beside the image of another tile: what it then says must be worth less."""

    def __init__(self, judge: Predictor) -> None:
        self.judge, self.card = judge, judge.card

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        mixed = batch.copy()
        mixed[:, :-1] = np.roll(batch[:, :-1], 1, axis=0)
        return self.judge(mixed, seeds)


def membranes(folder: Path) -> Case:
    """The shipped fly model: z 0-124 is the source, z 135-249 held out."""
    guard = load_guard(folder, device="cpu", model=nc.load_model(nc.list_models()["fly-medulla"], backend="torch"))
    own, held = ([em(DATASETS["fly-medulla"].volume(part), guard)] for part in ("train", "test"))
    others = {n: [em(d.volume("test"), guard)] for n, d in DATASETS.items() if n != "fly-medulla"}
    return Case("fly-medulla (membranes)", guard, own, held, others)


def em(volumes: tuple[Volume, Volume], guard: Guard) -> Source:
    """Resampled to the model's voxels; of a size that it would refuse, taken as if of the model's."""
    if volumes[0].levels[0].voxel_nm[1] > 4 * guard.card.voxel_nm[1]:
        volumes = tuple(  # type: ignore[assignment]
            replace(v, levels=(replace(v.levels[0], voxel_nm=guard.card.voxel_nm),)) for v in volumes
        )
    return Source.of(volumes, guard.card, "em")


def masks() -> Case:
    """Nuclei of 256 x 256 images; images of other sizes are other experiments."""
    data = nuclei()
    learn, held_out, test = data["256"][:70], data["256"][70:110], data["256"][110:150]
    model = nuclei_model(learn)
    guard = nc.fit_guard(model, learn, GuardParams(scenes=80, pairs=700, tiles=120), held_out=held_out)
    others = {f"images of {n} voxels": sources(pairs[:12]) for n, pairs in data.items() if n != "256"}
    return Case("nuclei (masks)", guard, sources(held_out), sources(test), others)


def sources(pairs: Sequence[Any]) -> list[Source]:
    return [Source.of(pair, CARD, "instances") for pair in pairs]


def tiles(case: Case, found: Sequence[Source], scenes: int, harm: Any = None, judging: Any = None) -> Held:
    """What all checks say of tiles of some scenes, the same ones for every judge."""
    rng, setting = np.random.default_rng(SEED), case.setting
    gate = case.guard.gate if judging is None else None  # the control is of the pair alone
    encoder = None if gate is None else TorchEncoder(setting.model)
    parts = []
    for k in range(scenes):
        source = found[k % len(found)]
        change = None if harm is None else (lambda image: harm(image, rng))
        scene = view(source, draw(source, view_shape(setting.model), rng), setting.model, setting.output, change)
        parts.append(measured(setting, judging or case.guard.judge, scene, encoder, gate, rng))
    return joined(parts)


def checks(case: Case, held: Held) -> dict[str, np.ndarray]:
    """Scores of tiles by each check."""
    found = {"pair": case.guard.by_pair.score(held.pair)}
    if held.halves is not None and case.guard.combined is not None:
        found |= {"input": held.halves[:, 0], "output": held.halves[:, 1]}
        found["combined"] = case.guard.combined.score(with_output(case.guard.by_pair, held))
    return found


def rows(case: Case, scenes: int) -> Iterator[str]:
    """The tables of one case."""
    guard = case.guard
    clean = tiles(case, case.held, 6 * scenes)
    groups: dict[str, dict[str, Held]] = {"degraded": {}, "other data": {}}
    for name, harm in FAMILIES.items():
        groups["degraded"][name] = tiles(case, case.held, scenes, harm)
    for name, found in case.others.items():
        groups["other data"][name] = tiles(case, found, scenes)
    yield f"### {case.name}: {'; '.join(guard.lines())}"
    yield from alarms(guard, case, clean)
    yield f"| seen | tiles | bad | flagged of bad | flagged of good | {' | '.join(NAMES)} | off by |"
    yield "|---" * (6 + len(NAMES)) + "|"
    yield line(case, "held out, as it is", [clean])
    for group, found in groups.items():
        for name, held in found.items():
            yield line(case, name, [held])
        yield line(case, f"**{group}, with the clean tiles**", [clean, *found.values()])
    swapped = tiles(case, case.held, 5 * scenes, judging=Mismatched(guard.judge))
    yield line(case, "control: another tile's image, clean", [swapped])
    harmed = [tiles(case, case.held, scenes, h, Mismatched(guard.judge)) for h in FAMILIES.values()]
    yield line(case, "control: another tile's image, with degraded", [swapped, *harmed])


def alarms(guard: Guard, case: Case, clean: Held) -> Iterator[str]:
    """False alarms on good held-out tiles against what is stated."""
    good = ~guard.bad(clean.score)
    for name, used in (("pair", guard.by_pair), ("combined", guard.combined)):
        if used is not None:
            above, stated = checks(case, clean)[name][good] > used.limit, used.false_alarm
            told = f"{above.mean():.1%} of {good.sum()} good held-out tiles (stated {stated:.0%})"
            yield f"- false alarms, {name}: {told}"


def line(case: Case, name: str, parts: Sequence[Held]) -> str:
    """One row: AUROC of each check for bad tiles, flagged shares of the combination, and how far the score is off."""
    held = joined(parts)
    guard, bad, found = case.guard, case.guard.bad(held.score), checks(case, held)
    used = "combined" if "combined" in found else "pair"
    flagged = found[used] > (guard.combined if guard.combined and used == "combined" else guard.by_pair).limit
    each = " | ".join(f"{auroc(found[name], bad):.3f}" if name in found else "-" for name in NAMES)
    off = float(np.mean(np.abs(held.predicted - held.score)))
    counts = f"{len(bad)} | {bad.mean():.0%} | {share(flagged[bad])} | {share(flagged[~bad])}"
    return f"| {name} | {counts} | {each} | {off:.3f} |"


def share(flags: np.ndarray) -> str:
    return f"{flags.mean():.0%}" if len(flags) else "-"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=["membranes", "masks"])
    parser.add_argument("--guard", type=Path, default=nc.list_models()["fly-medulla"])
    parser.add_argument("--scenes", type=int, default=8, help="views per family, of 4 tiles each")
    asked = parser.parse_args()
    for name in asked.cases:
        case = membranes(asked.guard) if name == "membranes" else masks()
        for told in rows(case, asked.scenes):
            print(told, flush=True)
        setting, judging, mixed = case.setting, case.guard.judge, Mismatched(case.guard.judge)
        for told in (*merges(setting, judging, mixed, case.own, case.held), *worst(setting, judging, case.held)):
            print(told, flush=True)


if __name__ == "__main__":
    main()
