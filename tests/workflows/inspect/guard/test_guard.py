"""A guard on disk, and a check: with a model and a judge whose every answer is known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.models.inspect.pair import ERROR, QUALITY, judge_card
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.check import check_pair, check_pair_job, guard_of
from napari_connecto.workflows.inspect.guard.fit import fit_guard
from napari_connecto.workflows.inspect.guard.guard import Guard, limit_of, load_guard, quality_of, score_of, with_model
from napari_connecto.workflows.inspect.guard.params import CheckParams, GuardParams
from napari_connecto.workflows.inspect.guard.places import centres_nm, read_places, save_places
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER, Source, draw, pair, view, view_shape

NM = (40.0, 8.0, 8.0)
NETWORK = {"kind": "smp", "encoder": "tu-resnet10t", "depth": 3, "width": 8}
CARD = ModelCard(
    "blobs", "detect", NM, (1, 64, 64), (0, 16, 16), (Output("foreground"),), normalisation=Normalisation("range")
)
NATIVE = replace(CARD, network=NETWORK)


class Threshold:
    """A model without a network: bright is foreground."""

    card = replace(CARD, digest="threshold")

    def __call__(self, batch: np.ndarray, seeds: Any) -> dict[str, np.ndarray]:
        return {"foreground": (batch[:, 0] > 0.5).astype(np.float32)}


class Oracle:
    """A judge that knows the rule: bright is foreground."""

    card = replace(judge_card(Threshold.card, INNER, HALO), digest="oracle")

    def __call__(self, batch: np.ndarray, seeds: Any) -> dict[str, np.ndarray]:
        wrong = ((batch[:, 0] > 0.5) != (batch[:, 1] > 0.5)).astype(np.float32)
        return {ERROR: wrong, QUALITY: np.ones_like(wrong) - wrong}


def image(seed: int = 0, shape: tuple[int, int, int] = (3, 192, 192)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 6, 6))
    return np.clip(128 + 1500 * noise, 0, 255).astype(np.uint8)


def calibration(limit: float = 0.0) -> Calibration:
    zero, one = np.zeros(2), np.ones(2)
    return Calibration(("quality", "error"), zero, one, one, limit, 0.05, 2, 100)


def guard() -> Guard:
    return Guard(Oracle(), Threshold.card, "foreground", "masks", 0.98, calibration(), None, model=Threshold())


@pytest.fixture
def volume() -> Volume:
    return Volume.from_array(image(), NM, name="blobs")


def answer(volume: Volume, hole: Box | None = None) -> Volume:
    mask = np.where(volume.levels[0].array > 127.5, 255, 0).astype(np.uint8)
    if hole is not None:
        mask[hole.slices] = 255 - mask[hole.slices]
    return Volume.from_array(mask, NM, name="foreground")


def test_a_right_answer_is_green_and_has_no_worst_place(volume, tmp_path):
    check = check_pair(volume, answer(volume), guard(), out=tmp_path / "check")
    assert check.verdict.light == "green"
    assert check.worst == []
    assert np.allclose(check.predicted, 1.0)
    assert not np.asarray(check.error.levels[0].array[:]).any()


def test_the_worst_place_is_where_the_answer_was_spoilt(volume, tmp_path):
    hole = Box((1, 100, 40), (2, 148, 88))
    out = tmp_path / "check"
    check = check_pair(volume, answer(volume, hole), guard(), CheckParams(places=3), out=out)
    error = np.asarray(check.error.levels[0].array[:])
    assert (error[hole.slices] == 255).all()
    assert error.sum() == 255 * hole.size
    assert check.worst[0].box.overlaps(hole)
    assert check.worst[0].error > 0.3
    at = check.error.levels[0].to_voxels([check.worst[0].centre_nm])[0]
    assert np.abs(at[1:] - hole.centre[1:]).max() <= 2
    rows = json.loads((out / "worst.json").read_text())
    assert rows[0]["box"] == [*check.worst[0].box.start, *check.worst[0].box.stop]
    report = json.loads((out / "report.json").read_text())
    assert report["lines"] == check.lines()
    assert len((out / "tiles.csv").read_text().splitlines()) == 1 + len(check.tiles)


def test_tiles_predict_the_share_that_is_right(volume, tmp_path):
    hole = Box((0, 0, 0), (1, 96, 48))
    check = check_pair(volume, answer(volume, hole), guard(), out=tmp_path / "check")
    first = [k for k, tile in enumerate(check.tiles) if tile.start == (0, 0, 0)]
    assert check.predicted[first[0]] == pytest.approx(0.5)
    assert np.delete(check.predicted, first) == pytest.approx(1.0)


def test_only_the_region_is_checked(volume, tmp_path):
    hole, region = Box((1, 100, 40), (2, 148, 88)), Box((0, 0, 0), (1, 192, 192))
    check = check_pair(volume, answer(volume, hole), guard(), out=tmp_path / "check", region=region)
    assert {tile.start[0] for tile in check.tiles} == {0}
    assert check.worst == []
    with pytest.raises(InputError, match="must hold voxels of the finest level"):
        check_pair(volume, answer(volume), guard(), region=Box((0, 300, 300), (1, 310, 310)))


def test_an_answer_on_another_grid_is_read_at_its_place(volume, tmp_path):
    coarse = answer(volume).levels[0].array[:, ::2, ::2]
    half = Volume.from_array(np.ascontiguousarray(coarse), (40.0, 16.0, 16.0))
    check = check_pair(volume, half, guard(), out=tmp_path / "check")
    assert 0 < np.asarray(check.error.levels[0].array[:]).mean() / 255 < 0.05


def test_what_is_no_probability_is_refused(volume, tmp_path):
    labels = Volume.from_array(answer(volume).levels[0].array.astype(np.uint32), NM)
    with pytest.raises(InputError, match="got a boundary map of uint32"):
        check_pair(volume, labels, guard(), out=tmp_path / "a")
    logits = Volume.from_array(np.full((3, 192, 192), 5, np.float32), NM)
    with pytest.raises(InputError, match="got answers from 5 to 5"):
        check_pair(volume, logits, guard(), out=tmp_path / "b")
    with pytest.raises(InputError, match="got an answer of type ndarray; give the volume that predict returned"):
        check_pair(volume, np.zeros((3, 192, 192), np.float32), guard(), out=tmp_path / "d")
    with pytest.raises(InputError, match="got an image of type ndarray; make it a volume"):
        check_pair(np.zeros((3, 192, 192), np.float32), answer(volume), guard(), out=tmp_path / "e")
    with pytest.raises(InputError, match="got an answer of 2 channels"):
        check_pair(volume, Volume.from_array(np.zeros((2, 3, 192, 192), np.uint8), NM), guard(), out=tmp_path / "c")


def test_a_model_without_a_guard_is_told(volume, tmp_path):
    with pytest.raises(ModelError, match="has no guard; fit one"):
        check_pair(volume, answer(volume), tmp_path)
    with pytest.raises(ModelError, match="none of those that ship with a guard"):
        check_pair(volume, answer(volume), Threshold())
    with pytest.raises(ModelError, match="got 'nowhere', which is neither a folder nor one of the models"):
        check_pair(volume, answer(volume), "nowhere")
    with pytest.raises(ModelError, match="got a guard of type NoneType; give a Guard"):
        check_pair(volume, answer(volume), None)  # that of the first shipped model would judge any other


def test_a_guard_is_the_same_from_its_folder(tmp_path):
    model = new_model(NATIVE, 1, device="cpu")
    card = save_model(model, tmp_path)
    judge = new_model(judge_card(card, INNER, HALO, 4), 2, device="cpu")
    made = Guard(judge, card, "foreground", "masks", 0.9, calibration(1.5), None, metrics={"tiles": 3})
    made.save(tmp_path)
    made.save(tmp_path)  # replaces the first
    read = load_guard(tmp_path, device="cpu")
    assert (read.card, read.usual, read.by_pair.limit, read.metrics) == (card, 0.9, 1.5, {"tiles": 3})
    batch = np.random.default_rng(0).random((1, 2, 1, 128, 128)).astype(np.float32)
    assert np.array_equal(read.judge(batch, [0])[ERROR], made.judge(batch, [0])[ERROR])
    assert read.model is not None
    assert read.model.card.digest == card.digest
    with pytest.raises(ModelError, match="was fitted to model"):
        with_model(read, new_model(NATIVE, 3, device="cpu"))
    other = tmp_path / "other"
    save_model(new_model(NATIVE, 3, device="cpu"), other)
    with pytest.raises(ModelError, match="this guard is of model"):
        made.save(other)
    (tmp_path / "guard" / "guard.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        load_guard(tmp_path)


@pytest.fixture
def two_guards(tmp_path):
    """A model's folder with a guard of limit 1, and one of limit 2 that is to replace it."""
    card = save_model(new_model(NATIVE, 1, device="cpu"), tmp_path)
    judge = new_model(judge_card(card, INNER, HALO, 4), 2, device="cpu")
    old, new = (Guard(judge, card, "foreground", "masks", 0.9, calibration(limit), None) for limit in (1.0, 2.0))
    old.save(tmp_path)
    return tmp_path, new


