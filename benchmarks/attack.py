"""Does what a channel answers to flip the answer elsewhere, and only with that channel? ``python benchmarks/attack.py``

The channel is that which `why_missed` ranks first on a blurred section, the best of each stage beside it; patterns come
from that section, in one table from anywhere and in another from outside of true boundaries; they are put into the
middle of clean objects of other sections. Fly needs the real data (see CONTRIBUTING); the phantom is made here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _em_data import DATASETS
from scipy import ndimage

import napari_connecto as nc
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.inspect.missed.attack import attack
from napari_connecto.workflows.inspect.missed.params import AttackParams, MissedParams
from napari_connecto.workflows.inspect.missed.result import WhyMissed
from napari_connecto.workflows.inspect.missed.why_missed import why_missed
from napari_connecto.workflows.shared.em_labels import boundary_target, to_em
from napari_connecto.workflows.shared.whole import answers

PLACES = {"fly-medulla": 24, "synthetic-neuropil": 48}
"""Wanted."""
SIDE, AROUND, BLUR = 15, 3, 2.0
"""Diameter of a disc, distance of its edge from true boundaries, and blur, voxels."""
WINDOW = {"fly-medulla": slice(64, 192), "synthetic-neuropil": slice(128, 256)}
"""Of the section that channels are ranked on and patterns come from, along y and x."""
SECTIONS = (0, (75, 80, 85, 90, 95, 100, 105, 110))
"""To rank on; to attack."""


@dataclass(frozen=True)
class Data:
    """Image (z, y, x), and distance to true boundaries in a section."""

    image: np.ndarray
    labels: np.ndarray
    voxel_nm: tuple[float, float, float]

    def volume(self, change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> Volume:
        """All of it, or a changed copy."""
        return Volume((Level(change(self.image), self.voxel_nm),), name="sections")

    def boundary(self, z: int) -> np.ndarray:
        """Truth of a section."""
        return boundary_target(self.labels[z][None])[0][0] > 0


def fly() -> Data:
    """Held-out sections of fly medulla."""
    image, labels = (v.levels[0] for v in DATASETS["fly-medulla"].volume("test"))
    return _chosen(np.asarray(image.array), np.asarray(labels.array), image.voxel_nm, SECTIONS[1])


def neuropil() -> Data:
    """A phantom of another seed than the weights'."""
    made = nc.phantom("neuropil", (9, 512, 512), seed=77)
    level = made.image.levels[0]
    labels = to_em(np.asarray(made.truth["neurons"].levels[0].array), "instances")
    return _chosen(np.asarray(level.array), labels, level.voxel_nm, tuple(range(1, 9)))


def _chosen(
    image: np.ndarray, labels: np.ndarray, voxel_nm: tuple[float, float, float], which: tuple[int, ...]
) -> Data:
    sections = [SECTIONS[0], *which]
    return Data(image[sections, :512, :512], labels[sections, :512, :512], voxel_nm)


DATA = {"fly-medulla": fly, "synthetic-neuropil": neuropil}


def ranked(model: TorchPredictor, data: Data, window: slice) -> WhyMissed:
    """What carries the boundaries that a blur hides or weakens most, in the window of the first section."""
    good = Data(data.image[:1], data.labels[:1], data.voxel_nm)
    bad = good.volume(lambda x: ndimage.gaussian_filter(x, (0, BLUR, BLUR)))
    scaled = [model.card.normalisation.resolve(v)(np.asarray(v.levels[0].array)) for v in (bad, good.volume())]
    low, high = (answers(model, x)["boundary"][0] for x in scaled)
    here = np.zeros_like(low, bool)
    here[window, window] = True
    true = data.boundary(0) & here
    missed = true & (low < 0.5) & (high >= 0.5)
    if missed.sum() < 30:
        loss = np.where(true, high - low, -1.0)
        missed = loss >= np.sort(loss.ravel())[-300]
    inside = ndimage.binary_erosion(~data.boundary(0), iterations=2) & here
    return why_missed(model, bad, good.volume(), missed[None], inside[None], MissedParams(tiles=4))


def clean(data: Data, wanted: int, side: int, seed: int = 0) -> np.ndarray:
    """Places (n, 3) in the middle of objects, as many in each section but the first."""
    drawn, found = np.random.default_rng(seed), []
    for z in range(1, len(data.image)):
        far = ndimage.distance_transform_edt(~data.boundary(z))
        far[:40], far[-40:], far[:, :40], far[:, -40:] = 0, 0, 0, 0
        for _ in range(wanted // (len(data.image) - 1)):
            free = np.argwhere(far >= side // 2 + AROUND)
            if not len(free):
                break
            y, x = free[drawn.integers(len(free))]
            found.append((z, int(y), int(x)))
            far[max(0, y - side) : y + side, max(0, x - side) : x + side] = 0
    return np.array(found)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--first", action="store_true", help="the first channel alone")
    asked = parser.parse_args()
    for name in [n for n in DATA if asked.only in n]:
        data = DATA[name]()
        model = torch_model(nc.load_model(nc.list_models()[name], backend="torch", device="cpu"))
        window = WINDOW[name]
        found = ranked(model, data, window)
        first = {c.place: c for c in reversed(found.total.carriers)}
        top = found.total.carriers[0]
        print(f"{name}: first {top.name}, Spearman {found.total.spearman:.2f}; then {[c.name for c in first.values()]}")
        places = clean(data, PLACES[name], asked.side)
        source = Box((0, window.start, window.start), (1, window.stop, window.stop))
        off = ndimage.distance_transform_edt(~data.boundary(0))[window, window][None] >= asked.side // 2 + AROUND
        rest = [] if asked.first else [c for c in first.values() if c != top]
        for channel in [top, *rest]:
            for kind, allowed in (("anywhere", None), ("off boundaries", off)):
                told = attack(
                    model,
                    data.volume(),
                    (channel.place, channel.channel),
                    source,
                    places,
                    AttackParams(side=asked.side),
                    allowed=allowed,
                )
                runs = " | ".join(f"{told.runs[key]}, {told.runs[key].logit:.1f}" for key in RUNS)
                kept = f"{told.kept:.0%} | {told.kept_other:.0%}"
                print(f"| {name} | {channel.name} | {kind} | {len(told.places)} | {runs} | {kept} |", flush=True)


RUNS = ("pattern", "pattern, ablated", "pattern, other ablated", "other pattern", "random piece")

if __name__ == "__main__":
    main()
