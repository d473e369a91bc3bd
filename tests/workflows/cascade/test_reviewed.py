"""What a partial review teaches: accepted, added and rejected count, the rest is unknown in every step."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import write_table
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.thresholds.calibrate import calibrate_job, measured_job
from napari_connecto.workflows.cascade.training.examples import from_labels, from_places
from napari_connecto.workflows.cascade.training.points import Places, read_places, read_points
from napari_connecto.workflows.cascade.training.samples import Patches
from napari_connecto.workflows.cascade.training.stage import HighestKnown
from napari_connecto.workflows.cascade.verdicts import Verdicts, write_verdicts
from tests.workflows import fakes

NM = (100.0, 100.0, 100.0)
SHAPE = (1, 96, 128)
GRID = np.array([[0.5, 16 + 32 * (n // 4), 16 + 32 * (n % 4)] for n in range(12)]) * 100
"""Twelve places, 32 voxels apart."""
STATUS = np.array(["accepted"] * 5 + ["rejected"] * 2 + ["new"] * 5)
DIAMETER = 1200.0


def spots(nm=NM):
    out = np.zeros(SHAPE, np.uint16)
    _, y, x = np.indices(SHAPE)
    for n, (_, cy, cx) in enumerate(GRID / 100):
        out[np.hypot(y + 0.5 - cy, x + 0.5 - cx) <= 6] = n + 1
    return Volume((Level(out, nm),), kind="labels")


def known_share(examples, status):
    """Share of each place's disc of a typical radius that is known."""
    _, y, x = np.indices(SHAPE)
    shares = []
    for _, cy, cx in GRID[status == STATUS] / 100:
        disc = np.hypot(y + 0.5 - cy, x + 0.5 - cx) <= 5.9
        shares.append(examples.known[disc].mean())
    return shares


@pytest.fixture(params=["masks", "centres"])
def sparse(request):
    places = Places(GRID, STATUS)
    if request.param == "masks":
        return from_labels(spots(), "masks", sparse=True, review=places)
    return from_places(places, DIAMETER, Level(np.zeros(SHAPE, np.uint8), NM), sparse=True)


def test_only_what_was_judged_is_known(sparse):
    np.testing.assert_allclose(sparse.centres_nm[:, 1:], GRID[:5, 1:], atol=1e-6)
    assert known_share(sparse, "accepted") == [1.0] * 5
    assert known_share(sparse, "rejected") == [1.0] * 2
    assert known_share(sparse, "new") == [0.0] * 5
    assert 0.1 < sparse.known.mean() < 0.5
    target = np.asarray(sparse.target.array)
    assert (target[sparse.present] >= 128).all()
    assert target[sparse.known & ~sparse.present].max() < 128
    assert sparse.known_at(GRID).tolist() == (STATUS != "new").tolist()


def test_a_neighbour_that_was_not_reviewed_is_no_background():
    beside = GRID[0] + np.array([[0, 0, 0], [0, 0, 800.0]])
    like = Level(np.zeros(SHAPE, np.uint8), NM)
    ex = from_places(Places(beside, np.array(["accepted", "new"])), DIAMETER, like, sparse=True)
    y, x = (beside[1, 1:] / 100).astype(int)
    assert not ex.known[0, y - 3 : y + 3, x + 1 : x + 6].any()
    alone = from_places(Places(beside[:1], STATUS[:1]), DIAMETER, like, sparse=True)
    assert alone.known[0, y, x - 3 : x].all()  # nobody said that anything is there: seen as background


def test_an_object_without_a_verdict_was_added():
    few = Places(GRID[1:], STATUS[1:])
    assert len(from_labels(spots(), "masks", sparse=True, review=few).centres_nm) == 5


def test_an_added_object_is_in_the_target_whether_it_is_labelled_or_not(labels_or_centres):
    """The law: objects of the target are the accepted and the added ones, and nothing else."""
    status = np.where(STATUS == "accepted", "added", STATUS)
    status[0] = "accepted"
    beside = np.array([[50.0, 3200, 3200]])  # in none of the labelled objects
    places = Places(np.concatenate([GRID, beside]), np.concatenate([status, ["added"]]))
    found = labels_or_centres(places)
    objects = np.concatenate([GRID[:5], beside])
    assert len(found.centres_nm) == 6
    assert all(np.abs(found.centres_nm - c).sum(1).min() < 150 for c in objects)
    at = tuple(np.floor(found.target.to_voxels(objects)).astype(int).T)
    assert found.present[at].all()
    assert found.known[at].all()
    _, y, x = np.indices(SHAPE)
    disc = np.hypot(y + 0.5 - 32, x + 0.5 - 32) <= 3
    assert found.present[disc].all()


@pytest.fixture(params=["masks", "centres"])
def labels_or_centres(request):
    if request.param == "masks":
        return lambda places: from_labels(spots(), "masks", sparse=True, review=places)
    like = Level(np.zeros(SHAPE, np.uint8), NM)
    return lambda places: from_places(places, DIAMETER, like, sparse=True)


