"""Verdicts on detections: no Qt, no viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.widgets.cascade.review import Review
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED


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
    assert (review.kept().id.tolist(), review.kept().status.tolist()) == ([2], [NEW])
    assert review.label_table().tolist() == [0, 0, 2, 0, 0]


def test_labels_go_by_ids_not_by_order():
    review = Review(found(0.9, 0.3, 0.8, 0.7).at(0.5))
    review.current = 1
    review.judge(REJECTED)
    assert review.kept().id.tolist() == [1, 4]
    assert review.label_table().tolist() == [0, 1, 0, 0, 4, 0]
    assert review.label_table(review.status == REJECTED).tolist() == [0, 0, 0, 3, 0, 0]


def test_verdicts_survive_more_detections_and_the_final_ones():
    early = Review(found(0.9, 0.8))
    early.current = 1
    early.judge(ACCEPTED)
    more = Review(found(0.9, 0.8, 0.7))
    more.carry_on(early)
    assert more.status.tolist() == [NEW, ACCEPTED, NEW]
    final = Review(found(0.9, 0.8, 0.7, shift=3.0), reach_nm=10.0)
    final.take_up(more.verdicts())
    assert final.status.tolist() == [NEW, ACCEPTED, NEW]
    elsewhere = Review(found(0.9, shift=5000.0), reach_nm=10.0)
    elsewhere.take_up(more.verdicts())
    assert elsewhere.status.tolist() == [NEW]


def test_verdicts_on_what_is_not_found_this_time_wait_for_it():
    whole = Review(found(0.9, 0.8, 0.7), reach_nm=10.0)
    for i, status in ((0, ACCEPTED), (2, REJECTED)):
        whole.current = i
        whole.judge(status)
    preview = Review(found(0.9), reach_nm=10.0)
    preview.take_up(whole.verdicts())
    assert preview.status.tolist() == [ACCEPTED]
    assert preview.line() == "1 of 1 shown; 1 accepted, 0 rejected"
    assert preview.verdicts().id.tolist() == [1, 0]
    more = Review(found(0.9, 0.8, 0.7), reach_nm=10.0)
    more.carry_on(preview)
    assert more.status.tolist() == [ACCEPTED, NEW, REJECTED]
    assert more.verdicts().id.tolist() == [1, 3]


def test_what_is_judged_here_goes_before_what_was_judged_before():
    review = Review(found(0.9), reach_nm=10.0)
    before = Review(found(0.9))
    for each, status in ((review, ACCEPTED), (before, REJECTED)):
        each.current = 0
        each.judge(status)
    review.take_up(before.verdicts())
    assert review.verdicts().status.tolist() == [ACCEPTED]
