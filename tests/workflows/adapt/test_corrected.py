"""Corrected places as training patches: the draft is what was corrected, and none is near what measures."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.adapt.annotate.corrected import corrected_patches_job
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.proofread.proofreading import Proofreading
from napari_connecto.workflows.segment.segment import segment
from tests.adapt_parts import tiny_card

NM = (40.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Columns of 64 voxels with walls between them: their segmentation, and a noisy image on the same grid."""
    boundary = np.zeros((8, 192, 256), np.uint8)
    boundary[:, :, 63::64] = 255
    folder = tmp_path_factory.mktemp("columns")
    save_volume(Volume.from_array(boundary, NM), folder / "boundary.zarr")
    segment(open_volume(folder / "boundary.zarr"), SegmentParams(mode="2d-linked"), out=folder / "segments")
    noise = np.random.default_rng(0).integers(0, 255, boundary.shape).astype(np.uint8)
    return folder / "segments", Volume.from_array(noise, NM, name="noise")


@pytest.fixture
def place(made, tmp_path):
    """A copy of the result without decisions, and a session with one patch for training and one held out."""
    shutil.copytree(made[0], tmp_path / "segments")
    with Session.open(tmp_path / "session", made[1], tiny_card("near")) as session:
        boxes = [Box((0, 120, 0), (1, 168, 48)), Box((7, 144, 208), (8, 192, 256))]
        session.add([Suggestion(box, 0.1, "a reason", held) for box, held in zip(boxes, (False, True), strict=True)])
        yield tmp_path / "segments", session, made[1]


def test_a_merge_becomes_a_patch_whose_draft_is_corrected_and_whose_start_is_the_model_s(place):
    folder, session, volume = place
    with Proofreading.open(folder) as work:
        work.merge((4, 60, 50), (4, 60, 78))
    (state,) = run(corrected_patches_job(session, volume, folder))
    assert (state.status, state.held_out) == ("waiting", False)
    assert "merged while proofreading 'segments'" in state.reason
    assert state.box.shape == (1, 48, 48)
    assert state.box.start[0] == 4
    draft = np.asarray(session.open_patch(state.id).labels[:])
    assert len(np.unique(draft)) == 1  # across what was the wall between two columns
    assert draft.min() >= 3  # each segment is an instance
    prefilled, edited = session.edited(state.id)
    assert prefilled
    assert 0.2 < edited < 0.8  # one of the two took the other's number
    with pytest.raises(InputError, match="in a patch of the session already"):
        run(corrected_patches_job(session, volume, folder))


def test_a_place_near_a_held_out_patch_is_left_out(place):
    folder, session, volume = place
    with Proofreading.open(folder) as work:
        work.merge((6, 150, 188), (6, 150, 196))
    with pytest.raises(InputError, match="too near a held-out one"):
        run(corrected_patches_job(session, volume, folder))
    assert len(session.patches) == 2


def test_without_decisions_or_patches_it_says_what_to_do(place, tmp_path):
    folder, session, volume = place
    with pytest.raises(InputError, match="merge or split a segment first"):
        run(corrected_patches_job(session, volume, folder))
    with Proofreading.open(folder) as work:
        work.merge((4, 60, 50), (4, 60, 78))
    with (
        Session.open(tmp_path / "empty", volume, tiny_card("near")) as empty,
        pytest.raises(InputError, match="suggest patches in step 2 first"),
    ):
        run(corrected_patches_job(empty, volume, folder))
