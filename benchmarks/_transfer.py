"""What the benchmarks of adaptation share: patches, sources trained once, models measured on the target's own grid.

Only a dataset's train part is learnt from, tuned on or looked at; its test part is measured. Everything is kept in
``benchmarks/cache/transfer`` (never committed: not all terms allow derived weights), so a killed run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _em_data import DATA, DATASETS, HERE, _tif
from filelock import FileLock

import napari_connecto as nc
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.model import Normalisation, Predictor
from napari_connecto.core.partition_metrics import Contingency, variation_of_information
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.models.transfer.mmd import median_distance, mmd2
from napari_connecto.workflows.adapt.domains import load_encoder
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example, prepared
from napari_connecto.workflows.adapt.feature_sample import sample_features
from napari_connecto.workflows.adapt.fine_tune import boundary_card
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import instances, tune_segmentation
from napari_connecto.workflows.shared.whole import boundary_of

CACHE = Path(os.environ.get("NAPARI_CONNECTO_CACHE", HERE / "cache")) / "transfer"
NAMES = tuple(DATASETS)
SIZE = 128
"""Side of an annotated patch, the target's own voxels, whatever the source."""
MOST = 16
TESTED = {"fly-medulla": (4, 250), "fly-larva": (3, 384), "mouse-ca1": (3, 384), "mouse-cortex": (5, 160)}
"""Sections that are measured, evenly spaced in the test part, and the side of their middle."""
STEPS = 180
"""Of every adaptation."""
SOURCE = FitParams(steps=1500, learning_rate=3e-3, validate_every=2000)
SOURCE_CROP, SOURCE_BATCH = 160, 4
AS_IT_IS = "rat-axons"
"""Its pixels (70 to 180 nm) are 20 times those of the others: to and from it, pixels are taken as they are."""


@dataclass(frozen=True)
class Measured:
    """VI in bits, mean over test sections."""

    split: float
    merge: float
    sections: tuple[float, ...]
    params: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """JSON."""
        return {"vi": self.split + self.merge, **self.__dict__}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell: read, or made and kept; empty while another process makes it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        busy = path.with_name(path.name + ".busy")
        if busy.exists() and Path(f"/proc/{busy.read_text() or 0}").exists():
            return {}
        busy.write_text(str(os.getpid()))
        cell = make()
        busy.write_text(json.dumps(cell, indent=1))
        busy.rename(path)
        figures = {k: round(v, 3) for k, v in cell.items() if isinstance(v, float)}
        print(f"{path.parent.name}/{path.name}", figures, flush=True)
    return dict(json.loads(path.read_text()))


@cache
def sections(name: str, part: str) -> list[Example]:
    """All sections, each scaled by its own percentiles."""
    data = DATASETS[name]
    image, labels = data.read(part)
    norm = Normalisation("percentile", 1.0, 99.0)
    out = []
    for i in range(len(image)):
        level = Level(image[i : i + 1], data.voxel_nm)
        out.append(
            Example(image[i : i + 1], labels[i : i + 1], data.voxel_nm, norm.resolve(Volume((level,), name=name)))
        )
    return out


def patches(name: str, seed: int, count: int = MOST) -> list[Example]:
    """Annotated patches of the train part: of all sections in turn, at random, not overlapping, with three neurites."""
    whole, rng = sections(name, "train"), np.random.default_rng([seed, 7])
    order = [int(z) for _ in range(MOST) for z in rng.permutation(len(whole))]
    taken: list[tuple[int, int, int]] = []
    found: list[Example] = []
    for z in order:
        if len(found) == count:
            break
        corner = place(whole[z], [p[1:] for p in taken if p[0] == z], rng)
        if corner is not None:
            taken.append((z, *corner))
            found.append(cut(whole[z], *corner))
    return found


