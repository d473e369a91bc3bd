"""What is said of a training: a failure is one, and a cascade worse than the one before is not better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.jobs import run
from napari_connecto.io.tables.tables import write_table
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.reports.cascade import _keys
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.thresholds.held_out import HeldOut
from napari_connecto.workflows.cascade.thresholds.untrained import Untrained
from napari_connecto.workflows.cascade.training.summary import summarise
from napari_connecto.workflows.recipes.recipe import recipe_job
from tests import tiny
from tests.workflows import fakes


def trained(hits, n, false, **metadata):
    cascade = fakes.cascade(factors=((1, 2, 2),))
    held_out = HeldOut(np.arange(n) < hits, 0, false, 4)
    objects = np.zeros(n, int)
    calibration = replace(cascade.calibration, held_out=held_out, objects=objects)
    return replace(cascade, calibration=calibration, metadata=metadata)


def test_a_cascade_that_finds_nothing_has_failed():
    told = summarise(trained(0, 23, 5))
    assert told.lines[0] == told.failure
    assert told.failure.startswith("Training failed: the cascade finds none of the 23 held-out objects. Train longer")
    assert not told.usable
    assert summarise(trained(1, 23, 5)).failure == ""


@pytest.mark.parametrize(("before", "worse"), [((20, 0), True), ((10, 9), False), ((12, 3), False)])
def test_a_cascade_is_compared_with_the_one_before(before, worse):
    hits, false = before
    previous = {"name": "old", "held_out": HeldOut(np.arange(23) < hits, 0, false, 4).to_json()}
    told = summarise(trained(12, 23, 3, previous=previous))
    assert (told.worse, told.usable) == (worse, not worse)
    assert f"'old' {2 * hits / (23 + hits + false):.2f} ({hits} of 23 found, {false} false)" in told.comparison
    assert "F1 0.63 (12 of 23 found, 3 false)" in told.comparison
    assert told.comparison in told.lines


@pytest.mark.parametrize(("hits", "better"), [(20, True), (12, False), (5, False)])
def test_a_plain_threshold_stands_beside_the_cascade_and_warns_where_it_is_better(hits, better):
    baseline = HeldOut(np.arange(23) < hits, 0, 3, 4).to_json()
    lines = [line for line in summarise(trained(12, 23, 3, baseline=baseline)).lines if "plain threshold" in line]
    assert len(lines) == 1
    assert f"({hits} of 23 found, 3 false)" in lines[0]
    assert ("does better than this cascade" in lines[0]) is better


@pytest.mark.parametrize(("hits", "better"), [(20, True), (12, False), (5, False)])
def test_where_blobs_do_better_it_says_so_once_and_how_to_use_them(hits, better):
    held_out = HeldOut(np.arange(23) < hits, 0, 3, 4)
    blobs = Untrained(32.04, True, 2, held_out).to_json()
    baseline = replace(held_out, found=np.arange(23) < 14).to_json()
    lines = summarise(trained(12, 23, 3, baseline=baseline, blobs=blobs)).lines
    told = [line for line in lines if "better than this cascade" in line]
    assert len(told) == 1
    assert ("detector of blobs" in told[0]) is better
    if better:
        assert "(20 of 23 found, 3 false); this cascade: F1 0.63 (12 of 23 found, 3 false)" in told[0]
        assert "--detector blobs --detector-options 'diameter_nm=32 dark=true', channel 2" in told[0]


def test_one_that_cannot_be_compared_says_why():
    told = summarise(trained(12, 23, 3, previous={"name": "old", "error": "it has 3 channels"}))
    assert (told.worse, told.comparison) == (False, "Not compared with 'old': it has 3 channels")


def test_a_page_has_the_recall_of_labelled_objects():
    volume = fakes.pyramid(np.zeros((4, 64, 64), np.uint8), ((1, 2, 2),))
    found = detect(volume, trained(12, 23, 3), DetectParams(exhaustive=True, audit=0))
    figures = {text: number for number, text in _keys(found.report, len(found))}
    assert figures["held-out objects found (95 % CI 31 % to 73 %)"] == "12 of 23"


@pytest.mark.slow
def test_a_reviewed_table_trains_and_is_compared_headless(tmp_path):
    image, truth = tiny.cells(1)
    run(save_volume_job(image, tmp_path / "image.ome.zarr", levels=2))
    level = truth.levels[0]
    array = np.asarray(level.array)
    centres = level.to_nm(np.array([np.argwhere(array == n).mean(0) + 0.5 for n in np.unique(array)[1:]]))
    status = np.array(["accepted", "accepted", "new"] * len(centres))[: len(centres)]
    status[3] = "rejected"
    places = {f"{axis}_nm": centres[:, i] for i, axis in enumerate("zyx")}
    write_table(tmp_path / "reviewed.csv", places | {"status": status})
    params = {"steps": 10, "width": 2, "diameter_nm": 8000, "head": "centres", "device": "cpu"}
    recipe = {"workflow": "train-cascade", "volume": {"path": str(tmp_path / "image.ome.zarr")}, "params": params}
    first = run(recipe_job({**recipe, "points": str(tmp_path / "reviewed.csv"), "out": str(tmp_path / "a")}))
    assert (first.figures["comparison"], first.figures["worse"]) == ("", False)
    second = {**recipe, "points": str(tmp_path / "reviewed.csv"), "out": str(tmp_path / "b")}
    told = run(recipe_job({**second, "previous": str(tmp_path / "a")}))
    assert told.figures["comparison"].startswith("On the same held-out objects: F1")
    assert "'cascade' " in told.figures["comparison"]
    held_out = summarise_held_out(tmp_path / "b")
    assert not held_out["complete"]
    before, after = (load_cascade(tmp_path / name, backend="torch").stages[0].net.state_dict() for name in "ab")
    moved = [float((after[k].float() - v.float()).abs().max()) for k, v in before.items() if k.endswith("weight")]
    assert 0 < max(moved) < 0.05  # it went on from what was known
    assert len(held_out["found"]) < np.count_nonzero(status == "accepted")


def summarise_held_out(folder):
    from napari_connecto.workflows.cascade.document import read_document

    return read_document(folder)["calibration"]["held_out"]


@pytest.mark.parametrize(("hits", "false", "low"), [(4, 0, True), (9, 1, False), (9, 20, True)])
def test_low_accuracy_is_said_plainly_with_what_helps(hits, false, low):
    held_out = HeldOut(np.arange(10) < hits, 0, false, 4, dice=0.81)
    assert f"finds {hits} of 10 held-out objects" in held_out.sentence
    assert "Dice of 0.81" in held_out.sentence
    assert ("This is low: label more objects, or train longer." in held_out.sentence) is low
    assert HeldOut.from_json(held_out.to_json()).sentence == held_out.sentence
