"""What measures a gain: held-out patches that somebody painted, never a model's own output."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.workflows.adapt.annotate.prefill import prefilled
from napari_connecto.workflows.adapt.annotate.proof import Annotation
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from napari_connecto.workflows.adapt.params import PREFILLS
from napari_connecto.workflows.shared.whole import boundary_of
from tests.workflows import fakes

NM = (40.0, 8.0, 8.0)


class Dark(fakes.Filter):
    """Calls dark voxels boundary."""

    def __init__(self):
        super().__init__(NM, (1, 32, 32), "dark")

    def answer(self, tile):
        return (tile < 0.5).astype(np.float32)


@pytest.fixture
def session(tmp_path):
    """Two patches to learn from, three held out."""
    image = np.random.default_rng(0).integers(0, 255, (8, 32, 32), np.uint8)
    boxes = [Box((z, 0, 0), (z + 1, 32, 32)) for z in range(5)]
    with Session.open(tmp_path, Volume.from_array(image, NM, name="em"), Dark().card) as made:
        made.add([Suggestion(box, 0.0, "reason", random=n >= 2) for n, box in enumerate(boxes)])
        yield made


def own_output(session, id, how=PREFILLS[0]):
    from napari_connecto.core.model import Scaling

    image = session.open_patch(id).image
    return prefilled(boundary_of(Dark(), Scaling(**session.about["scaling"])(image)), how)


def painted(session, id):
    labels = own_output(session, id)
    labels[0, :4] = 3 - labels[0, :4]
    return labels


@pytest.mark.parametrize("how", PREFILLS[:2])
def test_held_out_pre_fills_of_older_versions_do_not_count(session, how):
    for id in (1, 2, 3):
        session.commit(id, painted(session, id))
    session.commit(4, own_output(session, 4, how))
    session.commit(5, own_output(session, 5, how))
    for start in session.path.glob("patches/*/start.zarr"):
        shutil.rmtree(start)
    events = EventLog(session.path / "events.jsonl").events()
    (session.path / "events.jsonl").unlink()
    old = EventLog(session.path / "events.jsonl")
    for event in events:
        old.append({k: v for k, v in event.items() if k not in ("prefilled", "edited")})
    found = Annotation.of(session, Dark())
    assert [s.id for s in found.held_out] == [3]
    assert len(found.proof) == 1
    assert [s.id for s in found.unedited] == [4, 5]
    assert len(found.examples) == 2
    assert found.lines() == [
        "trained on 2 patches: 2 with edits not recorded",
        "held-out patches 4, 5 are the model's own pre-fill, unedited: not counted",
    ]
    assert [p["counted"] for p in found.to_json()["patches"]] == [True, True, True, False, False]
    found.need_proof()


def test_what_was_painted_counts_and_without_proof_it_is_said_what_to_do(session):
    session.commit(1, painted(session, 1))
    session.commit(3, own_output(session, 3))  # painted, as it happens, just like the model
    assert [s.id for s in Annotation.of(session, Dark()).held_out] == [3]
    found = Annotation(found_learnt := session.patches[:1], (), session.patches[2:3], [], [])
    assert found_learnt[0].origin == "without pre-fill"
    with pytest.raises(InputError, match=r"held-out patch 3 is the model's own pre-fill.*paint and commit"):
        found.need_proof()
