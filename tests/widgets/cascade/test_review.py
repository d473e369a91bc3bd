"""Verdicts on detections: no Qt, no viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.widgets.cascade.review import Review
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, REJECTED


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


def at(z, y, x):
    return np.array([float(z), y, x])


def test_an_added_object_is_a_row_and_undo_takes_it_away():
    """The law: undo gives back what there was before each verdict, tag and added object, in any order."""
    review = Review(found(0.9, 0.5), reach_nm=10.0, reviewer="Anna", clock=lambda: "2026-01-02T03:04:05+00:00")
    states = []

    def state():
        said = review.verdicts()
        return (review.found.id.tolist(), said.status.tolist(), said.tags.tolist(), said.reviewer.tolist())

    def act(do):
        states.append(state())
        do()

    act(lambda: review.add(at(500, 0, 0)))
    act(lambda: review.tag(0))
    act(lambda: (review.step(1), review.judge(REJECTED)))
    act(lambda: review.add(at(700, 0, 0)))
    act(lambda: review.judge(REJECTED))
    act(lambda: review.judge(ACCEPTED))
    assert review.status.tolist().count(ADDED) == 2  # accepting an added object adds it again
    assert (review.found.id.tolist(), review.found.score[2:].tolist()) == ([1, 2, 3, 4], [1.0, 1.0])
    assert review.line() == "4 of 4 shown; 0 accepted, 1 rejected, 2 added"
    assert set(review.verdicts().reviewer) == {"Anna"}
    assert set(review.verdicts().when) == {"2026-01-02T03:04:05+00:00"}
    while states:
        assert review.undo()
        assert state() == states.pop()
    assert not review.undo()


def test_where_there_is_a_detection_it_is_accepted_instead():
    review = Review(found(0.9, 0.2), threshold=0.5, reach_nm=10.0)
    assert not review.add(at(100, 16, 10))
    assert (review.current, review.status.tolist(), len(review.found)) == (1, [NEW, ACCEPTED], 2)
    assert review.shown.all()


def test_added_objects_go_along_to_the_next_search_unless_it_finds_them():
    review = Review(found(0.9, 0.8), reach_nm=10.0)
    review.add(at(500, 0, 0))
    review.tag(0)
    review.add(at(200, 20, 20))
    again = Review(found(0.9, 0.8, 0.7), reach_nm=10.0)  # the third is at 200, 20, 20
    again.take_up(review.verdicts())
    assert again.status.tolist() == [NEW, NEW, ACCEPTED, ADDED]
    assert again.detections.tags.tolist() == ["", "", "", "unsure"]
    longer = Review(again.found, reach_nm=10.0)
    longer.carry_on(again)
    assert longer.verdicts().status.tolist() == again.verdicts().status.tolist()


def test_several_tags_by_number_keep_a_detection_in_view():
    review = Review(found(0.9, 0.2), threshold=0.5)
    review.names = ("soma", "dividing")
    assert not review.tag(0)  # no current detection
    review.current = 1
    assert review.tag(1)
    assert review.tag(0)
    assert not review.tag(2)
    assert review.detections.tags.tolist() == ["", "dividing;soma"]
    assert review.shown.all()
    assert review.status.tolist() == [NEW, NEW]
    review.tag(1)
    assert review.verdicts().tags.tolist() == ["soma"]


def test_the_next_undecided_follow_the_current_one():
    review = Review(found(0.9, 0.8, 0.7, 0.6, 0.1), threshold=0.5)
    review.current = 1
    review.judge(ACCEPTED)
    assert review.undecided(2).tolist() == [2, 3]
    assert review.undecided(9).tolist() == [2, 3, 0]


def test_places_for_training_tell_all_that_is_known():
    review = Review(found(0.9, 0.8, 0.7), reach_nm=10.0)
    review.current = 0
    review.judge(ACCEPTED)
    review.current = 1
    review.judge(REJECTED)
    review.add(at(900, 0, 0))
    places = review.places()
    assert places.status.tolist() == [ACCEPTED, REJECTED, NEW, ADDED]
    assert places.objects.tolist() == [[0, 0, 0], [900, 0, 0]]
    assert review.places(NEW, REJECTED).status.tolist() == [REJECTED, NEW]