def test_unlabelled_is_background_by_default_and_unknown_if_asked():
    complete, some = from_labels(spots(), "masks"), from_labels(spots(), "masks", sparse=True)
    assert complete.known is None
    assert 0 < some.known.mean() < 0.5
    params = {name: TrainParams(unlabelled=name) for name in ("auto", "background", "unknown")}
    assert [p.sparse(reviewed=False) for p in params.values()] == [False, False, True]
    assert [p.sparse(reviewed=True) for p in params.values()] == [True, False, True]


def test_a_review_without_an_accepted_object_is_refused():
    new = Places(GRID, np.full(12, "new"))
    with pytest.raises(InputError, match="none of the 12 places is accepted; review some, or give unlabelled="):
        from_places(new, DIAMETER, spots().levels[0], sparse=True)
    with pytest.raises(InputError, match="none of the 12 labelled objects is accepted"):
        from_labels(spots(), "masks", sparse=True, review=new)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 4, 4)])
def test_samples_weigh_nothing_where_nothing_is_known(sparse, stride):
    tile = (1, 32, 32)
    card = ModelCard("s", "detect", NM, tile, (0, 8, 8), (Output("o", stride),), normalisation=Normalisation("range"))
    image = Level(np.where(spots().levels[0].array > 0, 9, 0).astype(np.float32), NM)
    whole = Box.of(SHAPE)
    patches = Patches(image, np.asarray(sparse.target.array), whole, card, lambda a: a, known=sparse.known)
    read = Box((0, 16, 16), (1, 64, 64))
    _, weight = patches._answer(read)
    known = sparse.known[read.slices]
    if stride == (1, 1, 1):
        np.testing.assert_array_equal(weight[0] > 0, known)
    else:
        cells = known.reshape(1, 1, 12, 4, 12, 4)
        holds = (sparse.present[read.slices]).reshape(1, 1, 12, 4, 12, 4).any((1, 3, 5))
        np.testing.assert_array_equal(weight[0] > 0, cells.all((1, 3, 5)) | holds)
    for (_, _, weights), _ in zip(patches.draw(4, 0), range(5), strict=False):
        assert (weights.reshape(4, -1).max(axis=1) > 0).mean() > 0.5


def test_hard_negatives_are_looked_for_where_something_is_known():
    known = np.zeros((1, 8, 8), bool)
    known[0, :4, :4] = True
    (tile,) = TilePlan((1, 8, 8), (1, 8, 8), (0, 0, 0))
    block = np.zeros((1, 2, 2), np.float32)
    block[0] = [[0.3, 0.9], [0.8, 0.7]]
    assert HighestKnown("o", known)(tile, {"o": block}) == pytest.approx(0.3)
    known[0, :4, 4:7] = True  # a cell of which a part is unknown may answer to what is there
    assert HighestKnown("o", known)(tile, {"o": block}) == pytest.approx(0.3)


def test_measuring_judges_detections_only_where_something_is_known():
    image = np.where(spots(fakes.NM).levels[0].array > 0, 255, 0).astype(np.uint8)
    volume, cascade = fakes.pyramid(image, ()), fakes.cascade(factors=())
    scale = np.array(fakes.NM) / 100
    review = Places(GRID * scale, STATUS)
    examples = from_labels(spots(fakes.NM), "masks", sparse=True, review=review)
    job = calibrate_job(volume, examples, Box.of(SHAPE), cascade.stages, cascade.rule)
    held_out = run(job)[0].held_out
    assert (int(held_out.found.sum()), len(held_out.found), held_out.false) == (5, 5, 2)
    assert not held_out.complete
    assert "Only labelled places count" in held_out.sentence
    other, _ = run(measured_job(volume, examples, Box.of(SHAPE), cascade.stages[0], cascade.rule))
    assert other.counts == held_out.counts


def test_a_table_with_verdicts_is_a_review_and_one_without_is_complete(tmp_path):
    columns = {f"{axis}_nm": GRID[:, i] for i, axis in enumerate("zyx")}
    write_table(tmp_path / "all.csv", columns)
    write_table(tmp_path / "reviewed.csv", columns | {"status": STATUS})
    everything, reviewed = read_places(tmp_path / "all.csv"), read_places(tmp_path / "reviewed.csv")
    assert (everything.reviewed, reviewed.reviewed) == (False, True)
    np.testing.assert_array_equal(everything.of("accepted"), GRID)
    np.testing.assert_array_equal(reviewed.of("rejected"), GRID[5:7])
    assert len(read_points(tmp_path / "reviewed.csv")) == 10


def test_a_result_folder_gives_its_detections_the_verdicts_of_its_review(tmp_path):
    boxes = np.ones((12, 6), int)
    Detections(GRID, np.ones(12), boxes, np.arange(12)).save(tmp_path / "detections.csv")
    said = np.flatnonzero(STATUS != "new")
    besides = np.array([[50.0, 9_000, 9_000]])
    where, what = np.concatenate([GRID[said], besides]), np.concatenate([STATUS[said], ["accepted"]])
    write_verdicts(tmp_path, Verdicts(np.zeros(len(what), int), where, what, 300.0))
    for path in (tmp_path, tmp_path / "detections.csv", tmp_path / "review.csv"):
        places = read_places(path)
        assert places.status.tolist() == [*STATUS, "accepted"]
        np.testing.assert_array_equal(places.centre_nm[-1:], besides)
