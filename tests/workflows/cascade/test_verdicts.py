"""Verdicts on places: which detection each belongs to, and the file that keeps them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.io.disk import write_json
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.merging import merge_verdicts
from napari_connecto.workflows.cascade.verdicts import (
    ACCEPTED,
    ADDED,
    NEW,
    NOTES,
    REJECTED,
    Verdicts,
    check_tags,
    read_verdicts,
    write_verdicts,
)

PLACES = np.array([[0.0, 0, 0], [100, 0, 0], [200.125, 1 / 3, 0]])


def said(*status, places=PLACES, reach_nm=10.0):
    n = len(status)
    return Verdicts(np.arange(1, n + 1), places[:n], np.array(status), reach_nm)


def test_a_verdict_belongs_to_the_nearest_detection_in_reach():
    on, rest = said(ACCEPTED, REJECTED, ACCEPTED).match(PLACES[[2, 0]] + [0, 9.9, 0])
    assert on.status.tolist() == [ACCEPTED, ACCEPTED]
    assert (rest.centre_nm.tolist(), rest.status.tolist(), rest.id.tolist()) == ([[100, 0, 0]], [REJECTED], [0])
    on, rest = said(ACCEPTED).match(PLACES[:1] + np.array([0, 10.1, 0]))
    assert (on.status.tolist(), len(rest)) == ([NEW], 1)


def test_of_two_on_one_detection_the_nearest_counts():
    places = np.array([[4.0, 0, 0], [-1, 0, 0], [6, 0, 0]])
    on, rest = said(ACCEPTED, REJECTED, ACCEPTED, places=places).match(PLACES[:1])
    assert (on.status.tolist(), len(rest)) == ([REJECTED], 0)


def test_without_a_reach_only_the_same_place_is_meant():
    on, rest = said(ACCEPTED, REJECTED, reach_nm=0.0).match(PLACES[:2] + np.array([[0, 0, 0], [1e-9, 0, 0]]))
    assert (on.status.tolist(), rest.status.tolist()) == ([ACCEPTED, NEW], [REJECTED])


def test_nothing_said_and_nothing_found():
    assert Verdicts.none().match(PLACES)[0].status.tolist() == [NEW] * 3
    on, rest = said(ACCEPTED).match(np.empty((0, 3)))
    assert (len(on), len(rest)) == (0, 1)


def test_what_is_written_is_read_back(tmp_path):
    assert len(read_verdicts(tmp_path)) == 0
    for verdicts in (said(ACCEPTED, REJECTED, ACCEPTED), Verdicts.none(7.5)):
        write_verdicts(tmp_path, verdicts)
        back = read_verdicts(tmp_path)
        assert back.id.tolist() == verdicts.id.tolist()
        assert back.status.tolist() == verdicts.status.tolist()
        np.testing.assert_array_equal(back.centre_nm, verdicts.centre_nm)
        assert back.reach_nm == verdicts.reach_nm
    assert [p.name for p in tmp_path.iterdir()] == ["review.csv"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "has no line of column names"),
        ("id,z_nm,y_nm,x_nm,status\n1,2,3\n", "line 2 of .* has 3 values for 5 columns"),
        ("reviewer,mark\nme,good\n", "has no column 'status'; a review has id, z_nm, y_nm, x_nm, status"),
        ("id,z_nm,y_nm,x_nm,status\n1,2,3,4,fine\n", "got the status 'fine' in"),
        ("id,z_nm,y_nm,x_nm,status\n1,2,3,here,new\n", "row 1 of .* has 'here' as x_nm; it is a number"),
        ("id,z_nm,y_nm,x_nm,status\n1,2,3,nan,new\n", "row 1 of .* has nan as x_nm"),
        ("# reach_nm: far\nid,z_nm,y_nm,x_nm,status\n", "has a reach of 'far'"),
        ("# reach_nm: -1\nid,z_nm,y_nm,x_nm,status\n", "has a reach of -1"),
        ("\0\xff\xfe", r"review\.csv"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_in_one_line_that_says_what_to_do(tmp_path, text, line):
    (tmp_path / "review.csv").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=rf"{line}.*; correct it, or move it out of the folder$"):
        read_verdicts(tmp_path)


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write '.*review\.csv': No such file"):
        write_verdicts(tmp_path / "gone", said(ACCEPTED))


@pytest.fixture
def folder(tmp_path):
    """A finished search for centres."""
    found = Detections(PLACES, np.array([0.9, 0.8, 0.7]), np.tile([0, 0, 0, 1, 1, 1], (3, 1)), np.arange(3))
    found.save(tmp_path / "detections.csv")
    write_json(tmp_path / "report.json", {"levels": [{"voxel_nm": [1, 1, 1], "origin_nm": [0, 0, 0]}]})
    return tmp_path


def test_a_folder_is_loaded_with_its_verdicts(folder):
    assert Detections.load(folder).status.tolist() == [NEW] * 3
    write_verdicts(folder, said(ACCEPTED, REJECTED))
    assert Detections.load(folder).status.tolist() == [ACCEPTED, REJECTED, NEW]
    assert Detections.load(folder / "detections.csv").status.tolist() == [NEW] * 3


def test_verdicts_stay_with_their_places_when_the_table_is_another(folder):
    write_verdicts(folder, said(ACCEPTED, REJECTED))
    found = Detections.load(folder)
    moved = replace(found, centre_nm=found.centre_nm[[1, 2, 0]] + [[0, 3, 0], [0, 0, 0], [0, 50, 0]])
    moved.save(folder / "detections.csv")
    assert Detections.load(folder).status.tolist() == [REJECTED, NEW, NEW]


def noted():
    """An accepted, a rejected, and an added object, and one that only has tags."""
    text = {
        "tags": ["soma;dividing", "", "unsure", "t"],
        "reviewer": ["Anna", "Ben", "Anna", "Anna"],
        "when": ["2026-01-02T03:04:05+00:00"] * 4,
    }
    places = np.array([[0.0, 0, 0], [100, 0, 0], [500, 0, 0], [200, 0, 0]])
    columns = {name: np.array(values, object) for name, values in text.items()}
    return Verdicts(np.arange(4), places, np.array([ACCEPTED, REJECTED, ADDED, NEW]), 10.0, **columns, names=("soma",))


def test_tags_who_and_when_are_read_back(tmp_path):
    write_verdicts(tmp_path, noted())
    for path in (tmp_path, tmp_path / "review.csv"):
        back = read_verdicts(path)
        for name in ("status", *NOTES):
            assert getattr(back, name).tolist() == getattr(noted(), name).tolist()
        assert back.names == ("soma",)


def test_a_review_written_before_there_were_tags_is_read(tmp_path):
    (tmp_path / "review.csv").write_text("# reach_nm: 7.5\nid,z_nm,y_nm,x_nm,status\n1,2,3,4,accepted\n")
    back = read_verdicts(tmp_path)
    assert (back.status.tolist(), back.reach_nm) == ([ACCEPTED], 7.5)
    assert [getattr(back, name).tolist() for name in NOTES] == [[""]] * 3


@pytest.mark.parametrize("tag", ["=1+1", "a,b", "x" * 25, "two\nlines", '"quoted"', "7", ""])
def test_a_tag_that_a_table_could_not_keep_is_refused(tag):
    with pytest.raises(InputError, match="a tag starts with a letter"):
        check_tags([tag])


@pytest.mark.parametrize(
    ("header", "cell", "line"),
    [
        ("", "=cmd()", "got the tag '=cmd.*' in "),
        ('# tags: "soma"\n', "soma", "has the tags 'soma'; they are a list of names"),
        ('# tags: ["ok", 3]\n', "ok", "got the tag '3' in "),
    ],
)
def test_foreign_tags_are_refused_in_one_line(tmp_path, header, cell, line):
    text = f"{header}id,z_nm,y_nm,x_nm,status,tags\n1,2,3,4,accepted,{cell}\n"
    (tmp_path / "review.csv").write_text(text)
    with pytest.raises(InputError, match=line):
        read_verdicts(tmp_path)


def test_an_added_object_is_a_row_until_a_search_finds_it(folder):
    write_verdicts(folder, noted())
    found = Detections.load(folder)
    assert found.status.tolist() == [ACCEPTED, REJECTED, NEW, ADDED]
    assert (found.id.tolist(), found.score[-1]) == ([1, 2, 3, 4], 1.0)
    np.testing.assert_array_equal(found.centre_nm[-1], [500, 0, 0])
    np.testing.assert_array_equal(found.box[-1], [490, -10, -10, 510, 10, 10])
    assert found.tags.tolist() == ["soma;dividing", "", "t", "unsure"]
    first = found.where(found.id < 4)
    replace(first, centre_nm=np.array([[0.0, 0, 0], [100, 0, 0], [503, 0, 0]])).save(folder / "detections.csv")
    assert Detections.load(folder).status.tolist() == [ACCEPTED, REJECTED, ACCEPTED]


def test_tags_who_and_when_go_into_exported_tables(folder, tmp_path):
    write_verdicts(folder, noted())
    found = Detections.load(folder)
    found.save(tmp_path / "out.csv")
    back = Detections.load(tmp_path / "out.csv")
    for name in ("status", *NOTES):
        assert getattr(back, name).tolist() == getattr(found, name).tolist()


def test_two_reviews_are_merged_and_their_disagreements_listed():
    first = noted()
    second = replace(
        first.take(np.array([1, 0, 2])),
        centre_nm=np.array([[100.0, 4, 0], [3, 0, 0], [900, 0, 0]]),
        status=np.array([ACCEPTED, ADDED, REJECTED]),
        tags=np.array(["glia", "glia;soma", ""], object),
        reviewer=np.array(["Cleo"] * 3, object),
        when=np.array(["2026-02-01T00:00:00+00:00"] * 3, object),
        names=("glia",),
    )
    both, opposed = merge_verdicts(first, second)
    (case,) = opposed
    assert (case.centre_nm, case.status, case.reviewer) == ((100, 0, 0), (REJECTED, ACCEPTED), ("Ben", "Cleo"))
    rows = zip(both.status, both.tags, both.reviewer, strict=True)
    told = dict(zip(map(tuple, both.centre_nm.tolist()), rows, strict=True))
    assert told == {
        (0, 0, 0): (ACCEPTED, "soma;dividing;glia", "Anna;Cleo"),
        (100, 0, 0): (NEW, "glia", "Ben;Cleo"),
        (500, 0, 0): (ADDED, "unsure", "Anna"),
        (200, 0, 0): (NEW, "t", "Anna"),
        (900, 0, 0): (REJECTED, "", "Cleo"),
    }
    assert both.names == ("soma", "glia")
    assert merge_verdicts(first, Verdicts.none())[0].status.tolist() == first.status.tolist()
