"""Where labels are not complete: unlabelled voxels are background inside a reviewed region, unknown outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.thresholds.calibrate import calibrate_job
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import choose_thresholds
from napari_connecto.workflows.cascade.training.examples import from_labels, from_places
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.training.train import train_cascade, train_cascade_job
from napari_connecto.workflows.cascade.training.unlabelled import Unlabelled, inside, isolated_sections
from tests.workflows import fakes
from tests.workflows.cascade.test_reviewed import GRID, NM, SHAPE, spots

LEFT = Box((0, 0, 0), (1, 96, 64))
"""Half of the twelve places."""
COARSE = Level(np.zeros((1, 24, 32), np.uint8), (100.0, 400.0, 400.0))


def some(boxes=(LEFT,), **more):
    return from_labels(spots(), "masks", unlabelled=Unlabelled(reviewed=tuple(boxes), **more))


def test_inside_a_reviewed_region_everything_is_known_and_outside_only_the_objects():
    examples = some()
    there = spots().levels[0].array > 0
    np.testing.assert_array_equal(examples.known, inside([LEFT], SHAPE) | there)
    assert len(examples.centres_nm) == 12  # objects outside teach, too
    assert "Background: the reviewed region (1 box)" in examples.told


def test_a_region_over_everything_is_dense():
    dense, whole = from_labels(spots(), "masks"), some([Box((-5, 0, 0), (9, 99, 999))])
    assert whole.known is dense.known is None
    assert whole.told == dense.told == ""
    np.testing.assert_array_equal(whole.target.array, dense.target.array)


@given(st.lists(st.tuples(*[st.integers(-3, 12)] * 6), min_size=1, max_size=4), st.randoms())
@settings(max_examples=20, deadline=None)
def test_order_repetition_and_overlap_of_boxes_change_nothing(numbers, random):
    boxes = [Box.from_row(row) for row in numbers]
    boxes = [box for box in boxes if box.clip((9, 9, 9)).size]
    known, index = inside(boxes, (9, 9, 9)), np.moveaxis(np.indices((9, 9, 9)), 0, -1)
    again = [*boxes, *boxes]
    random.shuffle(again)
    np.testing.assert_array_equal(inside(again, (9, 9, 9)), known)
    within = [((index >= box.start) & (index < box.stop)).all(axis=-1) for box in boxes]
    np.testing.assert_array_equal(known, np.any([np.zeros((9, 9, 9), bool), *within], axis=0))


def test_a_box_outside_of_the_labels_is_refused():
    with pytest.raises(InputError, match="the reviewed region 0 0 200 1 9 209 lies outside the labels of"):
        some([LEFT, Box((0, 0, 200), (1, 9, 209))])
    with pytest.raises(InputError, match="outside a reviewed region voxels are unknown; set Unlabelled to auto"):
        some(choice="background")
    with pytest.raises(InputError, match="reviewed boxes go with labels"):
        run(train_cascade_job(Volume((COARSE,)), some(), reviewed=(LEFT,)))


def test_a_coarse_voxel_that_is_unknown_in_part_is_no_background():
    """Outside the region a coarse voxel counts where most of it is object, not where a corner of an object is in it."""
    examples = some()
    share, _ = examples.share_on(COARSE)
    known = examples.known_on(COARSE, share)
    outside = np.arange(32)[None, None, :] >= 16
    np.testing.assert_array_equal(known & outside, (share >= 128) & outside)
    assert (known | outside).all()
    target, _ = examples.on(COARSE)
    np.testing.assert_array_equal(examples.known_on(COARSE, target) & outside, (target > 0) & outside)


def test_background_and_objects_have_labels_of_their_own():
    given = np.ones(SHAPE, np.uint8)
    given[spots().levels[0].array > 0] = 2
    given[:, 48:] = 0
    given[:, :4] = 4
    examples = from_labels(Volume((Level(given, NM),)), "masks", unlabelled=Unlabelled(background=1, objects=2))
    np.testing.assert_array_equal(examples.known, (given == 1) | (given == 2))
    np.testing.assert_array_equal(examples.present, given == 2)
    assert "label 1" in examples.told
    dense = from_labels(
        Volume((Level(given, NM),)), "masks", unlabelled=Unlabelled("background", background=1, objects=2)
    )
    assert dense.known is None
    with pytest.raises(InputError, match="the labels hold no label 7"):
        from_labels(Volume((Level(given, NM),)), "masks", unlabelled=Unlabelled(objects=7))


def sections(labelled, n=40, each=6):
    out = np.zeros((n, 32, 32), np.uint16)
    for z in labelled:
        for k in range(each):
            out[z, 2 + 10 * (k // 3) : 6 + 10 * (k // 3), 2 + 10 * (k % 3) : 6 + 10 * (k % 3)] = 10 * z + k + 1
    return out


def test_only_isolated_sections_with_many_objects_are_taken_for_the_labelled_ones():
    assert isolated_sections(sections([3, 17, 30])).tolist() == [3, 17, 30]
    assert isolated_sections(sections([9])).tolist() == [9]
    assert not len(isolated_sections(sections([3, 4, 17])))  # neighbours: objects, or sections labelled in a row
    assert not len(isolated_sections(sections([3, 17, 30], each=1)))  # three objects may lie in any three sections
    assert not len(isolated_sections(sections(range(0, 40, 2), each=1)))
    assert not len(isolated_sections(sections([0], n=1)))


@pytest.mark.parametrize(
    ("choice", "known", "said"),
    [
        ("auto", [3, 17], "2 of 40 sections are labelled; the others are treated as unknown. Set Unlabelled to backg"),
        ("background", None, "2 of 40 sections are labelled; the others count as background. Set Unlabelled to unkn"),
    ],
)
def test_sections_that_nobody_labelled_are_unknown_and_that_is_said(choice, known, said):
    volume = Volume((Level(sections([3, 17]), NM),))
    examples = from_labels(volume, "masks", unlabelled=Unlabelled(choice))
    if known is None:
        assert examples.known is None
    else:
        assert np.flatnonzero(examples.known.all(axis=(1, 2))).tolist() == known
        assert np.flatnonzero(examples.known.any(axis=(1, 2))).tolist() == known
    assert examples.told.startswith(said)


def test_points_teach_background_inside_the_region_only():
    like, places = spots().levels[0], Places(GRID, np.full(12, "accepted"), reviewed=False)
    examples = from_places(places, 1200.0, like, sparse=False, reviewed=(LEFT,))
    np.testing.assert_array_equal(examples.known, inside([LEFT], SHAPE) | examples.present)
    assert len(examples.centres_nm) == 12
    assert from_places(places, 1200.0, like, sparse=False, reviewed=(Box.of(SHAPE),)).known is None


def test_a_review_keeps_its_verdicts_in_a_reviewed_region():
    """Rejected places are background outside the region too; new ones stay unknown inside it."""
    status = np.full(12, "accepted")
    status[[0, 3]] = "new", "rejected"
    unlabelled = Unlabelled("unknown", (LEFT,))
    examples = from_labels(spots(), "masks", sparse=True, review=Places(GRID, status), unlabelled=unlabelled)
    ids = spots().levels[0].array
    assert not examples.known[ids == 1].any()
    assert examples.known[ids == 4].all()
    assert not examples.present[ids == 4].any()


@pytest.fixture(scope="module")
def measured():
    """The twelve spots are found; the region holds those of the left half, of which one is not labelled."""
    image = np.where(spots(fakes.NM).levels[0].array > 0, 255, 0).astype(np.uint8)
    labels = spots(fakes.NM).levels[0].array.copy()
    labels[np.isin(labels, [1, 3, 7])] = 0  # one in the region, two outside
    volume, cascade = fakes.pyramid(image, ()), fakes.cascade(factors=())
    examples = from_labels(Volume((Level(labels, fakes.NM),)), "masks", unlabelled=Unlabelled(reviewed=(LEFT,)))
    job = calibrate_job(volume, examples, Box.of(SHAPE), cascade.stages, cascade.rule)
    return examples, run(job)[0]


def test_what_is_found_outside_the_region_is_not_false(measured):
    _, calibration = measured
    held_out = calibration.held_out
    assert (int(held_out.found.sum()), len(held_out.found), held_out.false) == (9, 9, 1)
    assert not held_out.complete


def test_chunks_that_are_not_labelled_throughout_are_not_empty(measured):
    examples, calibration = measured
    empty = calibration.chunk_empty(0)
    assert empty.any()
    assert not (empty & calibration.truth).any()
    plan = [(y, x) for y in range(6) for x in range(8)]
    for is_empty, (y, x) in zip(empty, plan, strict=True):
        part = np.s_[:, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
        assert is_empty == (examples.known[part].all() and not examples.present[part].any())


def test_unknown_chunks_change_no_false_positive_rate(measured):
    """Whatever the scores of chunks of which nothing is known: rates and threshold are those of the others."""
    _, calibration = measured
    unknown = ~(calibration.chunk_empty(0) | calibration.truth)
    assert unknown.any()
    rates = set()
    for score in (0.0, 1.0):
        scores = np.where(unknown, np.float32(score), calibration.scores[0])
        choice = choose_thresholds(replace(calibration, scores=(scores,)))
        rates.add((choice.fpr, choice.rates[0].fpr, choice.rates[0].prevalence, choice.thresholds))
    assert len(rates) == 1
    again = Calibration.from_json(calibration.to_json())
    np.testing.assert_array_equal(again.judged, calibration.judged)


@pytest.mark.slow
def test_training_takes_the_region_and_tells_it():
    rng = np.random.default_rng(0)
    ids = spots().levels[0].array
    image = np.where(ids > 0, 200, 60) + rng.normal(0, 5, SHAPE)
    volume, labels = (Volume((Level(a, (20.0, 20.0, 20.0)),)) for a in (image.astype(np.uint8), ids))
    params = TrainParams(steps=3, width=2, batch=1, levels=1)
    some = train_cascade(volume, labels, params, reviewed=[LEFT])
    assert some.metadata["unlabelled"].startswith("Background: the reviewed region")
    assert some.calibration.judged is not None
    dense, whole = (train_cascade(volume, labels, params, reviewed=boxes) for boxes in ((), [Box.of(SHAPE)]))
    assert "unlabelled" not in dense.metadata
    np.testing.assert_array_equal(dense.calibration.scores[0], whole.calibration.scores[0])
