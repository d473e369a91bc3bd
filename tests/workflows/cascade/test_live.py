"""A search that follows the view gives what a search of that view gives, and leaves it for the search of everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.compute.live.mosaic import Blocks
from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.live import LiveSearch
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect_job
from tests import tiny
from tests.live_parts import watch

VIEW = Box((0, 20, 30), (16, 90, 100))
PARAMS = DetectParams(audit=0, ood_check="off", force_cascade=True, batch=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A volume, and cascades for masks and for centres."""
    folder = tmp_path_factory.mktemp("live")
    path = tiny.volume(folder)
    heads = {head: load_cascade(tiny.cascade(path, folder / head, head), device="cpu") for head in ("masks", "centres")}
    return open_volume(path), heads


def look(volume, cascade, out, *views, blocks=None, params=PARAMS):
    """Look at views one after the other until each is complete; what was derived last, and the work (closed)."""
    work = LiveSearch(volume, cascade, params, out, blocks or Blocks())
    return watch(work, *views), work


def scores_of(work):
    return {name: dict(work.scores(name)) for name in work._steps}


@pytest.mark.parametrize("head", ["masks", "centres"])
def test_a_view_shows_what_a_search_of_it_finds(made, tmp_path, head):
    """Scores of every level, the map, and the objects are those of `detect` of the same region."""
    volume, heads = made
    searched = run(detect_job(volume, heads[head], PARAMS, out=tmp_path / "searched", region=VIEW))
    found, work = look(volume, heads[head], tmp_path / "live", VIEW)
    again = LiveSearch(volume, heads[head], PARAMS, tmp_path / "searched", Blocks())
    assert scores_of(work) == scores_of(again)
    again.close()
    order = np.lexsort(found.objects.centre_nm.T)
    right = np.lexsort(searched.centre_nm.T)
    assert len(found.objects) == len(searched) > 3
    np.testing.assert_array_equal(found.objects.centre_nm[order], searched.centre_nm[right])
    np.testing.assert_array_equal(found.objects.score[order], searched.score[right])
    finest = work.pictures[0].grids[0]
    stored = open_volume(tmp_path / "searched" / "map" / "probability.zarr").levels[0].read(Box.of(finest.shape))
    shown = work.pictures[0].mosaic.read(finest, [np.arange(n) for n in finest.shape])
    for index, score in work.scores("level 0").items():
        own = work._steps["level 0"].plan[index].write.slices
        np.testing.assert_allclose(shown[own] * 255, stored[own] if score >= 0.1 else 0, atol=1e-4)
    if head == "masks":
        ids = work.pictures[1].mosaic.read(finest, [np.arange(n) for n in finest.shape])
        wanted = searched.labels.levels[0].read(Box.of(finest.shape))
        np.testing.assert_array_equal(ids, wanted)


def test_where_nothing_was_computed_nothing_is_shown(made, tmp_path):
    """NaN outside of the chunks that were looked at, and a score on each that was."""
    volume, heads = made
    _, work = look(volume, heads["centres"], tmp_path / "live", Box((0, 0, 0), (1, 20, 20)))
    grid = work.pictures[0].grids[0]
    shown = work.pictures[0].mosaic.read(grid, [np.arange(n) for n in grid.shape])
    seen = np.zeros(grid.shape, bool)
    for name, step in work._steps.items():
        for index in work.scores(name):
            box = step.level.box_in(step.plan[index].write, work._steps["level 0"].level).clip(grid.shape)
            seen[box.slices] = True
    np.testing.assert_array_equal(np.isfinite(shown), seen)
    assert 0 < seen.mean() < 1


def test_coming_back_computes_nothing_and_run_all_fills_the_gaps(made, tmp_path, monkeypatch):
    """A second look at a view, a new look in the same folder, and `detect` of everything call no network for it."""
    volume, heads = made
    cascade = heads["masks"]
    blocks = Blocks()
    look(volume, cascade, tmp_path / "live", VIEW, Box((0, 0, 0), (16, 60, 60)), VIEW, blocks=blocks)
    counted = []
    stage = type(cascade.stages[0])
    call = stage.__call__

    def counting(self, batch, seeds):
        counted.append(len(batch))
        return call(self, batch, seeds)

    monkeypatch.setattr(stage, "__call__", counting)
    _, work = look(volume, cascade, tmp_path / "live", VIEW, blocks=Blocks())
    assert not counted
    known = sum(len(scores) for scores in scores_of(work).values())
    whole = run(detect_job(volume, cascade, PARAMS, out=tmp_path / "live"))
    filled = sum(counted)
    counted.clear()
    fresh = run(detect_job(volume, cascade, PARAMS, out=tmp_path / "fresh"))
    assert sum(counted) - filled == known
    np.testing.assert_array_equal(whole.centre_nm, fresh.centre_nm)
    np.testing.assert_array_equal(whole.score, fresh.score)


def test_another_threshold_computes_nothing(made, tmp_path, monkeypatch):
    """The map is kept; only the objects follow from the threshold."""
    volume, heads = made
    cascade, blocks = heads["masks"], Blocks()
    first, _ = look(volume, cascade, tmp_path / "live", VIEW, blocks=blocks)
    stage = type(cascade.stages[0])
    monkeypatch.setattr(stage, "__call__", lambda *_: pytest.fail("a network was called"))
    params = replace(PARAMS, threshold=0.6)
    again, _ = look(volume, cascade, tmp_path / "live", VIEW, blocks=blocks, params=params)
    monkeypatch.undo()
    right = run(detect_job(volume, cascade, params, out=tmp_path / "searched", region=VIEW))
    assert len(again.objects) == len(right) != len(first.objects)


def test_memory_that_is_full_still_ends(made, tmp_path):
    """With room for a few tiles, the nearest ones are there, none is computed twice, and it comes to rest."""
    volume, heads = made
    blocks = Blocks(limit=2**16)
    look(volume, heads["centres"], tmp_path / "live", Box.of(volume.levels[0].shape), blocks=blocks)
    assert blocks.nbytes <= blocks.limit


def test_objects_outside_of_the_view_are_told_apart(made, tmp_path):
    """`Found.outside` knows the chunks of the view."""
    volume, heads = made
    found, _ = look(volume, heads["centres"], tmp_path / "live", VIEW)
    assert not found.outside(found.objects.centre_nm).any()
    away = np.array(volume.levels[0].shape) * volume.levels[0].voxel_nm - 1.0
    assert found.outside(away[None]).all()


def test_a_volume_that_does_not_fit_is_refused_before_anything_is_written(made, tmp_path):
    volume, heads = made
    wrong = replace(volume, levels=tuple(replace(level, voxel_nm=(9e4, 9e4, 9e4)) for level in volume.levels[:1]))
    with pytest.raises(VoxelSizeError):
        LiveSearch(wrong, heads["masks"], PARAMS, tmp_path / "live", Blocks())
    with JobFolder.open(tmp_path / "live", {"free": True}):
        pass
