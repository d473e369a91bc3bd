"""Verdicts on detections: no Qt, no viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.widgets._cascade_review import ACCEPTED, NEW, REJECTED, Review
from napari_connecto.workflows.detections import Detections


def found(*scores, shift=0.0):
    n = len(scores)
    centre = np.arange(n, dtype=float)[:, None] * [[100.0, 10.0, 10.0]] + shift
    return Detections(centre, np.array(scores), np.tile([0, 0, 0, 2, 4, 4], (n, 1)), np.arange(n))


def test_next_goes_by_score_and_round():
    review = Review(found(0.5, 0.9, 0.7))
    assert [review.step(1) for _ in range(4)] == [1, 2, 0, 1]
    assert review.step(-1) == 0


def test_next_skips_what_is_below_the_threshold():
    review = Review(found(0.5, 0.9, 0.7), threshold=0.6)
    assert [review.step(1) for _ in range(3)] == [1, 2, 1]
    assert review.line() == "2 of 3 shown; 0 accepted, 0 rejected"
    review.threshold = 0.95
    assert review.step(1) == -1
    assert not review.judge(ACCEPTED)


def test_verdicts_are_undone_in_order_and_return_to_their_detection():
    review = Review(found(0.9, 0.8))
    for status in (ACCEPTED, REJECTED):
        review.step(1)
        review.judge(status)
    assert review.status.tolist() == [ACCEPTED, REJECTED]
    assert review.undo()
    assert (review.current, review.status.tolist()) == (1, [ACCEPTED, NEW])
    assert review.undo()
    assert (review.current, review.status.tolist()) == (0, [NEW, NEW])
    assert not review.undo()


def test_kept_is_shown_and_not_rejected():
    review = Review(found(0.9, 0.8, 0.3), threshold=0.5)
    review.current = 0
    review.judge(REJECTED)
    assert review.kept().score.tolist() == [0.8]
    assert review.label_table().tolist() == [0, 0, 2, 0]


def test_verdicts_survive_more_detections_and_the_final_ones():
    early = Review(found(0.9, 0.8))
    early.current = 1
    early.judge(ACCEPTED)
    more = Review(found(0.9, 0.8, 0.7))
    more.carry_on(early)
    assert more.status.tolist() == [NEW, ACCEPTED, NEW]
    final = Review(found(0.9, 0.8, 0.7, shift=3.0))
    final.adopt(more, reach_nm=10.0)
    assert final.status.tolist() == [NEW, ACCEPTED, NEW]
    elsewhere = Review(found(0.9, shift=5000.0))
    elsewhere.adopt(more, reach_nm=10.0)
    assert elsewhere.status.tolist() == [NEW]
