"""Laws of planning: never dearer than one level by its own figures, and larger tiles change the cost alone."""

from __future__ import annotations

import json
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from napari_connecto.compute.trial import choose_batch
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import Output, Scaling
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.tiles import TilePlan
from napari_connecto.io.disk import read_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.cascade.estimate import estimate
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search import keeping
from napari_connecto.workflows.cascade.search.averaged import Averaged
from napari_connecto.workflows.cascade.search.calls import EachChunk, calls, grouped
from napari_connecto.workflows.cascade.search.detect import detect, with_levels
from napari_connecto.workflows.cascade.search.plan import make_plan
from napari_connecto.workflows.cascade.search.some_maps import some_maps
from napari_connecto.workflows.cascade.search.timed_before import timings_folder
from napari_connecto.workflows.cascade.search.timing import (
    gives_same_answer,
    larger_groups,
    timings_job,
    widened,
)
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import choose_thresholds
from napari_connecto.workflows.cascade.thresholds.prices import ONE, TIMINGS, Price, Timings, calibrated, called
from tests.workflows import fakes

NO_AUDIT = DetectParams(audit=0)


class Elastic(fakes.Blur):
    """`Blur` for any tile."""

    def with_tile(self, tile):
        return Elastic(self.card.voxel_nm, tile, self.card.name)


class Shading(Elastic):
    """Its answer depends on the whole tile, as that of a network with instance norm."""

    def with_tile(self, tile):
        return Shading(self.card.voxel_nm, tile, self.card.name)

    def answer(self, tile):
        return np.clip(tile / (tile.mean() + 1e-6) / 4, 0, 1)


def elastic(cascade, kind=Elastic):
    finest = cascade.stages[0].card
    return replace(cascade, stages=(kind(finest.voxel_nm, finest.tile, "elastic"), *cascade.stages[1:]))