def place(section: Example, taken: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[int, int] | None:
    """Corner of a patch that overlaps none before and holds three neurites; None after 50 tries."""
    for _ in range(50):
        y, x = (int(rng.integers(0, n - SIZE + 1)) for n in section.image.shape[1:])
        if any(abs(y - v) < SIZE and abs(x - u) < SIZE for v, u in taken):
            continue
        if len(np.unique(instances(section.labels[:, y : y + SIZE, x : x + SIZE]))) > 3:
            return y, x
    return None


def cut(section: Example, y: int, x: int, size: int = SIZE) -> Example:
    """A window of a section."""
    here = (slice(None), slice(y, y + size), slice(x, x + size))
    return replace(section, image=section.image[here], labels=section.labels[here])


def tested(name: str) -> list[Example]:
    """What is measured."""
    whole = sections(name, "test")
    count, size = TESTED.get(name, (len(whole), 512))
    chosen = [whole[int(i)] for i in np.unique(np.linspace(0, len(whole) - 1, count).astype(int))]
    return [cut(s, *((n - size) // 2 for n in s.image.shape[1:]), size) for s in chosen]


def seen_by(model: Predictor | None, source: str, target: str, examples: Sequence[Example]) -> list[Example]:
    """Examples for a model of ``source``: by their voxel size, or as they are where sizes cannot be compared."""
    as_it_is = model is not None and source != target and AS_IT_IS in (source, target)
    return [replace(e, voxel_nm=None) for e in examples] if as_it_is else list(examples)


def maps(model: Predictor, examples: Sequence[Example]) -> list[np.ndarray]:
    """Boundary probability of each example on the example's own grid."""
    out = []
    for example in examples:
        image, _ = prepared(example, model.card)
        answer = boundary_of(model, image)
        own = example.voxel_nm or model.card.voxel_nm
        level = resampled(Level(answer, (own[0], *model.card.voxel_nm[1:])), own)
        back = np.asarray(level.read(level.box))
        spare = [(0, max(0, n - m)) for n, m in zip(example.image.shape, back.shape, strict=True)]
        back = np.pad(back, spare, mode="edge")[tuple(slice(n) for n in example.image.shape)]
        out.append(np.clip(back, 0.0, 1.0).astype(np.float32))
    return out


def tuned(model: Predictor, examples: Sequence[Example], prior: SegmentParams | None = None) -> SegmentParams:
    """Thresholds on the patches' own grid: the prior's (without one the defaults), unless the patches say otherwise."""
    prior = prior or SegmentParams(mode="2d")
    return tune_segmentation(maps(model, examples), [e.labels for e in examples], prior).params


def measured(model: Predictor, examples: Sequence[Example], params: SegmentParams) -> Measured:
    """VI on sections, each by itself, on their own grid; membranes and what is not labelled do not count."""
    vis = []
    for example, boundary in zip(examples, maps(model, examples), strict=True):
        found = segment_array(boundary, params).astype(np.int64)
        vis.append(variation_of_information(Contingency.of(found, instances(example.labels))))
    split, merge = (float(np.mean([getattr(v, k) for v in vis])) for k in ("split", "merge"))
    told = {k: getattr(params, k) for k in ("boundary_threshold", "merge_threshold", "min_size")}
    return Measured(split, merge, tuple(v.total for v in vis), told)


def _learnt(name: str, examples: Sequence[Example], seed: int, voxel_nm: tuple[float, float, float]) -> TorchPredictor:
    card = boundary_card(name, voxel_nm)
    samples = EmSamples(examples, card, SOURCE_CROP, SOURCE_BATCH, seed, Augment())
    return nc.run(fit(new_model(card, seed), samples.from_step, SOURCE))


def source(name: str) -> TorchPredictor:
    """The model of a dataset, trained on all of its train part."""
    folder = CACHE / "sources" / name
    with _alone(name):
        if not folder.exists():
            save_model(_learnt(name, sections(name, "train"), 1, DATASETS[name].voxel_nm), folder)
    return torch_model(load_model(folder, backend="torch"))


def source_params(name: str) -> SegmentParams:
    """Thresholds of a source, tuned on six sections of its own train part, the middle 256 x 256 of each."""
    path, model = CACHE / "sources" / f"{name}.json", source(name)
    with _alone(name):
        return SegmentParams(**kept(path, lambda: tuned(model, own_sections(name)).__dict__))


def _alone(name: str) -> FileLock:
    """Other processes that want this source wait until it is made."""
    (CACHE / "sources").mkdir(parents=True, exist_ok=True)
    return FileLock(CACHE / "sources" / f"{name}.lock")


def own_sections(name: str) -> list[Example]:
    """What a source's thresholds are tuned on."""
    whole = sections(name, "train")
    size = min(256, *whole[0].image.shape[1:])
    chosen = [whole[int(i)] for i in np.unique(np.linspace(0, len(whole) - 1, 6).astype(int))]
    return [cut(s, *((n - size) // 2 for n in s.image.shape[1:]), size) for s in chosen]


def for_target(params: SegmentParams, source_name: str, target: str) -> SegmentParams:
    """Those on the target's grid: the least size is an area."""
    if AS_IT_IS in (source_name, target):
        return params
    ratio = DATASETS[source_name].voxel_nm[2] / DATASETS[target].voxel_nm[2]
    return replace(params, min_size=round(params.min_size * ratio**2))


def scenery(name: str, like: str) -> Volume:
    """The unlabelled train part of a dataset, at the voxel size that a model of ``like`` takes it to have."""
    data = DATASETS[name]
    image = _tif("snemi_crop/image.tif")[:20] if name == "mouse-cortex" else data.read("train")[0]
    as_it_is = name != like and AS_IT_IS in (name, like)
    return Volume((Level(image, DATASETS[like].voxel_nm if as_it_is else data.voxel_nm),), name=name)


def common_encoder() -> tuple[TorchEncoder, str]:
    """The shipped feature encoder; without it one trained on all sources' train parts."""
    try:
        return load_encoder(), "the shipped encoder"
    except (ConnectoError, OSError):
        folder = CACHE / "sources" / "encoder"
        if not folder.exists():
            every = [replace(e, voxel_nm=None) for name in NAMES for e in sections(name, "train")]
            save_model(_learnt("encoder", every, 2, (40.0, 8.0, 8.0)), folder)
        return TorchEncoder(load_model(folder, backend="torch")), "an encoder trained on all sources"


def distances(count: int = 200) -> dict[str, Any]:
    """MMD^2 from each target to each source, in one space, at the source's voxel size, with one bandwidth."""
    encoder, told = common_encoder()
    own: dict[str, np.ndarray] = {}

    def features(name: str, like: str) -> np.ndarray:
        card = boundary_card(like, DATASETS[like].voxel_nm)
        return sample_features(scenery(name, like), card, encoder, patches=count, size=SIZE).vectors

    for name in NAMES:
        own[name] = features(name, name)
    out: dict[str, Any] = {
        "encoder": told,
        "digest": encoder.card.digest,
        "counts": {n: len(f) for n, f in own.items()},
    }
    for target in NAMES:
        library = {n: f for n, f in own.items() if n != target}
        width = median_distance(np.concatenate(list(library.values())))
        out[target] = {n: mmd2(features(target, n), f, bandwidth=width) for n, f in library.items()}
    return out


def check_data() -> None:
    """Stop where there are no data."""
    if not DATA.is_dir():
        raise SystemExit("no real data: set NAPARI_CONNECTO_DATA to its folder")