@pytest.mark.parametrize("nth", [0, 1, 2, 3, 4])
def test_a_guard_that_cannot_be_replaced_stays(two_guards, monkeypatch, nth):
    """Whichever move fails while a new guard is saved, the old one is there and whole, or the new one is."""
    folder, new = two_guards
    moves = []
    for name in ("rename", "replace"):
        move = getattr(Path, name)

        def failing(self: Path, target: Path, move: Any = move) -> Path:
            moves.append(self)
            if len(moves) == nth + 1:
                raise OSError("no space left")
            return move(self, target)

        monkeypatch.setattr(Path, name, failing)
    try:
        new.save(folder)
        saved = True
    except StoreError:
        saved = False
    monkeypatch.undo()
    assert saved == (len(moves) <= nth)
    assert load_guard(folder, device="cpu").by_pair.limit == (2.0 if saved else 1.0)


def test_a_guard_survives_a_process_that_is_killed_while_it_is_replaced(two_guards):
    """Between the two moves of `whole_folder`: what was put aside is read, and the next writer takes its place."""
    folder, new = two_guards
    aside = folder / ".guard.partial"
    aside.mkdir()
    (folder / "guard").rename(aside / "old.zarr")
    found = load_guard(folder, device="cpu")
    assert found.by_pair.limit == 1.0
    assert found.model is not None
    new.save(folder)
    assert load_guard(folder, device="cpu").by_pair.limit == 2.0
    assert not aside.exists()


