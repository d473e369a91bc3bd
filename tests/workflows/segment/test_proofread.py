"""Proofreading: merge and split are exact, undo restores, numbers stay unique, and nothing is lost or overwritten."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.proofread import cutting
from napari_connecto.workflows.segment.proofread.cut import Cut
from napari_connecto.workflows.segment.proofread.proofreading import Proofreading, corrected_labels
from napari_connecto.workflows.segment.records import write_arrays
from napari_connecto.workflows.segment.segment import segment
from tests.workflows.segment.test_segment import cells

NM = (10.0, 10.0, 10.0)
DEEP = SegmentParams(mode="3d", min_size=20, block=(14, 28, 24), halo=(8, 10, 10))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A segmentation in blocks, its boundary map on disk, and the truth."""
    folder = tmp_path_factory.mktemp("proofread")
    boundary, truth = cells((14, 28, 42))
    save_volume(Volume.from_array(np.rint(boundary * 255).astype(np.uint8), NM), folder / "boundary.ome.zarr")
    segment(open_volume(folder / "boundary.ome.zarr"), DEEP, out=folder / "segments")
    return folder / "segments", truth


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it without decisions."""
    shutil.copytree(made[0], tmp_path / "segments")
    return tmp_path / "segments"


def whole(work):
    level = work.volume.levels[0]
    return level.read(level.box)


def middle(labels, id):
    """The voxel of a segment nearest its centre."""
    where = np.argwhere(labels == id)
    return tuple(int(v) for v in where[((where - where.mean(axis=0)) ** 2).sum(axis=1).argmin()])


def neighbours(labels):
    """Two segments that touch, in different blocks along x."""
    face = np.stack([labels[:, :, 23], labels[:, :, 24]], -1).reshape(-1, 2)
    a, b = next((int(a), int(b)) for a, b in face if a != b)
    return a, b


def files(folder):
    return {
        path.relative_to(folder): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted((folder / "labels").rglob("*"))
        if path.is_file()
    }


def test_a_merge_across_blocks_makes_one_of_two_and_undo_restores_every_voxel(folder):
    written = files(folder)
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        decision = work.merge(middle(before, a), middle(before, b))
        assert set(decision.atoms) == {a, b}
        after = whole(work)
        np.testing.assert_array_equal(after, np.where(before == max(a, b), min(a, b), before))
        work.undo()
        np.testing.assert_array_equal(whole(work), before)
        work.redo()
        np.testing.assert_array_equal(whole(work), after)
        assert work.redo() is None
    assert files(folder) == written


def test_a_split_of_what_was_merged_restores_both_exactly(folder):
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        p, q = middle(before, a), middle(before, b)
        work.merge(p, q)
        assert work.split(p, q).new == 0
        np.testing.assert_array_equal(whole(work), before)


def test_a_split_separates_the_two_places_and_touches_no_other_segment(folder, made):
    """Of two true cells in one segment, each becomes one: that is what the boundary between them says."""
    with Proofreading.open(folder) as work:
        before = whole(work)
        id = int(np.bincount(before.ravel()).argmax())
        where = np.argwhere(before == id)
        p, q = tuple(map(int, where[0])), tuple(map(int, where[-1]))
        decision = work.split(p, q)
        after = whole(work)
        assert decision.new == before.max() + 1
        assert {work.at(p), work.at(q)} == {id, decision.new}
        np.testing.assert_array_equal(after[before != id], before[before != id])
        assert set(np.unique(after[before == id])) == {id, decision.new}
        assert np.count_nonzero(after == decision.new) <= np.count_nonzero(after == id)


def test_a_false_merge_is_cut_where_the_boundary_is(tmp_path):
    """Two chambers with a weak wall between them, in one segment: the cut is the wall, not half way."""
    boundary = np.zeros((12, 24, 40), np.uint8)
    boundary[:, :, 10] = 60
    labels = segment(Volume.from_array(boundary, NM), SegmentParams(mode="3d", merge_threshold=0.9), out=tmp_path / "s")
    assert labels.metadata["segments"] == 1
    with Proofreading.open(tmp_path / "s", Volume.from_array(boundary, NM)) as work:
        work.split((6, 12, 3), (6, 12, 35))
        after = whole(work)
        assert len(np.unique(after[:, :, :10])) == len(np.unique(after[:, :, 11:])) == 1
        assert after[0, 0, 0] != after[0, 0, -1]


def test_every_level_shows_the_decisions_and_only_what_is_asked_is_read(folder):
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        work.merge(middle(before, a), middle(before, b))
        where = np.argwhere(before == a)
        work.split(tuple(map(int, where[0])), tuple(map(int, where[-1])))
        after = whole(work)
        for level in work.volume.levels:
            part = level.read(level.box)
            assert set(np.unique(part)) <= set(np.unique(after))
        array = work.volume.levels[0].array
        np.testing.assert_array_equal(array[3, 5:20, ::2], after[3, 5:20, ::2])
        np.testing.assert_array_equal(array[-1], after[-1])
        np.testing.assert_array_equal(array[..., 7], after[..., 7])
        assert array[3, 4, 5] == after[3, 4, 5]
        rows = np.array([1, 5]), np.array([2, 2]), np.array([30, 3])
        np.testing.assert_array_equal(array[rows], after[rows])


def test_a_large_segment_is_cut_on_a_coarser_level_and_the_places_still_come_apart(tmp_path, monkeypatch):
    boundary = np.zeros((64, 96, 192), np.uint8)
    boundary[:, :, 90] = 200
    boundary[20:40, 30:60, 90] = 0
    params = SegmentParams(mode="3d", merge_threshold=1.0, block=(64, 96, 96), halo=(8, 8, 8))
    made = segment(Volume.from_array(boundary, NM), params, out=tmp_path / "s")
    assert made.metadata["segments"] == 1
    assert len(made.levels) > 1
    monkeypatch.setattr(cutting, "MOST", boundary.size // 4)
    with Proofreading.open(tmp_path / "s", Volume.from_array(boundary, NM)) as work:
        work.split((30, 45, 20), (30, 45, 170))
        after = whole(work)
        assert len(np.unique(after)) == 2
        assert len(np.unique(after[:, :, :86])) == len(np.unique(after[:, :, 96:])) == 1


def test_decisions_survive_a_kill_and_a_half_written_one_is_dropped(folder):
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        work.merge(middle(before, a), middle(before, b))
        merged = whole(work)
        where = np.argwhere(before == a)
        work.split(tuple(map(int, where[0])), tuple(map(int, where[-1])))
        after = whole(work)
    with Proofreading.open(folder) as again:
        np.testing.assert_array_equal(whole(again), after)
        with pytest.raises(StoreError, match="in use"):
            Proofreading.open(folder)
    journal = folder / "proofread" / "decisions.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # died while it wrote the split
    with Proofreading.open(folder) as again:
        np.testing.assert_array_equal(whole(again), merged)
        assert again.split(tuple(map(int, where[0])), tuple(map(int, where[-1]))).new == before.max() + 1
        np.testing.assert_array_equal(whole(again), after)


def test_what_cannot_be_done_is_refused_and_leaves_no_decision(folder, tmp_path):
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        p, q = middle(before, a), middle(before, b)
        with pytest.raises(InputError, match="are two segments already"):
            work.split(p, q)
        with pytest.raises(InputError, match=f"both places are segment {a} already"):
            work.merge(p, p)
        with pytest.raises(InputError, match="same voxel"):
            work.split(p, p)
        with pytest.raises(InputError, match="outside labels of"):
            work.merge(p, (99, 0, 0))
        assert work.decisions == ()
        assert work.undo() is None
    with pytest.raises(StoreError, match="no finished segmentation"):
        Proofreading.open(tmp_path)


def test_a_damaged_cut_or_journal_is_told_not_guessed(folder):
    with Proofreading.open(folder) as work:
        before = whole(work)
        where = np.argwhere(before == 1)
        work.split(tuple(map(int, where[0])), tuple(map(int, where[-1])))
        new = work.decisions[0].new
    (folder / "proofread" / f"cut-{new}.npz").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=f"cut-{new}.npz"):
        Proofreading.open(folder)
    with pytest.raises(StoreError, match=f"cut-{new}.npz"):
        corrected_labels(folder)


HOSTILE = [
    {"event": "merge", "first": [0, 0, 0], "second": [1, 1, 1], "atoms": [10**30, 2]},
    {"event": "merge", "first": [0, 0, 0], "second": [1, 1, 1], "atoms": [0, 2]},
    {"event": "split", "first": [0, 0, 0], "second": [1, 1, 1], "atoms": [1, 1], "new": -3},
    {"event": "split", "first": [0, 0, 0], "second": [1, 1, 1], "atoms": [1, 1], "new": 9, "moved": [10**30]},
    {"event": ["undo"]},
]


@pytest.mark.parametrize("event", HOSTILE)
def test_a_journal_of_impossible_numbers_is_told(folder, event):
    (folder / "proofread").mkdir()
    EventLog(folder / "proofread" / "decisions.jsonl").append(event)
    with pytest.raises(StoreError, match="as a decision"):
        corrected_labels(folder)


def test_a_cut_that_claims_more_voxels_than_it_has_is_told_and_takes_no_memory(tmp_path):
    content = {"numbers": np.arange(1, 6), "factor": np.ones(3), "side": np.zeros(1, np.uint8)}
    for shape in ((2, 2, 3), (2**21, 2**21, 2**21), (1, 1, 0)):
        write_arrays(tmp_path / "cut-2.npz", content | {"shape": np.array(shape)})
        with pytest.raises(StoreError, match="is damaged"):
            Cut.load(tmp_path / "cut-2.npz")


def test_a_small_segment_that_was_merged_with_a_large_one_is_cut_where_it_can_be_seen(tmp_path, monkeypatch):
    """The level at which all of the merged segments fit has none of the small one."""
    ids = np.ones((64, 96, 192), np.uint8)
    ids[32, 40:42, 100] = 2
    boundary = np.zeros(ids.shape, np.uint8)
    made = segment(Volume.from_array(boundary, NM), SegmentParams(mode="3d"), out=tmp_path / "s")
    level = made.levels[0]
    fine = Volume.from_array(ids.astype(np.uint32), NM)
    coarse = Level(ids[::2, ::2, ::2].astype(np.uint32), tuple(2 * v for v in NM), level.origin_nm)
    coarse.array[coarse.array == 2] = 1
    labels = Volume((*fine.levels, coarse), name="labels")
    monkeypatch.setattr(cutting, "MOST", ids.size // 4)
    with Proofreading.open(tmp_path / "s") as work:
        object.__setattr__(work.result, "labels", labels)
        object.__setattr__(work.result, "count", 2)
        work.merge((32, 40, 100), (5, 5, 5))
        work.split((32, 40, 100), (32, 41, 100))
        after = whole(work)
        assert after[32, 40, 100] != after[32, 41, 100]
        assert np.count_nonzero(after != 1) == 1


STEP = st.tuples(st.sampled_from(["merge", "split", "undo", "redo"]), st.integers(0), st.integers(0))


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(STEP, max_size=8))
def test_any_order_of_decisions_keeps_numbers_unique_and_reopening_shows_the_same(made, tmp_path_factory, steps):
    """A number is one connected choice: of each original segment, every part has one number, and no two share one
    unless they were merged; undoing everything restores the labels."""
    folder = tmp_path_factory.mktemp("steps") / "segments"
    shutil.copytree(made[0], folder)
    with Proofreading.open(folder) as work:
        before = whole(work)
        seen = set(np.unique(before).tolist())
        for kind, i, j in steps:
            now = whole(work)
            ids = np.unique(now)
            a, b = int(ids[i % len(ids)]), int(ids[j % len(ids)])
            if kind == "merge" and a != b:
                work.merge(middle(now, a), middle(now, b))
                np.testing.assert_array_equal(whole(work), np.where(now == max(a, b), min(a, b), now))
            elif kind == "split":
                where = np.argwhere(now == a)
                p, q = tuple(map(int, where[0])), tuple(map(int, where[j % len(where)]))
                if p == q:
                    continue
                decision = work.split(p, q)
                after = whole(work)
                assert work.at(p) != work.at(q)
                np.testing.assert_array_equal(after[now != a], now[now != a])
                made_new = set(np.unique(after[now == a]).tolist())
                assert not (made_new - {a}) & (set(ids.tolist()) - {a})
                if decision.new:
                    assert decision.new not in seen
                    seen.add(decision.new)
            elif kind == "undo":
                work.undo()
            elif kind == "redo":
                work.redo()
        last = whole(work)
    np.testing.assert_array_equal(corrected_labels(folder)[0].levels[0].read(Box.of(last.shape)), last)
    with Proofreading.open(folder) as work:
        np.testing.assert_array_equal(whole(work), last)
        while work.undo() is not None:
            pass
        np.testing.assert_array_equal(whole(work), before)


def test_decisions_are_listed_repeated_undone_and_exported_from_the_shell(folder, made, tmp_path):
    """The shell repeats what was clicked, and exported labels are the corrected ones."""
    with Proofreading.open(folder) as work:
        before = whole(work)
        a, b = neighbours(before)
        work.merge(middle(before, a), middle(before, b))
        where = np.argwhere(before == b)
        work.split(tuple(map(int, where[0])), tuple(map(int, where[-1])))
        after = whole(work)

    def shell(*words):
        done = CliRunner().invoke(cli, [str(w) for w in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "merge at (" in shell("proofread", "list", folder, "--out", tmp_path / "decisions.json")
    shutil.copytree(made[0], tmp_path / "other")
    assert "2 decisions made" in shell("proofread", "apply", tmp_path / "other", tmp_path / "decisions.json")
    assert "1 merges, 1 splits" in shell("export", "labels", tmp_path / "other", tmp_path / "out.zarr")
    level = open_volume(tmp_path / "out.zarr").levels[0]
    np.testing.assert_array_equal(level.read(level.box), after)
    assert "undo: split at (" in shell("proofread", "undo", folder)
    assert "redo: split at (" in shell("proofread", "redo", folder)
    assert "nothing to redo" in shell("proofread", "redo", folder)
    (tmp_path / "bad.json").write_text('[{"event": "paint", "first": [0, 0, 0], "second": [1, 1, 1]}]')
    with pytest.raises(InputError, match="neither merge nor split"):
        shell("proofread", "apply", folder, tmp_path / "bad.json")
