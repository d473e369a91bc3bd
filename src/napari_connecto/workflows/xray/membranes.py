"""Uncertain membranes of a translation: each pass of the translator is segmented separately.

The standard deviation of a translation is that of grey values, much of which is fine noise without effect on
membranes. Disagreement of passes (ensemble members, mirror images, dropout) about *membranes* measures that effect
directly. Measured in docs/benchmarks/translate.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.workflows.shared.filling import fill_job, fingerprint, tiles_in
from napari_connecto.workflows.shared.on_grid import part_of
from napari_connecto.workflows.shared.region import inside
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator

PASSES = "passes"
COMBINED: dict[str, Callable[..., np.ndarray]] = {"membrane": np.mean, "membrane_sd": np.std}


@shown
@dataclass(frozen=True)
class Membranes:
    """Membranes found in the passes of a translator.

    Parameters
    ----------
    probability
        Mean over passes of the boundary probability, float32, 0 to 1.
    sd
        Their (population) standard deviation, 0 to 0.5: large where passes disagree whether there is a membrane.
    """

    probability: Volume
    sd: Volume


def membranes(
    volume: Volume,
    translator: Translator,
    segmenter: Predictor,
    params: TranslateParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
) -> Membranes:
    """Find membranes in X-ray, and where the passes of a translator disagree about them.

    Each pass (ensemble member, mirror image, dropout) is translated by itself, and membranes are found in each.

    Parameters
    ----------
    volume, translator, params
        As in `translate`; ``params`` decide what the passes are.
    segmenter
        A boundary model for EM; its first output is used.
    out
        Result folder: ``membrane.zarr`` and ``membrane_sd.zarr``. While it runs, it also holds an image and a map of
        every pass. An unfinished result of the same job is resumed. Default: a temporary folder.
    region
        Part to look at, in voxels of the finest level. Default: all of it.
    client
        A ``distributed.Client``: tiles run on its workers.

    Returns
    -------
    Membranes
        ``probability`` (float32, 0 to 1: mean over passes) and ``sd`` (standard deviation over passes, 0 to 0.5), on
        the segmenter's grid, over the region.

    Raises
    ------
    InputError
        If there is only one pass, which cannot disagree, or the region lies outside.
    VoxelSizeError
        If volume, translator and segmenter do not fit.
    StoreError
        If ``out`` belongs to something else.

    Examples
    --------
    >>> xray = nc.open_sample("xray").levels[0]
    >>> xray = nc.Volume.from_array(xray.read(nc.Box((0, 0, 0), (8, 8, 8))), xray.voxel_nm)
    >>> translator = nc.load_translator(nc.list_translators()["synthetic"], device="cpu", tile=(24, 24, 24))
    >>> segmenter = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> found = nc.membranes(xray, translator, segmenter)
    >>> found.probability.levels[0].shape == found.sd.levels[0].shape
    True
    """
    return run(membranes_job(volume, translator, segmenter, params, out=out, region=region, client=client))


def membranes_job(
    volume: Volume,
    translator: Translator,
    segmenter: Predictor,
    params: TranslateParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
) -> Job[Membranes]:
    """`membranes` as a job: tiles of one pass after the other; the stage says which."""
    predictor = translator.predictor(params)
    looks = predictor.mixture.looks()
    if len(looks) < 2:
        raise InputError(
            f"translator '{translator.name}' makes one pass; two or more are needed to disagree: "
            "use an ensemble, flips or dropout"
        )
    region = inside(volume, region)
    told = fingerprint("membranes", volume, predictor)
    told |= {"segmenter": segmenter.card.digest, "region": [list(region.start), list(region.stop)]}
    with JobFolder.open(result_folder(out), told) as job:
        paths = {name: job.path / f"{name}.zarr" for name in COMBINED}
        if not all(path.exists() for path in paths.values()):
            maps, names = [], [f"pass {k + 1} of {len(looks)}" for k in range(len(looks))]
            phases = Phases({**dict.fromkeys(names, 1), **dict.fromkeys(paths, 0.1)})
            for k, (look, stage) in enumerate(zip(looks, names, strict=True)):
                made = _pass_map(job.path / PASSES / str(k), volume, look, segmenter, region, stage, client)
                maps.append((yield from phases.run(stage, made)))
            for name, path in paths.items():
                yield from phases.run(name, save_volume_job(_combined(maps, name), path, overwrite=True))
        shutil.rmtree(job.path / PASSES, ignore_errors=True)
        found = [replace(open_volume(path), name=name) for name, path in paths.items()]
        return Membranes(*found)


def _pass_map(
    path: Path, volume: Volume, look: Predictor, segmenter: Predictor, region: Box, stage: str, client: Any
) -> Job[Volume]:
    """Membranes of one pass: its image of the region, then what the segmenter says of that."""
    options: dict[str, Any] = {"metadata": {}, "client": client}
    phases = Phases({"image": tiles_in(volume, look, region), "map": tiles_in(volume, segmenter, region)})
    filling = fill_job(path / "image", volume, look, "float32", f"{stage}: translating", region=region, **options)
    image = yield from phases.run("image", filling)
    seen = _part(image.volume("mean"), volume, region)
    filling = fill_job(path / "map", seen, segmenter, "uint8", f"{stage}: membranes", **options)
    boundary = yield from phases.run("map", filling)
    return boundary.volume(segmenter.card.outputs[0].name)


def _part(volume: Volume, of: Volume, region: Box) -> Volume:
    """What covers a region of another volume: brightness is not measured where nothing was translated."""
    level = volume.levels[0]
    box = of.levels[0].box_in(region, level).clip(level.shape)
    return replace(volume, levels=(part_of(level, box),), source="")


def _combined(maps: Sequence[Volume], name: str) -> Volume:
    """One image made of the finest levels of several, read only where asked."""
    first = maps[0].levels[0]
    array = _Combined(first.array, tuple(m.levels[0].array for m in maps[1:]), COMBINED[name])
    return replace(maps[0], levels=(replace(first, array=array),), name=name, source="")


@dataclass(frozen=True)
class _Combined(ChunkWise):
    """A statistic over an array of uint8 probabilities and others like it, float32."""

    others: tuple[Any, ...]
    how: Callable[..., np.ndarray]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        values = np.array([np.asarray(part[key]) for part in (self.array, *self.others)], np.float32) / 255
        return np.asarray(self.how(values, axis=0, dtype=np.float64)).astype(np.float32)