@pytest.mark.parametrize("kind", ["masks", "membranes"])
def test_quality_and_score_are_inverse(kind):
    for score in (0.1, 0.5, 0.9):
        assert score_of(np.array(quality_of(score, kind)), kind) == pytest.approx(score)


def test_a_scene_is_what_the_model_says_of_the_place():
    array = image(3)
    labels = np.where(array > 127, 7, 0).astype(np.uint16)
    source = Source.of((array, labels), Threshold.card, "instances")
    box = draw(source, view_shape(Threshold()), np.random.default_rng(0))
    scene = view(source, box, Threshold(), "foreground")
    assert np.array_equal(scene.answer, (array[box.slices] > 127.5).astype(np.float32))
    assert np.array_equal(scene.labels > 1, array[box.slices] > 127)
    tile = pair(scene, (0, 8, 16), scene.answer[0, 8:136, 16:144], "masks", guard().params)
    assert np.array_equal(tile.image[0] > 0.5, tile.answer > 0.5)
    assert tile.judged.score == 1.0


def test_examples_that_do_not_fit_are_refused():
    few = GuardParams(scenes=8, pairs=16, steps=1, tiles=20)
    with pytest.raises(InputError, match="got no example"):
        fit_guard(Threshold(), [], few)
    with pytest.raises(InputError, match="it is a pair"):
        fit_guard(Threshold(), [image()], few)
    with pytest.raises(InputError, match="both must be on one grid"):
        fit_guard(Threshold(), [(image(), np.zeros((2, 9, 9), np.uint8))], few)
    with pytest.raises(InputError, match="hardly any labels"):
        fit_guard(Threshold(), [(image(), np.zeros((3, 192, 192), np.uint8))], replace(few, label_kind="em"))


def test_the_shipped_guard_belongs_to_its_model():
    made = guard_of("fly-medulla")
    assert made.card.name == "fly-medulla"
    assert made.kind == "membranes"
    assert made.combined is not None
    assert made.combined.measured < 0.08
    assert made.metrics["auroc"]["pair"] > 0.9
    assert made.model is not None
    with pytest.raises(ModelError, match="has no guard; fit one"):
        guard_of("rat-axons")


