"""A session's folder: what is committed stays, whatever happens, and nothing counts twice."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.workflows.adapt.annotate.patch_states import editing_text, share_text
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from tests.workflows import fakes

NM = (40.0, 8.0, 8.0)
CARD = fakes.Blur(NM, (1, 32, 32), "flat").card
BOXES = [Box((1, 0, 0), (2, 32, 32)), Box((1, 32, 0), (2, 64, 32)), Box((3, 0, 32), (4, 32, 64))]


def volume():
    image = np.random.default_rng(0).integers(0, 255, (6, 64, 64), np.uint8)
    return Volume.from_array(image, NM, name="em")


def suggestions():
    return [Suggestion(box, 0.1 * n, f"reason {n}", random=n == 2) for n, box in enumerate(BOXES)]


def painted(seed=0):
    return np.random.default_rng(seed).integers(0, 4, (1, 32, 32)).astype(np.uint32)


@pytest.fixture
def session(tmp_path):
    with Session.open(tmp_path / "session", volume(), CARD, spec={"path": "em.zarr"}, model="fly") as made:
        made.add(suggestions())
        yield made


def test_a_patch_shows_the_volume_and_its_labels_write_through(session):
    draft = session.open_patch(2, prefill=np.full((1, 32, 32), 2))
    np.testing.assert_array_equal(draft.image, volume().levels[0].read(BOXES[1]))
    assert draft.origin_nm == (40.0, 256.0, 0.0)
    draft.labels[0, 3, 4:9] = 1
    again = session.open_patch(2)
    assert again.labels[0, 3, :11].tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 1, 2, 2]


def test_committed_patches_become_examples_scaled_as_the_volume(session):
    first, held = painted(1), painted(2)
    session.commit(1, first)
    session.open_patch(3).labels[:] = held
    session.commit(3)
    (example,), (kept_out,) = session.examples(), session.examples(held_out=True)
    np.testing.assert_array_equal(example.labels, first)
    np.testing.assert_array_equal(kept_out.labels, held)
    np.testing.assert_array_equal(kept_out.image, volume().levels[0].read(BOXES[2]))
    assert example.voxel_nm == NM
    assert example.scaling == CARD.normalisation.resolve(volume())
    assert session.counts() == (2, 3)


def test_what_is_known_of_an_edit_is_kept_with_the_commit(session):
    fill = np.where(painted(1) == 1, 1, 2)
    session.open_patch(1, prefill=fill)
    assert session.edited(1) == (True, 0.0)
    assert session.commit(1).unedited
    draft = session.open_patch(2, prefill=fill)
    draft.labels[0, :2, :8] = 3
    assert session.commit(2).edited == 16 / 32**2
    session.undo()
    session.commit(2, painted(5))
    first, second, held = session.patches
    assert (first.prefilled, first.edited, first.origin) == (True, 0.0, "accepted unedited")
    assert second.edited == np.mean(painted(5) != fill)
    assert (held.prefilled, held.origin) == (None, "")
    session.open_patch(3, prefill=fill)
    session.commit(3, painted(2))
    assert (session.patches[2].prefilled, session.patches[2].origin) == (False, "without pre-fill")
    share = f"{100 * np.mean(painted(5) != fill):.2g} %"
    assert editing_text(session.patches) == f"1 edited ({share} of voxels), 1 accepted unedited, 1 without pre-fill"


@pytest.mark.parametrize("damage", ["{", "{}", '{"zarr_format": 9}', None])
def test_labels_are_kept_though_what_they_began_as_is_damaged(session, damage):
    session.open_patch(1, prefill=np.where(painted(1) == 1, 1, 2))
    about = session.path / "patches/0001/start.zarr/zarr.json"
    about.unlink() if damage is None else about.write_text(damage)
    assert session.edited(1)[0] is None
    assert session.commit(1).origin == "edits not recorded"


def test_a_held_out_patch_begins_empty_whatever_it_is_to_be_filled_with(session):
    assert not session.open_patch(3, prefill=np.full((1, 32, 32), 2)).labels[:].any()
    assert session.edited(3)[0] is False


def test_a_session_of_an_older_version_is_read_and_its_edits_are_not_known(session):
    session.open_patch(1).labels[:] = painted(1)
    for start in session.path.glob("patches/*/start.zarr"):
        shutil.rmtree(start)
    EventLog(session.path / "events.jsonl").append({"event": "commit", "id": 2, "labels": 1})
    session.commit(1)
    assert [s.origin for s in session.patches] == ["edits not recorded"] * 2 + [""]
    assert editing_text(session.patches) == "2 with edits not recorded"


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0 %"), (1e-5, "less than 0.1 %"), (0.012, "1.2 %"), (0.994, "99 %"), (1, "100 %")]
)
def test_a_share_that_is_not_none_is_never_said_to_be_none(share, said):
    assert share_text(share) == said


def test_undo_takes_back_the_last_commit_or_skip_and_keeps_the_painting(session):
    session.commit(1, painted(1))
    session.commit(1, painted(2))
    session.skip(2)
    assert [s.status for s in session.patches] == ["committed", "skipped", "waiting"]
    assert session.undo().status == "waiting"
    assert session.undo().labels == 1
    np.testing.assert_array_equal(session.examples()[0].labels, painted(1))
    assert session.undo().status == "waiting"
    assert session.undo() is None
    assert session.examples() == []


def test_a_reopened_session_is_as_it_was_even_after_a_cut_off_event(tmp_path):
    with Session.open(tmp_path, volume(), CARD) as made:
        made.add(suggestions())
        made.open_patch(2).labels[0, 5, 5] = 3
        made.commit(1, painted())
        before = made.patches
    log = tmp_path / "events.jsonl"
    whole = log.read_bytes()
    for cut in range(1, 40, 7):
        log.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
        with Session.open(tmp_path, volume(), CARD) as again:
            assert again.patches == before
            assert again.open_patch(2).labels[0, 5, 5] == 3
            np.testing.assert_array_equal(again.examples()[0].labels, painted())
            again.skip(3)
            assert again.patches[2].status == "skipped"


def test_labels_that_teach_nothing_or_do_not_fit_are_refused_and_nothing_is_recorded(session):
    with pytest.raises(InputError, match="all labels are 0"):
        session.commit(1)
    with pytest.raises(InputError, match="labels have no boundary"):
        session.commit(1, np.full((1, 32, 32), 2))
    with pytest.raises(InputError, match="only boundary \\(1\\)"):
        session.commit(1, np.full((1, 32, 32), 1))
    with pytest.raises(InputError, match=r"shape \(1, 8, 8\) for a patch of \(1, 32, 32\)"):
        session.commit(1, np.full((1, 8, 8), 1))
    with pytest.raises(InputError, match="renumber them"):
        session.commit(1, painted().astype(np.int64) * (2**32 + 1))
    with pytest.raises(InputError, match="got patch 9; the session has 1 to 3"):
        session.skip(9)
    assert session.counts() == (0, 3)


def test_a_session_in_use_or_of_another_volume_is_refused(session, tmp_path):
    with pytest.raises(StoreError, match="in use by another"):
        Session.open(session.path, volume(), CARD)
    session.close()
    other = Volume.from_array(np.zeros((6, 64, 65), np.uint8), NM, name="other")
    with pytest.raises(StoreError, match="volume"):
        Session.open(session.path, other, CARD)


def test_the_log_leaves_out_a_damaged_tail_and_cuts_it_off(tmp_path):
    log = EventLog(tmp_path / "log")
    log.append({"a": 1})
    log.append({"b": np.int64(2)})
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-4])
    assert EventLog(log.path).events() == [{"a": 1}]
    EventLog(log.path).append({"c": 3})
    assert EventLog(log.path).events() == [{"a": 1}, {"c": 3}]
