"""Killed at any moment and run again: the same answer, and only what was missing is computed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.descent import Scores
from napari_connecto.workflows.cascade.search.detect import detect, detect_job
from tests import tiny
from tests.workflows import fakes

NOTHING = {"calls": 0, "seconds": 0.0, "bytes": 0}
GATED = DetectParams(force_cascade=True)


def costs(out):
    """What was spent in a folder until now, by level."""
    path = out / "costs.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search run to the end: its folder, its result, and the tiles that its stages were asked for."""
    out, cascade = tmp_path_factory.mktemp("finished"), fakes.cascade()
    found = detect(fakes.pyramid(fakes.spots()), cascade, GATED, out=out)
    return out, found, fakes.calls(cascade)


@pytest.mark.parametrize("steps", [1, 3, 20, 45, 70, 95])
def test_closed_at_any_step_and_resumed(finished, tmp_path, steps):
    volume = fakes.pyramid(fakes.spots())
    whole, reference, calls = finished
    first, second = fakes.cascade(), fakes.cascade()
    job = detect_job(volume, first, GATED, out=tmp_path / "cut")
    for _ in range(steps):
        next(job)
    job.close()
    kept = sum(len(Scores.open(path).known) for path in (tmp_path / "cut").glob("scores_*.bin"))
    spent = costs(tmp_path / "cut")
    assert sum(figures["calls"] for figures in spent.values()) == kept
    resumed = detect(volume, second, GATED, out=tmp_path / "cut")
    assert (tmp_path / "cut/detections.csv").read_bytes() == (whole / "detections.csv").read_bytes()
    assert sum(fakes.calls(second)) == sum(calls) - kept
    assert [level["calls"] for level in resumed.report["levels"]] == [
        level["calls"] for level in reference.report["levels"]
    ]
    assert resumed.report["audit"] == reference.report["audit"]
    for level in resumed.report["levels"]:
        before = spent.get(level["name"], NOTHING)
        assert level["calls_made"] == level["calls"]
        assert level["seconds"] > before["seconds"] or before["calls"] == level["calls"]
    assert resumed.report["seconds"] > sum(figures["seconds"] for figures in spent.values())


def test_a_finished_search_costs_nothing_again_and_keeps_its_figures(tmp_path):
    volume, again = fakes.pyramid(fakes.spots()), fakes.cascade()
    first = detect(volume, fakes.cascade(), GATED, out=tmp_path)
    second = detect(volume, again, GATED, out=tmp_path)
    assert fakes.calls(again) == [0, 0, 0]
    np.testing.assert_array_equal(first.centre_nm, second.centre_nm)
    assert second.report == first.report
    assert all(level["seconds"] > 0 and level["bytes"] > 0 for level in second.report["levels"])


def test_what_was_spent_is_written_while_a_search_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_connecto.workflows.cascade.search.costs.WRITE_S", 0.0)
    job = detect_job(
        fakes.pyramid(fakes.spots()), fakes.cascade(), DetectParams(ood_check="off", force_cascade=True), out=tmp_path
    )
    done = next(progress.done for progress in job if progress.stage == "level 1" and progress.done == 5)
    figures = costs(tmp_path)["level 1"]
    job.close()
    assert (done, figures["calls"]) == (5, 5)
    assert figures["seconds"] > 0


@pytest.mark.parametrize("content", ["[]", '{"level 0": 3}', '{"level 0": {"calls": 1, "seconds": "2", "bytes": 3}}'])
def test_damaged_figures_are_named(finished, tmp_path, content):
    out = shutil.copytree(finished[0], tmp_path / "out")
    (out / "costs.json").write_text(content)
    with pytest.raises(StoreError, match=r"'.*costs\.json' is damaged; remove it"):
        detect(fakes.pyramid(fakes.spots()), fakes.cascade(), GATED, out=out)


def test_another_volume_or_cascade_is_refused_and_named(tmp_path):
    volume = fakes.pyramid(fakes.spots())
    detect(volume, fakes.cascade(), GATED, out=tmp_path)
    before = (tmp_path / "detections.csv").read_bytes()
    with pytest.raises(
        StoreError, match=r"holds another job: volume.revision: .*; choose a new folder, or run with what is stored$"
    ):
        detect(fakes.pyramid(fakes.spots(seed=9)), fakes.cascade(), GATED, out=tmp_path)
    with pytest.raises(StoreError, match=r"models: got .*Always-1.*, stored .*Brightest-1"):
        detect(volume, fakes.cascade(fakes.Always), GATED, out=tmp_path)
    with pytest.raises(StoreError, match=r"rule.head: got \"centres\", stored \"masks\""):
        detect(volume, fakes.cascade(head="centres"), GATED, out=tmp_path)
    with pytest.raises(StoreError, match=r"tiles: got"):
        detect(volume, fakes.cascade(tile=(4, 8, 8)), GATED, out=tmp_path)
    assert (tmp_path / "detections.csv").read_bytes() == before