def test_an_answer_without_a_voxel_size_has_the_voxels_of_the_image(volume, tmp_path):
    """It would else be taken for one of nm-sized voxels, in a corner, and the rest for an answer of 0."""
    said = answer(volume)
    unstated = Volume((replace(said.levels[0], voxel_nm=(1.0, 1.0, 1.0)),), calibrated=False)
    one, other = (check_pair(volume, v, guard(), out=tmp_path / n) for n, v in (("a", said), ("b", unstated)))
    np.testing.assert_array_equal(other.error.levels[0].array[:], one.error.levels[0].array[:])
    with pytest.raises(InputError, match="got an answer of shape"):
        check_pair(volume, replace(unstated, levels=(replace(said.levels[0], array=np.zeros((1, 9, 9))),)), guard())


def test_labels_of_an_example_need_no_voxel_size():
    labels = np.arange(3 * 192 * 192, dtype=np.uint32).reshape(3, 192, 192)
    unstated = Volume.from_array(labels, (1.0, 1.0, 1.0), kind="labels")
    source = Source.of((Volume.from_array(image(), NM), replace(unstated, calibrated=False)), CARD, "instances")
    np.testing.assert_array_equal(source.labels.read(source.labels.box), labels)


def test_reading_tiles_reports_and_can_be_cancelled(volume, tmp_path):
    """The last pass over a large answer stops where it is closed, and leaves no report of a finished check."""
    job = check_pair_job(volume, answer(volume), guard(), out=tmp_path / "check")
    assert any(p.stage.startswith("predicting quality") for p in job)
    job = check_pair_job(volume, answer(volume), guard(), out=tmp_path / "closed")
    for progress in job:
        if progress.stage.startswith("predicting quality"):
            job.close()
    assert not (tmp_path / "closed" / "report.json").exists()


def test_a_tile_is_not_bad_for_a_flaw_where_the_usual_one_has_none():
    assert limit_of(0.0, "membranes") == 0.1
    assert limit_of(1.0, "membranes") == 2.0
    assert limit_of(0.0, "masks") == 0.8


def test_examples_without_objects_are_refused_before_training():
    few = GuardParams(scenes=8, pairs=16, steps=1, tiles=20, kind="membranes", label_kind="em")
    with pytest.raises(InputError, match="show no object in any tile; check the labels and label_kind"):
        fit_guard(Threshold(), [(image(), np.ones((3, 192, 192), np.uint8))], few)


def test_one_is_told_in_the_singular(volume, tmp_path):
    part = Box((0, 0, 0), (1, 90, 90))
    lines = check_pair(volume, answer(volume), guard(), out=tmp_path / "check", region=part).lines()
    assert any("of 1 tile: median" in line for line in lines)
    assert not any("1 tiles" in line or "1 places" in line for line in lines)


def test_places_are_read_again_and_exported(volume, tmp_path):
    """What a check lists is the same from its folder, and as a table in nm."""
    hole = Box((1, 100, 40), (2, 148, 88))
    check = check_pair(volume, answer(volume, hole), guard(), CheckParams(places=3), out=tmp_path / "check")
    assert read_places(tmp_path / "check") == list(check.worst)
    np.testing.assert_array_equal(centres_nm(check.worst), [p.centre_nm for p in check.worst])
    assert centres_nm([]).shape == (0, 3)
    save_places(check.worst, tmp_path / "worst.csv")
    head, first, *_ = (tmp_path / "worst.csv").read_text().splitlines()
    assert head == "z_nm,y_nm,x_nm,error,reason"
    z, y, x, error, reason = first.split(",")
    np.testing.assert_allclose([float(z), float(y), float(x)], check.worst[0].centre_nm, atol=0.05)
    assert (float(error), reason) == (pytest.approx(check.worst[0].error, abs=1e-4), check.worst[0].reason)
    endless = '[{"box": [0, 0, 0, 1, 1, 1e999], "centre_nm": [0, 0, 0], "error": 1}]'
    for damaged in ("[{}]", endless):
        (tmp_path / "check" / "worst.json").write_text(damaged)
        with pytest.raises(StoreError, match="is damaged"):
            read_places(tmp_path / "check")
