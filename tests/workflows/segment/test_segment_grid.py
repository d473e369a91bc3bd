"""In which mode, and on which grid a volume is segmented where nobody said: as its voxels suggest, and on its own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.em_samples import nearest
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.estimate import estimate_segment
from napari_connecto.workflows.segment.mode import mode_of
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment, segment_job
from napari_connecto.workflows.segment.tune import tune_segmentation
from tests.workflows.segment.test_segment import agree, cells, stored


@pytest.mark.parametrize(
    ("voxel", "shape", "mode", "why"),
    [
        ((10, 10, 10), (8, 64, 64), "3d", "1 times as deep as wide"),
        ((30, 10, 10), (8, 64, 64), "3d", "3 times as deep"),
        ((31, 10, 10), (8, 64, 64), "2d-linked", "3.1 times as deep as wide (3d up to 3)"),
        ((50, 4, 4), (8, 64, 64), "2d-linked", "12 times"),
        ((5, 10, 10), (8, 64, 64), "3d", "0.5 times"),
        ((10, 10, 10), (1, 64, 64), "2d", "there is one section"),
    ],
)
def test_the_mode_follows_from_the_shape_of_voxels(voxel, shape, mode, why):
    found, reason = mode_of(SegmentParams(), shape, voxel)
    assert found == mode
    assert why in reason
    assert mode_of(SegmentParams(mode="2d"), shape, voxel) == ("2d", "mode 2d, as requested")
    assert "as far as is known" in mode_of(SegmentParams(), (2, 8, 8), voxel, calibrated=False)[1]


def test_isotropic_voxels_are_cut_in_3d_and_deep_ones_are_linked(tmp_path):
    boundary, truth = cells()
    for voxel, mode in (((10.0, 10.0, 10.0), "3d"), ((40.0, 10.0, 10.0), "2d-linked")):
        volume = Volume.from_array(boundary, voxel)
        found = segment(volume, out=tmp_path / mode)
        assert found.metadata["mode"] == mode
        assert mode in found.metadata["reason"]
        told = json.loads((tmp_path / mode / "segments.json").read_text())
        assert (told["mode"], told["reason"]) == (mode, found.metadata["reason"])
        np.testing.assert_array_equal(stored(found), stored(segment(volume, SegmentParams(mode=mode))))
        np.testing.assert_array_equal(
            segment_array(boundary, SegmentParams(), voxel), segment_array(boundary, SegmentParams(mode=mode), voxel)
        )
        assert estimate_segment(volume).mode == mode
    whole = variation_of_information(segment_array(boundary, SegmentParams()), truth).total
    linked = variation_of_information(segment_array(boundary, SegmentParams(mode="2d-linked")), truth).total
    assert whole < 0.5 * linked


@pytest.mark.slow
def test_thresholds_are_tuned_in_the_mode_that_will_run():
    boundary, truth = cells((10, 40, 40))
    tables = [
        tune_segmentation(boundary, truth + 2, SegmentParams(mode=mode), voxel_nm=(10, 10, 10)).table["total"]
        for mode in ("auto", "3d", "2d-linked")
    ]
    np.testing.assert_array_equal(*tables[:2])
    assert (tables[0] != tables[2]).any()


def test_a_volume_without_a_voxel_size_goes_by_the_ratios_it_has():
    level = Level(cells((12, 46, 52))[0], (1.0, 1.0, 1.0))
    found = segment(Volume((level,), calibrated=False))
    assert found.metadata["mode"] == "3d"
    assert "as far as is known" in found.metadata["reason"]


def test_a_folder_of_before_there_was_a_choice_is_resumed(tmp_path):
    volume = Volume.from_array(cells((4, 46, 52), flat=True)[0], (40.0, 8.0, 8.0))
    segment(volume, SegmentParams(mode="2d-linked"), out=tmp_path)
    told = json.loads((tmp_path / "job.json").read_text())
    assert "grid" not in json.dumps(told)
    summary = json.loads((tmp_path / "segments.json").read_text())
    for name in ("mode", "reason"):
        del summary[name]
    (tmp_path / "segments.json").write_text(json.dumps(summary))
    reports = []
    again = run(segment_job(volume, out=tmp_path), reports.append)
    assert all(report.overall == 1 for report in reports)  # nothing was left to do
    assert again.metadata["mode"] == "2d-linked"


class Walls:
    """Calls dark boundary, at voxels of its own."""

    def __init__(self, voxel_nm, tile=(1, 32, 32)):
        kind = Normalisation("range")
        self.card = ModelCard(
            "walls", "boundary", voxel_nm, tile, (0, 0, 0), (Output("boundary"),), normalisation=kind, digest="walls"
        )

    def __call__(self, batch, seeds):
        return {"boundary": 1 - batch[:, 0]}


def image(voxel=(40.0, 8.0, 8.0), shape=(4, 60, 70), *, flat=True):
    boundary, truth = cells(shape, flat=flat)
    return Volume((Level(np.rint((1 - boundary) * 255).astype(np.uint8), voxel, (80.0, 40.0, 16.0)),)), truth


SMALL = {"block": (4, 32, 32), "halo": (0, 12, 12), "min_size": 10}


@pytest.mark.parametrize("nm", [6.9, 13.0])
def test_labels_are_on_the_images_own_grid(nm, tmp_path):
    volume, truth = image()
    model = Walls((40.0, nm, nm))
    found = segment(volume, SegmentParams(**SMALL), model=model, out=tmp_path / "own")
    level, finest = found.levels[0], volume.levels[0]
    assert (level.shape, level.voxel_nm, level.origin_nm) == (finest.shape, finest.voxel_nm, finest.origin_nm)
    assert stored(found).min() >= 1
    other = segment(volume, SegmentParams(**SMALL, grid="model"), model=model, out=tmp_path / "model")
    assert other.levels[0].voxel_nm == (40.0, nm, nm)
    np.testing.assert_array_equal(stored(found), nearest(stored(other), other.levels[0], finest))
    assert found.metadata["segments"] == other.metadata["segments"]
    clear = finest.array > 250
    assert variation_of_information(stored(found)[clear], truth[clear]).total < 0.1
    estimate = estimate_segment(volume, SegmentParams(**SMALL), model=model)
    assert (estimate.labels, estimate.shape) == (finest.shape, other.levels[0].shape)
    assert "labels on the image's own grid: 4 x 60 x 70 voxels" in list(estimate.lines())
    with pytest.raises(StoreError, match="holds another job"):
        segment(volume, SegmentParams(**SMALL), model=model, out=tmp_path / "model")


def test_a_region_is_labelled_in_its_own_shape_and_place_with_what_a_whole_run_says(tmp_path):
    volume, _ = image()
    model, region = Walls((40.0, 11.0, 11.0)), Box((1, 3, 2), (3, 57, 66))
    part = segment(volume, SegmentParams(**SMALL), model=model, region=region)
    assert part.levels[0].shape == region.shape
    assert part.levels[0].origin_nm == tuple(volume.levels[0].to_nm(region.start))
    clear = volume.levels[0].array[region.slices] > 250
    assert agree(
        stored(part)[:, 16:-16, 16:-16][clear[:, 16:-16, 16:-16]],
        _inner(segment(volume, SegmentParams(**SMALL), model=model), region, clear),
    )


def _inner(whole, region, clear):
    return stored(whole)[region.slices][:, 16:-16, 16:-16][clear[:, 16:-16, 16:-16]]


@pytest.mark.parametrize("steps", [6, 20, 28])
def test_closed_at_any_step_and_resumed_on_the_images_grid(tmp_path, steps):
    volume, _ = image()
    params, model = SegmentParams(**SMALL), Walls((40.0, 11.0, 11.0))
    whole = segment(volume, params, model=model, out=tmp_path / "whole")
    job = segment_job(volume, params, model=model, out=tmp_path / "cut")
    for _ in range(steps):
        next(job)
    job.close()
    resumed = segment(volume, params, model=model, out=tmp_path / "cut")
    np.testing.assert_array_equal(stored(resumed), stored(whole))
    assert resumed.metadata["segments"] == whole.metadata["segments"]


def test_a_pyramid_is_labelled_on_the_level_that_was_read():
    volume, _ = image((40.0, 4.0, 4.0), (4, 120, 140))
    coarse = volume.levels[0].array[:, ::2, ::2]
    pyramid = Volume((volume.levels[0], Level(coarse, (40.0, 8.0, 8.0), volume.levels[0].origin_nm)))
    exact = segment(pyramid, SegmentParams(**SMALL), model=Walls((40.0, 8.0, 8.0)))
    assert exact.levels[0].shape == (4, 60, 70)
    near = segment(pyramid, SegmentParams(**SMALL), model=Walls((40.0, 9.5, 9.5)))
    assert (near.levels[0].shape, near.levels[0].voxel_nm) == ((4, 60, 70), (40.0, 8.0, 8.0))
