"""Rates measured on labelled blocks, and what they foretell: on filters whose every answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.estimate import estimate
from napari_connecto.workflows.cascade.evaluate import evaluate
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds import calibrate
from napari_connecto.workflows.cascade.thresholds.calibrate import calibrate_job
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.training.examples import from_labels
from tests.workflows import fakes

SHAPE, FACTORS = (8, 128, 128), ((1, 2, 2), (2, 2, 2))


def scene(count=8, seed=2):
    """A pyramid of few spots in one corner, and their masks as labels."""
    rng = np.random.default_rng(seed)
    image = np.zeros(SHAPE, np.float32)
    for place in rng.uniform((2, 6, 6), (6, 58, 122), (count, 3)):
        r2 = sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(SHAPE), place, (1.5, 4, 4), strict=True))
        image = np.maximum(image, 255 * np.exp(-r2 / 2))
    image = np.rint(image).astype(np.uint8)
    labels = Volume.from_array((fakes.dense(image) >= 128).astype(np.uint8), fakes.NM, kind="labels")
    return fakes.pyramid(image, FACTORS), image, labels


@pytest.fixture(scope="module")
def measured():
    volume, image, labels = scene()
    examples, cascade = from_labels(labels, "masks"), fakes.cascade(factors=FACTORS)
    calibration, rule = run(calibrate_job(volume, examples, Box.of(SHAPE), cascade.stages, cascade.rule))
    return volume, image, examples, calibration, Cascade("measured", cascade.stages, rule, calibration)


def tiles_of(array, tile=fakes.TILE):
    """Array cut into tiles: (tiles, voxels), in the plan's order; the shape is a multiple of the tile."""
    z, y, x = (n // t for n, t in zip(array.shape, tile, strict=True))
    return array.reshape(z, tile[0], y, tile[1], x, tile[2]).transpose(0, 2, 4, 1, 3, 5).reshape(z * y * x, -1)


def test_scores_truth_and_objects_are_those_of_the_whole_volume(measured):
    _, image, examples, calibration, _ = measured
    scores = tiles_of(fakes.dense(image)).max(axis=1) / 255
    np.testing.assert_allclose(calibration.scores[0], scores, atol=1e-7)
    truth = tiles_of(np.asarray(examples.target.array)).max(axis=1) > 0
    np.testing.assert_array_equal(calibration.truth, truth)
    assert [len(s) for s in calibration.scores] == [2 * 8 * 8, 2 * 4 * 4, 1 * 2 * 2]
    at = np.floor(examples.target.to_voxels(examples.centres_nm)).astype(int) // fakes.TILE
    np.testing.assert_array_equal(np.sort(calibration.objects), np.sort(np.ravel_multi_index(tuple(at.T), (2, 8, 8))))
    assert calibration.branching == (4.0, 8.0)
    assert all(cost > 0 for cost in calibration.cost_s)


def test_every_chunk_lies_in_its_parent(measured):
    *_, calibration, _ = measured
    z, y, x = np.unravel_index(np.arange(128), (2, 8, 8))
    np.testing.assert_array_equal(calibration.parents[0], np.ravel_multi_index((z, y // 2, x // 2), (2, 4, 4)))
    z, y, x = np.unravel_index(np.arange(32), (2, 4, 4))
    np.testing.assert_array_equal(calibration.parents[1], np.ravel_multi_index((z // 2, y // 2, x // 2), (1, 2, 2)))


def test_the_threshold_is_one_that_finds_all_objects(measured):
    volume, _, _, _, cascade = measured
    found = detect(volume, cascade, DetectParams(exhaustive=True, audit=0))
    accuracy = evaluate(found, scene()[2])
    assert accuracy.objects.f1 == 1.0
    assert str(accuracy).startswith("F1 1.000 (precision 1.000, recall 1.000 of ")


def test_it_is_the_same_after_json(measured):
    *_, calibration, _ = measured
    again = Calibration.from_json(calibration.to_json())
    for a, b in zip(again.scores, calibration.scores, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.truth, calibration.truth)
    np.testing.assert_array_equal(again.objects, calibration.objects)
    assert (again.cost_s, again.branching) == (calibration.cost_s, calibration.branching)


def test_a_part_of_the_volume_is_measured_as_the_whole_is():
    volume, image, labels = scene()
    cascade, block = fakes.cascade(factors=FACTORS), Box((0, 32, 64), (8, 96, 128))
    calibration, _ = run(calibrate_job(volume, from_labels(labels, "masks"), block, cascade.stages, cascade.rule))
    whole = tiles_of(fakes.dense(image)).max(axis=1).reshape(2, 8, 8) / 255
    np.testing.assert_allclose(calibration.scores[0].reshape(2, 4, 4), whole[:, 2:6, 4:], atol=1e-7)


def test_estimated_calls_are_the_measured_ones(measured):
    volume, *_, cascade = measured
    costs = tuple(0.1**k for k in range(len(cascade.stages)))  # measured ones differ from run to run, and so may plans
    cascade = replace(cascade, calibration=replace(cascade.calibration, cost_s=costs))
    plan = estimate(volume, cascade, DetectParams(audit=5, force_cascade=True), trial=False)
    found = detect(volume, cascade, DetectParams(audit=5, force_cascade=True))
    used = found.report["levels"]
    assert [level.name for level in plan.levels] == [level["name"] for level in used]
    for expected, got in zip(plan.levels, used, strict=True):
        assert expected.calls == pytest.approx(got["calls"])
        assert got["calls_predicted"] == pytest.approx(got["calls"])
    assert len(used) > 1
    stages = [int(level.name[-1]) for level in plan.levels]
    audit = found.report["audit"]["sampled"] * costs[0]
    assert plan.seconds == pytest.approx(
        sum(level.calls * costs[k] for level, k in zip(plan.levels, stages, strict=True)) + audit
    )
    assert plan.seconds_exhaustive == pytest.approx(128 * costs[0])
    assert plan.fits
    assert any("in all; the best" in line for line in plan.lines())


def test_an_estimate_of_everything_and_of_a_region():
    volume, _, _ = scene()
    everything = estimate(volume, fakes.cascade(factors=FACTORS), DetectParams(exhaustive=True), trial=False)
    (only,) = everything.levels
    assert (only.name, only.calls, only.share) == ("level 0", 128.0, 1.0)
    assert everything.seconds == everything.seconds_exhaustive == 128.0
    some = estimate(
        volume,
        fakes.cascade(factors=FACTORS),
        DetectParams(exhaustive=True),
        region=Box((0, 0, 0), (4, 32, 33)),
        trial=False,
    )
    assert some.levels[0].calls == 1 * 2 * 3


def test_a_disk_too_small_is_said(monkeypatch):
    volume, _, _ = scene()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    plan = estimate(volume, fakes.cascade(factors=FACTORS), trial=False, out="somewhere/new")
    assert not plan.fits
    assert "choose another folder" in plan.notes[0]


def test_labels_may_cover_a_part_of_the_volume():
    volume, image, _ = scene()
    part = (fakes.dense(image)[:, :64] >= 128).astype(np.uint8)
    labels = Volume((Level(part, fakes.NM),), kind="labels")
    cascade = fakes.cascade(factors=FACTORS)
    examples = from_labels(labels, "masks")
    calibration, _ = run(calibrate_job(volume, examples, Box.of(part.shape), cascade.stages, cascade.rule))
    assert [len(s) for s in calibration.scores] == [2 * 4 * 8, 2 * 2 * 4, 1 * 1 * 2]


@pytest.mark.parametrize(("worths", "expected"), [((1.7, 1.71, 1.715), 0.5), ((1.5, 1.6, 1.7), 0.8), ((1, 1, 1), 0.5)])
def test_of_thresholds_equal_but_for_chance_the_one_nearest_to_a_half_is_taken(worths, expected):
    rules = [ObjectRule("masks", threshold, 100.0) for threshold in (0.5, 0.65, 0.8)]
    chosen, value = calibrate._best(rules, dict(zip(rules, worths, strict=True)).__getitem__, 0.5, 0.02)
    assert (chosen.threshold, value) == (expected, worths[rules.index(chosen)])
    again, _ = calibrate._best(rules, lambda rule: 1.0, 0.8, 0.02)
    assert again.threshold == 0.8, "a retrained cascade keeps its own"


@pytest.mark.parametrize(("labelled", "expected"), [(2, 0.5), (24, 0.75)])
def test_few_objects_do_not_move_the_threshold(labelled, expected):
    """One false detection beside two objects is chance; twelve beside twenty-four are none."""
    y, x = np.indices((144, 144))
    spots = [(12 + 24 * (k // 6), 12 + 24 * (k % 6)) for k in range(labelled * 3 // 2)]
    disks = [(y - row) ** 2 + (x - column) ** 2 < 30 for row, column in spots]
    truth = np.any(disks[:labelled], axis=0).astype(np.uint8)[None]
    field = np.maximum(truth * 255, np.any(disks[labelled:], axis=0).astype(np.uint8)[None] * 180)
    examples = from_labels(Volume.from_array(truth, (1.0, 1.0, 1.0), kind="labels"), "masks")
    grid = calibrate.BlockGrid(examples.target, examples.target.box, TilePlan(truth.shape, (1, 48, 48)))
    rule = ObjectRule("masks", 0.5, 12.0, 5, flat=True)
    chosen, _, _ = calibrate.best_rule(grid, field, rule, examples.centres_nm, examples, prefer=False)
    assert chosen.threshold == expected


@pytest.mark.parametrize(("specks_are_objects", "expected"), [(False, 10), (True, 5)])
def test_specks_are_dropped_where_no_labelled_object_is_as_small(specks_are_objects, expected):
    disks, specks = np.zeros((1, 128, 128), bool), np.zeros((1, 128, 128), bool)
    y, x = np.indices((128, 128))
    for row in range(8, 128, 24):
        for column in range(8, 128, 24):
            disks[0] |= (y - row) ** 2 + (x - column) ** 2 < 30
            specks[0, row + 11 : row + 13, column + 11 : column + 14] = True
    labelled = disks | specks if specks_are_objects else disks
    examples = from_labels(Volume.from_array(labelled.astype(np.uint8), (1.0, 1.0, 1.0), kind="labels"), "masks")
    level = examples.target
    grid = calibrate.BlockGrid(level, level.box, TilePlan(level.shape, (1, 32, 32)))
    field = (disks | specks).astype(np.uint8) * np.uint8(255)
    rule = ObjectRule("masks", 0.5, 12.0, 5, flat=True)
    chosen, held_out, _ = calibrate.best_rule(grid, field, rule, examples.centres_nm, examples, prefer=False)
    assert (chosen.min_voxels, held_out.found.all()) == (expected, True)


def test_objects_are_extracted_at_the_thresholds_of_highest_dice_alone(measured, monkeypatch):
    volume, image, examples, _, cascade = measured
    level = volume.levels[0]
    grid = calibrate.BlockGrid(level, level.box, TilePlan(level.shape, fakes.TILE))
    dice = calibrate.dice_at(grid, fakes.dense(image), examples, calibrate.CANDIDATES)
    tried, find = set(), calibrate.find_objects

    def recording(field, plan, tiles, rule):
        tried.add(rule.threshold)
        return find(field, plan, tiles, rule)

    monkeypatch.setattr(calibrate, "find_objects", recording)
    calibrate.best_rule(grid, fakes.dense(image), cascade.rule, examples.centres_nm, examples, prefer=False, most=3)
    best = np.argsort(-dice, kind="stable")[:3]
    assert tried == {calibrate.CANDIDATES[k] for k in best}


@pytest.mark.parametrize("head", ["masks", "centres"])
def test_scores_fall_where_the_threshold_leaves_out_what_is_no_object(head):
    """All detections are objects, and all that lies just below the threshold is not: scores say so on both sides."""
    field = np.zeros((1, 128, 128), np.uint8)
    labels = np.zeros(field.shape, np.uint8)
    for n, (y, x) in enumerate((y, x) for y in range(8, 128, 16) for x in range(8, 128, 16)):
        here = (0, slice(y - 2, y + 3), slice(x - 2, x + 3))
        field[here] = (60 + n if n % 2 else 140 + n) if head == "masks" else 0
        field[0, y, x] = 60 + n if n % 2 else 140 + n
        labels[here] = 0 if n % 2 else 255
    examples = from_labels(Volume.from_array((labels > 0).astype(np.uint8), fakes.NM, kind="labels"), head)
    grid = calibrate.BlockGrid(Level(field, fakes.NM), Box.of(field.shape), TilePlan(field.shape, (1, 64, 64)))
    rule = ObjectRule(head, 0.5, examples.diameter_nm, min_voxels=4)
    held_out, curve = calibrate.held_out_of(grid, field, rule, examples.centres_nm, examples)
    assert (held_out.counts.tp, held_out.counts.fp, curve.detections) == (32, 0, 64)
    assert curve(np.array([70 / 255]))[0] < 0.1
    assert 0.2 < curve(np.array([0.5]))[0] < 0.9
    assert curve(np.array([180 / 255]))[0] > 0.95
