"""What the benchmark of ranking shares: sources, targets, controls, and what every model answers on each.

Finished cells are kept in ``benchmarks/cache/ranking``; no image and no weights are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from _em_data import DATA, _tif
from _transfer import AS_IT_IS, CACHE, NAMES, kept, scenery, source, source_params
from scipy.ndimage import gaussian_filter
from skimage import data as photos
from skimage.color import rgb2gray

import napari_connecto as nc
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.model import Predictor
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.agreement.answers import Answers, answers_job, between
from napari_connecto.workflows.adapt.agreement.places import Places, draw_places
from napari_connecto.workflows.adapt.domains import load_library
from napari_connecto.workflows.segment.params import SegmentParams

FOLDER = CACHE.parent / "ranking"
SHIPPED = ("fly-medulla", "rat-axons")
"""Sources that ship; they learnt from the first three quarters of the train part."""


def model_of(name: str) -> tuple[Predictor, SegmentParams]:
    """A source and its thresholds: the shipped one, or one trained for the benchmark of transfer."""
    if name in (*SHIPPED, "synthetic-neuropil"):
        domain = load_library()[name]
        known = {k: v for k, v in domain.about["segment"].items() if k not in ("block", "halo")}
        return domain.model(device="cpu"), SegmentParams(**known)
    return source(name), source_params(name)


def looked_at(
    key: str, volume: Volume, names: list[str], count: int, size: int, *, as_it_is: bool = False
) -> dict[str, Any]:
    """Every model's agreement on the places of a volume; as `rank_domains` does, or in pixels where ``as_it_is``."""
    return kept(FOLDER / f"{key}.json", lambda: _look(volume, names, as_it_is, count, size))


def _look(volume: Volume, names: list[str], as_it_is: bool, count: int, size: int) -> dict[str, Any]:
    models = {name: model_of(name) for name in names}
    near = [m.card for n, (m, _) in models.items() if not _apart(volume.name, n)] or [
        replace(models[names[0]][0].card, voxel_nm=volume.levels[0].voxel_nm)
    ]
    places = draw_places(volume, near, count, size)
    found: dict[str, Answers] = {}
    for name, (model, params) in models.items():
        seen, where = (
            (volume, places) if not (as_it_is and _apart(volume.name, name)) else _pixels(volume, places, model)
        )
        try:
            found[name] = nc.run(answers_job(model, seen, where, params))
        except ConnectoError as error:
            print(f"{volume.name}: {name} not compared: {error}", flush=True)
    return {
        "models": list(found),
        "inconsistency": [a.inconsistency.tolist() for a in found.values()],
        "trivial": [list(a.trivial) for a in found.values()],
        "entropy": [a.entropy.tolist() for a in found.values()],
        "between": between(found).tolist() if found else [],
    }


def _apart(target: str, name: str) -> bool:
    return name != target and AS_IT_IS in (target, name) and target in NAMES


def _pixels(volume: Volume, places: Places, model: Predictor) -> tuple[Volume, Places]:
    """Volume and places as if a voxel of the grid had the size of the model's."""
    z, y, x = model.card.voxel_nm
    level = Level(np.asarray(places.grid.read(places.grid.box)), (z, y, x))
    return Volume((level,), name=volume.name), replace(places, grid=level)


def target_volume(name: str) -> Volume:
    """The unlabelled train part of a dataset."""
    return scenery(name, name)


def controls(seed: int) -> Mapping[str, Volume]:
    """Images that no boundary model fits; two sets, one to choose by and one to report on (``seed`` 0 and 1)."""
    rng = np.random.default_rng([seed, 31])
    white = rng.normal(128, 30, (4, 512, 512))
    nm = (40.0, 8.0, 8.0)
    found = {"white noise": _eight(white)}
    for sigma in (2, 4, 8):
        found[f"smooth noise {sigma}"] = _eight(gaussian_filter(white, (0, sigma, sigma)))
    shown = (photos.camera(), photos.coins()) if seed == 0 else (rgb2gray(photos.astronaut()), photos.brick())
    found["photo"] = _eight(shown[0])
    found["texture"] = _eight(shown[1])
    import h5py

    with h5py.File(DATA / "dsb2018_fluorescence/nuclei.h5") as file:
        wide = [k for k in sorted(file) if min(file[k]["image"].shape[:2]) >= 512]
        nuclei = np.asarray(file[wide[seed]]["image"])
    found["fluorescence"] = _eight(nuclei if nuclei.ndim == 2 else nuclei[..., 0])
    cells = _tif("cellfinder_brain/crop/signal.tif")[5 + 15 * seed : 9 + 15 * seed]
    found["light sheet"] = _eight(cells)
    volumes = {name: Volume((Level(array, nm),), name=name) for name, array in found.items()}
    for name in ("fly-medulla", "mouse-ca1") if seed == 0 else ("fly-larva", "mouse-cortex"):
        whole = target_volume(name)
        level = whole.levels[0]
        volumes[f"{name} inverted"] = replace(inverted(whole), name=f"{name} inverted")
        for factor in (4.0, 0.25):
            z, y, x = level.voxel_nm
            off = Level(level.array, (z, y * factor, x * factor))
            volumes[f"{name} voxels x {factor:g}"] = Volume((off,), name=f"{name} voxels x {factor:g}")
    return volumes


def _eight(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, float)
    image = image[None] if image.ndim == 2 else image
    low, high = np.percentile(image, [0.5, 99.5])
    return np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)
