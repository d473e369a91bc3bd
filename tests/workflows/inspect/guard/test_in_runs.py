"""An error map as an option of runs: what a check of the finished answer says, resumed, cancelled and kept with it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_connecto.core.errors import ChunkError, InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Output
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.inspect.pair import judge_card
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.inspect.guard.check import check_pair
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.places import read_places
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER
from napari_connecto.workflows.recipes.guard import guard_beside, judged_lines
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict, predict_job
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.xray.check.check import check_translation
from napari_connecto.workflows.xray.translate import Translation
from tests.workflows import fakes
from tests.workflows.inspect.guard.test_guard import NM, Oracle, Threshold, calibration, image

HOLE = Box((1, 100, 40), (2, 148, 88))


class Careless(Threshold):
    """Answers the opposite in one place of the image, which it knows by its one grey value."""

    card = replace(Threshold.card, digest="careless")

    def __call__(self, batch: np.ndarray, seeds: Any) -> dict[str, np.ndarray]:
        right = batch[:, 0] > 0.5
        return {"foreground": (right ^ (np.abs(batch[:, 0] - 250 / 255) < 1e-3)).astype(np.float32)}


class Counted(Oracle):
    """Counts what it judged."""

    def __init__(self) -> None:
        self.tiles = 0

    def __call__(self, batch: np.ndarray, seeds: Any) -> dict[str, np.ndarray]:
        self.tiles += len(batch)
        return super().__call__(batch, seeds)


def guard(judge: Oracle | None = None) -> Guard:
    return Guard(judge or Counted(), Careless.card, "foreground", "masks", 0.98, calibration(), None, model=Careless())


@pytest.fixture
def volume() -> Volume:
    """Values 0 to 249 and 255, and a place of 250 that the model gets wrong."""
    values = np.minimum(image(), 249)
    values[0, 0, 0], values[0, 0, 1] = 0, 255
    values[HOLE.slices] = 250
    return replace(Volume.from_array(values, NM, name="blobs"), source="memory", metadata={"revision": "1"})


def error_of(out) -> np.ndarray:
    return np.asarray(open_volume(out / "check" / "error.zarr").levels[0].array[:])


def test_predict_writes_the_map_that_a_check_of_its_answer_writes(volume, tmp_path):
    """On the image's own grid, with the worst place where the model is wrong, and kept in the result."""
    found = predict(volume, Careless(), out=tmp_path / "run", guard=guard())
    alone = check_pair(volume, found, guard(), out=tmp_path / "alone")
    np.testing.assert_array_equal(error_of(tmp_path / "run"), np.asarray(alone.error.levels[0].array[:]))
    level = open_volume(tmp_path / "run" / "check" / "error.zarr").levels[0]
    own = volume.levels[0]
    assert (level.shape, level.voxel_nm, level.origin_nm) == (own.shape, own.voxel_nm, own.origin_nm)
    assert (error_of(tmp_path / "run")[HOLE.slices] == 255).all()
    assert read_places(tmp_path / "run" / "check")[0].box.overlaps(HOLE)
    kept = json.loads((tmp_path / "run" / "prediction.json").read_text())
    assert kept["guard"] == json.loads((tmp_path / "run" / "check" / "report.json").read_text())
    assert found.metadata["guard"]["lines"] == alone.lines()


@pytest.mark.parametrize("steps", [1, 14, 19, 30])
def test_closed_at_any_step_and_resumed(volume, tmp_path, steps):
    """What was judged is not judged again, and the end is the same."""
    predict(volume, Careless(), out=tmp_path / "whole", guard=guard(whole := Counted()))
    job = predict_job(volume, Careless(), out=tmp_path / "cut", guard=guard(first := Counted()))
    for _ in range(steps):
        next(job)
    job.close()
    predict(volume, Careless(), out=tmp_path / "cut", guard=guard(second := Counted()))
    np.testing.assert_array_equal(error_of(tmp_path / "cut"), error_of(tmp_path / "whole"))
    assert whole.tiles <= first.tiles + second.tiles <= whole.tiles + 8  # a batch that was under way
    predict(volume, Careless(), out=tmp_path / "cut", guard=guard(third := Counted()))
    assert third.tiles == 0