def gridded(tops=(4, 10, 10)):
    """A calibration on a grid: levels of factor 2 along each axis, objects in clusters, scores that tell."""
    rng, grids = np.random.default_rng(0), [tuple(4 * n for n in tops), tuple(2 * n for n in tops), tops]
    truth = np.zeros(grids[0], bool)
    for place in rng.integers(0, grids[0], (12, 3)):
        truth[tuple(slice(a, a + 2) for a in place)] = True
    scores, parents, positive = [], [], truth
    for k, grid in enumerate(grids):
        scores.append(np.where(positive, 0.9, 0.05).ravel() + rng.uniform(0, 0.05, positive.size))
        if k < 2:
            cells = np.unravel_index(np.arange(positive.size), grid)
            parents.append(np.ravel_multi_index(tuple(c // 2 for c in cells), grids[k + 1]))
            z, y, x = grids[k + 1]
            positive = positive.reshape(z, 2, y, 2, x, 2).any(axis=(1, 3, 5))
    objects = np.flatnonzero(truth.ravel())
    return Calibration(tuple(scores), tuple(parents), truth.ravel(), objects, (1.0,) * 3, (8.0, 8.0), grids=grids)


def same(a, b):
    for name in ("centre_nm", "score", "box"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("group", [(1, 1, 1), (1, 2, 2), (2, 4, 4), (3, 1, 5)])
def test_calls_cover_exactly_the_chunks_that_are_wanted(group):
    plan, rng = TilePlan((13, 70, 90), (4, 16, 16), (2, 4, 4)), np.random.default_rng(0)
    wanted = rng.choice(len(plan), 20, replace=False)
    made = list(calls(plan, group, wanted))
    np.testing.assert_array_equal(np.sort(np.concatenate([c.chunks for c in made])), np.sort(wanted))
    wide = grouped(plan, group)
    assert len({c.index for c in made}) == len(made)
    for call in made:
        assert (call.write, call.read) == (wide[call.index].write, wide[call.index].read)
        assert all(plan[i].write.clip(call.write) == plan[i].write for i in call.chunks)
    assert list(calls(plan, group, np.empty(0, np.int64))) == []


@pytest.mark.parametrize("stride", [1, 2])
def test_a_chunk_gets_its_own_part_of_a_call(stride):
    plan = TilePlan((8, 30, 50), (4, 8, 8), (2, 4, 4))
    grid = [np.arange(-n, 2 * n) for n in (8, 30, 50)]
    sums = grid[0][:, None, None] * 1e4 + grid[1][:, None] * 100.0 + grid[2]
    parts = {}
    sink = EachChunk(
        plan, Output("p", (stride,) * 3), lambda chunk, blocks: parts.update({chunk.index: blocks["p"]}) or 0.0
    )
    for call in calls(plan, (2, 2, 4), np.arange(len(plan))):
        own = tuple(
            slice(a + n, b + n, stride) for a, b, n in zip(call.write.start, call.write.stop, plan.shape, strict=True)
        )
        sink(call, {"p": sums[own]})
    for i, part in parts.items():
        box = plan[i].write
        own = tuple(slice(a + n, b + n, stride) for a, b, n in zip(box.start, box.stop, plan.shape, strict=True))
        np.testing.assert_array_equal(part, sums[own])
    assert len(parts) == len(plan)


@pytest.mark.parametrize("params", [NO_AUDIT, DetectParams(exhaustive=True, audit=0), DetectParams(audit=9)])
def test_larger_tiles_leave_detections_the_same(params, tmp_path):
    """By the timings in the folder: single chunks in one, groups of them in the other."""
    volume, found = fakes.pyramid(fakes.spots()), []
    for group in (ONE, (2, 4, 4)):
        out, cascade = tmp_path / str(group[0]), elastic(fakes.cascade())
        detect(volume, cascade, DetectParams(exhaustive=True, audit=0), out=out, region=Box((0, 0, 0), (4, 16, 16)))
        prices = [(Price(ONE, 1.0), Price(group, 0.9, 1, 0.05))] + [(Price(ONE, 0.1),)] * 2
        (out / TIMINGS).write_text(json.dumps(Timings(tuple(prices)).to_json()))
        found.append(detect(volume, cascade, replace(params, force_cascade=not params.exhaustive), out=out))
    same(*found)
    one, wide = (f.report["levels"][-1] for f in found)
    assert one["calls"] == wide["calls"]
    assert [f.report["tiles"]["level 0"] for f in found] == [[4, 16, 16], [8, 64, 64]]
    assert wide["calls_made"] < one["calls_made"]


def test_only_tiles_that_give_the_same_answer_are_used():
    volume = fakes.pyramid(fakes.spots((8, 256, 256), 20), ())
    for kind in (Elastic, Shading):
        stage = elastic(fakes.cascade(factors=()), kind).stages[0]
        for group in ((1, 2, 2), (2, 4, 4)):
            same_answer = gives_same_answer(volume.levels[0], stage, widened(stage, group), Scaling(0, 255))
            assert same_answer == (kind is Elastic)
    for kind in (Shading, fakes.Blur):  # a filter of a fixed tile
        cascade = elastic(fakes.cascade(factors=()), kind)
        (finest,) = run(timings_job(volume, cascade, Scalings(volume))).prices
        assert [price.group for price in finest] == [ONE]
    assert list(larger_groups((1, 64, 64), (1, 3, 1))) == [(1, 2, 1), (1, 3, 1)]


def test_the_same_search_has_the_same_timings_again(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path))
    volume, cascade = fakes.pyramid(fakes.spots((8, 256, 256), 20)), elastic(fakes.cascade())
    first = run(timings_job(volume, cascade, Scalings(volume)))
    assert run(timings_job(volume, elastic(fakes.cascade()), Scalings(volume))) == first
    (kept,) = timings_folder().iterdir()
    kept.write_text("{")  # damaged: measured again
    assert run(timings_job(volume, cascade, Scalings(volume))) == Timings.from_json(read_json(kept), 3) != first
    other = run(timings_job(volume, elastic(fakes.cascade(), Shading), Scalings(volume)))
    assert other not in (first, Timings.from_json(read_json(kept), 3))


@pytest.mark.parametrize("stored", [True, False])
def test_objects_are_timed_on_what_a_search_stores(stored, tmp_path):
    """Stored or averaged from a finer level: maps of some chunks are those that the search keeps of them."""
    whole = fakes.pyramid(fakes.spots((8, 512, 512), 200), ((1, 2, 2),))
    cascade = fakes.cascade(factors=(), voxel_nm=whole.levels[1].voxel_nm)
    volume = with_levels(whole if stored else replace(whole, levels=whole.levels[:1]), cascade)
    stage, level = cascade.stages[0], volume.level_at(cascade.cards[0].voxel_nm)
    assert isinstance(level.array, Averaged) is not stored
    plan = TilePlan(level.shape, stage.card.tile, stage.card.halo)
    scaling = stage.card.normalisation.resolve(volume)
    trial = choose_batch(level, plan, stage, scaling, seconds=0)
    maps = some_maps(volume, stage, scaling, trial)
    detect(volume, cascade, NO_AUDIT, out=tmp_path)
    kept = open_volume(tmp_path / "map" / "probability.zarr").levels[0]
    assert len(maps) == 4
    for one in maps:
        assert any(np.array_equal(one, kept.read(tile.write)) for tile in plan)


def test_objects_that_are_drawn_on_a_finer_grid_are_timed_there():
    """Masks of a level that is not stored are drawn on the image's own grid: what is timed writes that many voxels."""
    volume = fakes.pyramid(fakes.spots((8, 512, 512), 50), ())
    cascade = fakes.cascade(factors=(), voxel_nm=(40.0, 80.0, 80.0))
    volume, drawn = with_levels(volume, cascade), []
    spy = mock.patch.object(keeping, "refined", lambda *given: drawn.append(given[2]) or iter(()))
    with spy:
        run(timings_job(volume, cascade, Scalings(volume)))
    assert drawn
    assert all(one.voxel_nm == volume.levels[0].voxel_nm for one in drawn)


@pytest.mark.parametrize("audit", [0, 30, 10**6])
@pytest.mark.parametrize("cost", [(1.0, 1.0, 1.0), (1.0, 30.0, 300.0), (50.0, 1.0, 1.0)])
def test_a_plan_is_never_dearer_than_the_best_one_level_by_its_own_figures(audit, cost):
    volume = fakes.pyramid(fakes.spots())
    for calibration in (gridded(), replace(gridded(), grids=()), fakes.calibration()):
        cascade = replace(fakes.cascade(), calibration=replace(calibration, cost_s=cost))
        for wide in ((), (Price((2, 2, 2), 2 * cost[0], 1, 1 / 8),), (Price((2, 2, 2), 12 * cost[0], 1, 1 / 8),)):
            known = calibrated(cascade.calibration)
            timings = Timings(((*known[0], *wide), *known[1:]), 0.01, 0.02)
            plan = make_plan(volume, cascade, DetectParams(audit=audit), timings)
            assert sum(plan.seconds.values()) <= plan.exhaustive_s * (1 + 1e-9)
            forced = make_plan(volume, cascade, DetectParams(audit=audit, force_cascade=True), timings)
            assert forced.gated


def test_the_calls_of_larger_tiles_follow_from_where_chunks_lie():
    calibration, group = gridded(), Price((2, 2, 2), 1.0, 1, 1 / 8)
    choice = choose_thresholds(calibration)
    above = calibration.ancestors(np.arange(len(calibration.truth)), 0, 1)
    chunks = calibration.scores[1][above] >= choice.thresholds[1]
    z, y, x = calibration.grids[0]
    expected = chunks.reshape(z // 2, 2, y // 2, 2, x // 2, 2).any(axis=(1, 3, 5)).mean() / 8
    assert called(calibration, 0, group, chunks) == pytest.approx(expected)
    assert called(replace(calibration, grids=()), 0, group, chunks) == pytest.approx(min(chunks.mean(), 1 / 8))
    assert called(calibration, 0, group, np.ones_like(chunks)) == pytest.approx(1 / 8)
    # children of one parent are passed together: one call for eight at the price of two is taken
    prices = ((Price(ONE, 1.0), Price((2, 2, 2), 2.0, 1, 1 / 8)), (Price(ONE, 1.0),), (Price(ONE, 1.0),))
    wide = choose_thresholds(calibration, prices=prices)
    assert wide.ways[0].group == (2, 2, 2)
    assert wide.level_s[0] == pytest.approx(2 * called(calibration, 0, prices[0][1], chunks))
    assert wide.one_level_cost_s == 0.25


def test_no_cascade_runs_one_level_and_finds_the_same():
    volume = fakes.pyramid(fakes.spots())
    asked = detect(volume, fakes.cascade(), DetectParams(exhaustive=True, audit=0))
    found = detect(volume, fakes.cascade(), DetectParams(audit=10**6))
    same(found, asked)
    assert found.report["mode"] == "one level"
    assert found.report["reason"].startswith("No cascade: the fastest cascade that keeps 99.0 % would take")
    assert found.report["audit"]["rejected"] == 0
    both = detect(volume, fakes.cascade(), DetectParams(exhaustive=True, force_cascade=True, audit=0))
    assert both.report["reason"] == "Exhaustive search requested."


def test_an_audit_bound_takes_the_chunks_that_it_needs():
    volume = fakes.pyramid(fakes.spots((12, 140, 180), 4))
    report = detect(volume, fakes.cascade(), DetectParams(audit_bound=0.3, force_cascade=True)).report
    audit = report["audit"]
    assert 0 < audit["sampled"] < audit["rejected"]
    assert audit["near"] <= audit["sampled"] // 10
    assert audit["lost_upper"] <= 0.3
    assert audit["sentence"] in report_lines(report)
    told = estimate(volume, fakes.cascade(), DetectParams(audit=3, force_cascade=True), trial=False).notes
    assert any("5 % takes" in note and "set the audit bound to 0.05" in note for note in told)


def test_the_report_has_predicted_and_measured_seconds_of_every_phase():
    report = detect(fakes.pyramid(fakes.spots()), fakes.cascade(), DetectParams(audit=5, force_cascade=True)).report
    names = ["computing coarse levels", "level 2", "level 1", "level 0", "objects", "audit"]
    assert list(report["phases"]) == names
    calls = sum(report["phases"][name]["seconds"] for name in names if name.startswith(("level", "audit")))
    assert report["seconds"] == pytest.approx(calls)
    told = next(line for line in report_lines(report) if line.startswith("Time:"))
    assert " s expected" in told
    assert told.endswith("search, in tiles of 4x16x16: 90.0 s")
    assert report["exhaustive"]["seconds"] == fakes.grid((12, 70, 90))


def test_timings_are_the_same_after_json_and_damaged_ones_are_refused():
    timings = Timings(((Price(ONE, 0.5, 4), Price((1, 2, 2), 1.5, 1, 0.25)), (Price(ONE, 0.1),)), 0.1, 0.2)
    assert Timings.from_json(timings.to_json(), 2) == timings
    for damage in ({"stages": []}, {"write_s": -1}, {"stages": [[{}], [{}]]}, {"object_s": "x"}):
        with pytest.raises(StoreError, match=r"timings.json is damaged"):
            Timings.from_json({**timings.to_json(), **damage}, 2)


def test_a_calibration_keeps_its_grids():
    calibration = gridded()
    again = Calibration.from_json(calibration.to_json())
    assert again.grids == calibration.grids == ((16, 40, 40), (8, 20, 20), (4, 10, 10))
    with pytest.raises(InputError, match="grids"):
        replace(calibration, grids=((1, 2, 3),) * 3)
