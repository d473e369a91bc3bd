"""Where an answer is wrong: laws on hand-made membranes and masks, and faults that are planted into them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.metrics import auroc
from napari_connecto.workflows.inspect.guard.faults import FAULTS, plant
from napari_connecto.workflows.inspect.guard.harm import FAMILIES, degraded
from napari_connecto.workflows.inspect.guard.truth import judge, objects_of
from napari_connecto.workflows.segment.params import SegmentParams

PARAMS = SegmentParams()


def grid(side: int = 128, cell: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Square cells between membranes of 4 voxels: EM labels, and the right boundary map."""
    rows, columns = np.indices((side, side))
    membrane = (rows % cell < 4) | (columns % cell < 4)
    ids = (rows // cell) * (side // cell) + columns // cell + 3
    return np.where(membrane, 1, ids).astype(np.uint32), membrane.astype(np.float32)


def discs(side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Two discs close to each other: EM labels and the right mask."""
    rows, columns = np.indices((side, side))
    mask = (np.hypot(rows - 40, columns - 40) < 15) | (np.hypot(rows - 40, columns - 74) < 15)
    return np.where(mask, 2, 1).astype(np.uint8), mask.astype(np.float32)


def test_the_right_boundary_has_no_error():
    labels, boundary = grid()
    judged = judge(boundary, labels, "membranes", PARAMS)
    assert not judged.wrong.any()
    assert judged.score == pytest.approx(0, abs=1e-9)


def test_a_merge_is_wrong_where_the_membrane_is_missing_and_nowhere_else():
    labels, boundary = grid()
    boundary[36:64, 60:70] = 0  # the membrane between two cells
    judged = judge(boundary, labels, "membranes", PARAMS)
    assert judged.wrong[45:55, 64:68].all()
    outside = judged.wrong.copy()
    outside[30:70, 55:75] = False
    assert not outside.any()
    assert judged.score == pytest.approx(2 / 16)  # two of sixteen cells cost one bit each


def test_a_split_is_wrong_along_the_false_boundary():
    labels, boundary = grid()
    boundary[36:64, 48:51] = 1
    judged = judge(boundary, labels, "membranes", PARAMS)
    assert judged.wrong[46:54, 49].all()
    assert judged.score > 0
    judged.wrong[32:68, 44:55] = False
    assert not judged.wrong.any()


def test_unlabelled_voxels_are_never_wrong():
    labels, boundary = grid()
    labels[:, 60:70] = 0
    boundary[36:64, 60:70] = 0
    judged = judge(boundary, labels, "membranes", PARAMS)
    assert not judged.wrong[:, 60:70].any()
    assert not judged.known[:, 60:70].any()
    assert np.isnan(judge(boundary, np.zeros_like(labels), "membranes", PARAMS).score)


def test_masks_are_wrong_where_they_differ_and_the_score_is_dice():
    labels, mask = discs()
    wrong = np.zeros_like(mask)
    wrong[30:40, 30:40] = 1
    judged = judge(mask - wrong, labels, "masks", PARAMS)
    assert np.array_equal(judged.wrong, wrong > 0)
    assert judged.score == pytest.approx(2 * (mask.sum() - 100) / (2 * mask.sum() - 100))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["membranes", "masks"])
def test_a_planted_fault_changes_the_answer_there_alone(kind, fault):
    labels, answer = grid() if kind == "membranes" else discs()
    objects = objects_of(labels)
    changed, where = plant(answer, objects, kind, fault, 0.5, np.random.default_rng(1))
    assert where.any()
    differ = np.abs(changed - answer) > 0.05
    rows, columns = np.nonzero(where)
    near = np.zeros(where.shape, bool)
    near[max(0, rows.min() - 4) : rows.max() + 5, max(0, columns.min() - 4) : columns.max() + 5] = True
    assert not differ[~near].any()
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize(("fault", "adds"), [("merge", "merge"), ("split", "split")])
def test_planted_merges_and_splits_are_what_they_say(fault, adds):
    """By the variation of information that they add, over 20 places."""
    labels, boundary = grid()
    rng = np.random.default_rng(2)
    scores = []
    for _ in range(20):
        changed, _ = plant(boundary, objects_of(labels), "membranes", fault, 1.0, rng)
        scores.append(judge(changed, labels, "membranes", PARAMS).score)
    assert np.mean(np.array(scores) > 0) >= 0.9


def test_no_fault_without_a_place_for_it():
    nothing = np.zeros((64, 64), np.float32)
    for fault in ("merge", "split"):
        changed, where = plant(nothing, np.zeros((64, 64), np.uint32), "masks", fault, 1.0, np.random.default_rng(0))
        assert changed is nothing
        assert not where.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_degradation_grows_with_its_strength(family):
    image = np.random.default_rng(0).random((1, 1, 64, 64)).astype(np.float32)
    change = [np.abs(degraded(image, family, s, np.random.default_rng(3)) - image).mean() for s in (0.0, 0.2, 0.5, 1.0)]
    assert change == sorted(change)
    assert change[-1] > 0.1


def test_auroc_counts_pairs_that_are_in_order():
    assert auroc(np.array([1, 2, 3, 4]), np.array([0, 0, 1, 1], bool)) == 1
    assert auroc(np.array([1, 1, 1, 1]), np.array([0, 0, 1, 1], bool)) == 0.5
    assert np.isnan(auroc(np.ones(2), np.ones(2, bool)))
