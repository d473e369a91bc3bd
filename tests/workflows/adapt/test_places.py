"""Places of a check become suggested patches of an annotation session."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.adapt.annotate.places import patches_at, queue_places
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests.adapt_parts import tiny_card

CARD = tiny_card("near")


class Place(NamedTuple):
    centre_nm: FVec3
    error: float = 0.5
    reason: str = "probably wrong in 50 % of the voxels"


@pytest.fixture
def volume() -> Volume:
    array = np.random.default_rng(0).integers(0, 255, (4, 256, 256), np.uint8)
    return Volume.from_array(array, CARD.voxel_nm, name="image")


def test_a_patch_lies_around_its_place(volume):
    """One section deep, as the model reads, the place in its middle; at an edge it is moved inside."""
    middle, corner = patches_at([Place((100.0, 1024.0, 800.0)), Place((20.0, 8.0, 2040.0))], volume, CARD, 64)
    assert (middle.box.start, middle.box.stop) == ((2, 96, 68), (3, 160, 132))
    assert (corner.box.start, corner.box.stop) == ((0, 0, 192), (1, 64, 256))
    assert (middle.score, middle.reason, middle.random) == (0.5, "probably wrong in 50 % of the voxels", False)


def test_no_two_patches_overlap_and_none_lies_outside(volume):
    places = [Place((20.0, 800.0, 800.0)), Place((20.0, 900.0, 900.0)), Place((60.0, 800.0, 800.0))]
    places.append(Place((20.0, 9000.0, 800.0)))
    found = patches_at(places, volume, CARD, 64)
    assert [s.box.start[0] for s in found] == [0, 1]
    assert patches_at(places, volume, CARD, 64, taken=[s.box for s in found]) == []


def test_places_join_a_session_once(volume, tmp_path):
    """A second request for the same places adds nothing, and needs no lock; new ones wait for a session in use."""
    save_volume(volume, tmp_path / "image.ome.zarr")
    given = {"spec": VolumeSpec(str(tmp_path / "image.ome.zarr")), "model": "near", "size": 64}
    first, second = Place((20.0, 800.0, 800.0)), Place((60.0, 1600.0, 800.0), 0.25)
    folder = queue_places(tmp_path / "session", [first], volume, CARD, **given)
    with Session.open(folder, volume, CARD) as session:
        assert queue_places(folder, [first], volume, CARD, **given) == folder
        with pytest.raises(StoreError, match="in use"):
            queue_places(folder, [first, second], volume, CARD, **given)
        assert len(session.patches) == 1
    queue_places(folder, [first, second], volume, CARD, **given)
    with Session.open(folder, volume, CARD) as session:
        assert [(p.status, p.held_out, p.score) for p in session.patches] == [
            ("waiting", False, 0.5),
            ("waiting", False, 0.25),
        ]


def test_places_of_another_image_are_refused(volume, tmp_path):
    with pytest.raises(InputError, match="got 1 places, and none lies in 'image'"):
        queue_places(tmp_path / "s", [Place((20.0, 9e5, 8.0))], volume, CARD, spec=VolumeSpec("image"), model="near")
    assert not (tmp_path / "s").exists()