def test_progress_rises_to_the_end_and_names_the_map(volume, tmp_path):
    reports = list(predict_job(volume, Careless(), out=tmp_path, guard=guard()))
    shares = [report.overall for report in reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert "mapping errors" in dict(reports[-1].phases)
    mapping = [report for report in reports if report.stage == "mapping errors"]
    assert mapping
    assert all(report.payload is None for report in mapping)  # a dock takes payloads for those of its own run


def test_segment_judges_the_boundary_in_its_region(volume, tmp_path):
    """The map of a region has nothing outside, and the labels are those of a run without a guard."""
    region, params = Box((1, 0, 0), (2, 192, 192)), SegmentParams(mode="2d")
    plain = segment(volume, params, model=Careless(), out=tmp_path / "plain", region=region)
    found = segment(volume, params, model=Careless(), out=tmp_path / "run", region=region, guard=guard())
    np.testing.assert_array_equal(found.levels[0].array[:], plain.levels[0].array[:])
    error = error_of(tmp_path / "run")
    assert (error[HOLE.slices] == 255).all()
    assert not error[[0, 2]].any()
    assert found.metadata["guard"]["model"] == Careless.card.digest
    assert not (tmp_path / "plain" / "check").exists()


def test_a_finished_run_gets_its_map_later(volume, tmp_path):
    """Asked again with a guard, a run adds the map and keeps the rest."""
    predict(volume, Careless(), out=tmp_path)
    predict(volume, Careless(), out=tmp_path, guard=guard())
    assert (error_of(tmp_path)[HOLE.slices] == 255).all()


def test_the_membranes_of_a_translation_are_judged(volume, tmp_path):
    none = Volume.from_array(np.zeros(volume.levels[0].shape, np.float32), NM)
    found = Translation(volume, none, none)
    checked = check_translation(found, Careless(), SegmentParams(mode="2d"), out=tmp_path, guard=guard())
    assert (error_of(tmp_path)[HOLE.slices] == 255).all()
    assert checked.labels.metadata["guard"]["kind"] == "masks"


def test_a_guard_sees_what_a_search_skipped(tmp_path):
    """A coarse level that lets nothing pass: the map is wrong where the objects are, and the report says so."""
    cascade, spots = fakes.cascade(fakes.Never), fakes.pyramid(fakes.spots())
    own = replace(cascade.stages[0].card, outputs=(Output("p"),))

    class Knows(Oracle):
        card = replace(judge_card(own, INNER, HALO), digest="knows")

    judge = Guard(Knows(), own, "p", "masks", 0.9, calibration(), None)
    params = DetectParams(audit=0, force_cascade=True, ood_check="off")
    found = detect(spots, cascade, params, out=tmp_path, guard=judge)
    assert len(found) == 0
    bright = np.asarray(spots.levels[0].array) > 140
    assert (error_of(tmp_path)[bright] == 255).all()
    assert not error_of(tmp_path)[np.asarray(spots.levels[0].array) < 120].any()
    assert found.report["guard"]["bad_tiles"] >= 0
    assert json.loads((tmp_path / "report.json").read_text())["guard"] == found.report["guard"]


def test_a_check_that_fails_loses_nothing_that_was_found(tmp_path):
    cascade, spots = fakes.cascade(), fakes.pyramid(fakes.spots())

    class Fails(Oracle):
        card = replace(judge_card(cascade.stages[0].card, INNER, HALO), digest="fails")

        def __call__(self, batch, seeds):
            raise ChunkError("a chunk that the search never read is damaged")

    params = DetectParams(audit=0, force_cascade=True, ood_check="off")
    plain = detect(spots, cascade, params, out=tmp_path / "plain")
    judge = Guard(Fails(), cascade.stages[0].card, "p", "masks", 0.9, calibration(), None)
    with pytest.raises(ChunkError):
        detect(spots, cascade, params, out=tmp_path / "judged", guard=judge)
    tables = [(tmp_path / name / "detections.csv").read_text() for name in ("plain", "judged")]
    assert tables[0] == tables[1]
    assert len(plain) > 0
    assert (tmp_path / "judged" / "report.json").exists()


def test_a_guard_that_cannot_judge_the_run_is_refused(volume, tmp_path):
    with pytest.raises(ModelError, match="fitted to 'blobs', not to 'blobs'"):
        predict(volume, Threshold(), out=tmp_path / "a", guard=guard())
    with pytest.raises(InputError, match="got a guard without a model"):
        segment(volume, out=tmp_path / "b", guard=guard())
    cascade, params = fakes.cascade(), DetectParams(on_bad_chunk="skip")
    judge = replace(guard(), card=cascade.stages[0].card)
    with pytest.raises(InputError, match="a guard cannot judge damaged chunks"):
        detect(fakes.pyramid(fakes.spots()), cascade, params, out=tmp_path / "c", guard=judge)
    assert not list(tmp_path.iterdir())


def test_a_map_that_cannot_be_made_is_refused_before_the_run(tmp_path):
    assert guard_beside(False, tmp_path, None) is None
    with pytest.raises(InputError, match="has no guard; fit one with `napari-connecto guard fit IMAGE LABELS"):
        guard_beside(True, tmp_path, None)
    with pytest.raises(InputError, match="but a detector alone has no guard; give a cascade; or leave --error-map out"):
        guard_beside(True, None, None, "a detector alone has no guard; give a cascade")
    assert judged_lines({}, tmp_path) == []
