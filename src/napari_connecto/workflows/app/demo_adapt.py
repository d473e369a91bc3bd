"""Part 2 of the demo: adapt a model to the sample "neuropil", with the ground truth as the annotator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.io import imsave
from skimage.segmentation import find_boundaries

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, named
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.sample_data import open_sample
from napari_connecto.workflows.adapt.em_samples import nearest
from napari_connecto.workflows.adapt.params import FineTuneParams, RankParams, SuggestParams
from napari_connecto.workflows.recipes.entries.adapt import FineTune, Rank, Suggest
from napari_connecto.workflows.recipes.entries.run import Run, Summary
from napari_connecto.workflows.recipes.entries.segment import Segment
from napari_connecto.workflows.recipes.recipe import run_job
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ORANGE = (230, 159, 0)
START = "fly-medulla"
"""A domain of real data: the nearest domain was trained on similar phantoms and would gain little."""
RANK = RankParams(patches=100)
SUGGEST = SuggestParams(pool=60, random_arm=2, size=160)
TUNE = FineTuneParams(preset="standard", steps=60, crop=128, batch=2)
REGION = Box((8, 0, 0), (16, 320, 320))


def adapt_demo_job(out: Path) -> Job[list[str]]:
    """Rank, suggest, annotate, fine-tune, compare and segment into ``out``; returns the lines to print."""
    volume, truth = open_sample("neuropil"), open_sample("neuropil", "neurons")
    image = VolumeSpec(volume.source)
    session, tuned = out / "session", out / "fine-tuned"
    phases = Phases({"rank": 8, "suggest": 18, "fine-tune": 30, "segment": 10})  # seconds on two cores

    def step(run: Run) -> Job[Summary]:
        return phases.run(run.workflow, named(run.workflow, run_job(run)))

    ranking = yield from step(Rank(volume=image, params=RANK, out=str(out / "ranking")))
    lines = ["== adapting a model to the sample 'neuropil' (synthetic) ==", *ranking.lines]
    if not session.exists():
        found = yield from step(Suggest(volume=image, model=START, n=6, params=SUGGEST, out=str(session)))
        lines += [f"suggested with '{START}', which was trained on other data:", *found.lines]
    learnt = yield from step(
        FineTune(
            volume=image,
            model=START,
            session=str(session),
            labels=VolumeSpec(truth.source),
            label_kind="instances",
            params=TUNE,
            out=str(tuned),
        )
    )
    lines += ["fine-tuned on 4 patches labelled with the ground truth:", *learnt.lines]
    pieces = yield from step(Segment(volume=image, model=str(tuned), region=REGION, out=str(out / "segments")))
    picture = out / "neurons.png"
    imsave(picture, draw(volume, open_volume(out / "segments/labels/labels.zarr")), check_contrast=False)
    lines += [f"part of the sample segmented into {pieces.figures['segments']} neurites"]
    lines += [f"picture: {picture}: image and segments; models, session, recipes: {out}"]
    return lines


def draw(volume: Volume, labels: Volume) -> np.ndarray:
    """The middle section of a volume's labelled part: the image beside its coloured segments, RGB uint8."""
    cut, finest = labels.levels[0], volume.levels[0]
    z = cut.shape[0] // 2
    plane = Box((z, 0, 0), (z + 1, *cut.shape[1:]))
    shown = cut.box_in(plane, finest).clip(finest.shape)
    part = Level(finest.read(shown), finest.voxel_nm)
    ids = nearest(cut.read(plane), replace(cut, array=cut.read(plane)), part)[0]
    grey = np.repeat(np.asarray(part.array)[0][..., None], 3, axis=-1)
    colours = np.random.default_rng(0).integers(60, 256, (int(ids.max()) + 1, 3)).astype(float)
    right = (0.5 * grey + 0.5 * colours[ids]).astype(np.uint8)
    right[find_boundaries(ids, mode="inner")] = ORANGE
    return np.concatenate([grey, np.full((grey.shape[0], 8, 3), 255, np.uint8), right], axis=1)