def test_another_array_of_the_same_shape_is_refused(tmp_path):
    one, other = (replace(fakes.pyramid(fakes.spots(seed=s)), source="", metadata={}) for s in (0, 9))
    first, again = detect(one, fakes.cascade(), GATED, out=tmp_path), fakes.cascade()
    with pytest.raises(StoreError, match=r"holds another job: volume.content: got .* stored .*choose a new folder"):
        detect(other, fakes.cascade(), GATED, out=tmp_path)
    copied = replace(one, levels=tuple(replace(level, array=level.array.copy()) for level in one.levels))
    np.testing.assert_array_equal(detect(copied, again, GATED, out=tmp_path).centre_nm, first.centre_nm)
    assert fakes.calls(again) == [0, 0, 0]


def test_two_searches_do_not_share_a_folder(tmp_path):
    volume = fakes.pyramid(fakes.spots())
    job = detect_job(volume, fakes.cascade(), GATED, out=tmp_path)
    next(job)
    with pytest.raises(StoreError, match="is in use by another process"):
        detect(volume, fakes.cascade(), GATED, out=tmp_path)
    run(job)
    assert (tmp_path / "detections.csv").exists()


def test_a_search_with_another_threshold_is_not_finished_while_its_labels_are_written(tmp_path):
    def voxels(found):
        finest = found.labels.levels[0]
        return np.count_nonzero(finest.read(finest.box))

    volume, stricter = fakes.pyramid(fakes.spots()), DetectParams(threshold=0.7, force_cascade=True)
    before = voxels(detect(volume, fakes.cascade(), GATED, out=tmp_path))
    job = detect_job(volume, fakes.cascade(), stricter, out=tmp_path)
    while next(job).stage != "objects":
        pass
    assert voxels(Detections.load(tmp_path)) == before, "nothing has changed yet"
    next(job)
    job.close()
    with pytest.raises(InputError, match=r"holds no finished search: report.json"):
        Detections.load(tmp_path)
    after = voxels(detect(volume, fakes.cascade(), stricter, out=tmp_path))
    assert 0 < after == voxels(Detections.load(tmp_path)) < before


def test_a_higher_recall_adds_to_what_was_done(tmp_path):
    volume, more = fakes.pyramid(fakes.spots()), fakes.cascade()
    before = detect(volume, fakes.cascade(), DetectParams(audit=0), out=tmp_path)
    after = detect(volume, more, DetectParams(exhaustive=True, audit=0), out=tmp_path)
    assert fakes.calls(more)[0] == fakes.grid((12, 70, 90)) - before.report["levels"][-1]["calls"]
    assert after.report["levels"][0]["calls"] == fakes.grid((12, 70, 90))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Arguments of a search and its result, run to the end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    volume = tiny.volume(folder, (16, 384, 384))  # large enough to be caught at work
    arguments = (
        "detect",
        volume,
        "--cascade",
        tiny.cascade(volume, folder / "cascade", head="centres"),
        "--audit",
        "60",
        "--backend",
        "torch",
        "--force-cascade",
    )
    done = tiny.command(*arguments, "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "out/report.json").read_text())
    assert report["objects"] > 5
    assert 0 < report["levels"][1]["calls"] < report["chunks"] - 60
    return arguments, folder / "out", report


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "done"), [("level 1", 3), ("level 0", 20), ("audit", 2)])
def test_killed_and_run_again(undisturbed, tmp_path, stage, done):
    arguments, whole, report = undisturbed
    out = tmp_path / "out"
    process = tiny.start(*arguments, "--out", out)
    tiny.wait_for(process, stage, done)
    process.kill()
    process.communicate()
    assert not (out / "detections.csv").exists()
    kept = [len(Scores.open(out / f"scores_{k}.bin").known) for k in (1, 0)]
    spent = costs(out)
    again = tiny.command(*arguments, "--out", out)
    assert again.returncode == 0, again.stderr
    assert (out / "detections.csv").read_bytes() == (whole / "detections.csv").read_bytes()
    levels = json.loads((out / "report.json").read_text())["levels"]
    assert [level["calls_made"] for level in levels] == [
        spent.get(level["name"], NOTHING)["calls"] + level["calls"] - n
        for level, n in zip(report["levels"], kept, strict=True)
    ]
    if stage != "level 1":
        assert kept[0] == report["levels"][0]["calls"]
    if stage == "audit":
        assert kept[1] == report["levels"][1]["calls"]


@pytest.mark.slow
def test_interrupted_says_how_to_go_on(undisturbed, tmp_path):
    arguments, whole, _ = undisturbed
    process = tiny.start(*arguments, "--out", tmp_path / "out")
    tiny.wait_for(process, "level 1", 0)  # the first pass of a network takes long enough to be interrupted
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to resume" in err
    assert "Traceback" not in err
    again = tiny.command(*arguments, "--out", tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out/detections.csv").read_bytes() == (whole / "detections.csv").read_bytes()
