"""Pages of small results: the right numbers, nothing from the network, and names that are no more than text."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.reports import pictures
from napari_connecto.reports.write import write_report
from napari_connecto.sample_data import list_translators
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict, predict_job
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.xray.translate import translate, translate_job
from tests import translate_parts
from tests.workflows import fakes

HOSTILE = "<script>alert(1)</script>$\\frac{"


class Links(HTMLParser):
    """Addresses that a page would load or lead to, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def read(page: Path, most: int = 3_000_000) -> str:
    """The page's text, after what must hold of every page: whole, small, and alone."""
    text = page.read_text(encoding="utf-8")
    found = Links()
    found.feed(text)
    assert len(text) < most
    assert "script" not in found.tags
    assert all(a.startswith(("data:image/", "#result-")) for a in found.addresses)
    assert not re.search(r"url\(|@import", text)
    return text


def words(page: Path) -> str:
    """What a reader sees."""
    body = read(page).split("<main>")[1]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_a_search_tells_its_funnel_and_audit(tmp_path):
    found = detect(fakes.pyramid(fakes.spots(count=5)), fakes.cascade(), DetectParams(audit=8), out=tmp_path / "found")
    page = write_report(tmp_path / "found")
    text, audit = words(page), found.report["audit"]
    assert page == tmp_path / "found" / "report.html"
    assert f"{len(found)} objects found" in text
    assert audit["sentence"] in text
    assert f"of these, classified again by the finest level {audit['sampled']}" in text
    for level in found.report["levels"]:
        assert f"{level['calls']} {level['calls_predicted']:.0f} {percent(level['share'], 2)} {level['passed']}" in text
    assert read(page).count("data:image/svg+xml") == 2


def ranking(folder: Path, name: str = "near", absent: float | None = None) -> Path:
    rows = [
        {"name": name, "mmd2": 0.0123, "interval": [0.01, 0.02], "p": 0.4, "fits": True, "note": ""},
        {"name": "far", "mmd2": 0.5, "interval": [0.4, 0.6], "p": 0.001, "fits": False, "note": "farther"},
        {"name": "coarse", "mmd2": absent, "interval": [absent] * 2, "p": absent, "fits": False}
        | {"note": "too small"},
    ]
    folder.mkdir(parents=True)
    told = {"ranks": [{**row, "voxel_ratio": 1.0, "licence": "MIT"} for row in rows], "limit": 0.3, "encoder": "abc"}
    (folder / "ranking.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("absent", [None, float("nan")])  # NaN: as older files have it
def test_a_ranking_says_where_to_start_and_by_how_much(tmp_path, absent):
    text = words(write_report(ranking(tmp_path / "ranking", absent=absent)))
    assert "Start from &#39;near&#39;" in text
    assert "near 0.0123 0.0100 to 0.0200 0.400 1.00 fits MIT" in text
    assert "coarse – – – 1.00 not compared MIT too small" in text


def test_a_ranking_by_agreement_says_what_to_expect(tmp_path):
    def score(value):
        return {"value": value, "low": value / 2, "high": None}

    first = {"name": "near", "consensus": score(0.7), "consistency": score(0.5), "instability": score(0.1)}
    first |= {"fits": True, "note": "", "expected": [0.3, 0.9], "better": 0.2, "mmd2": None, "licence": "MIT"}
    first |= {"own_encoder": {"value": 0.1234, "low": 0.1, "high": 0.15}}
    other = {"name": "odd", "fits": False, "note": "too coarse", "licence": "", "voxel_ratio": 20.0}
    other |= dict.fromkeys(("consensus", "consistency", "instability", "mmd2", "better"))
    told = {"ranks": [first | {"voxel_ratio": 1.0}, other], "instability_limit": 0.2, "places": 6, "skipped": 1}
    (tmp_path / "ranking.json").write_text(json.dumps(told))
    text = words(write_report(tmp_path))
    assert "Start from &#39;near&#39;: expected VI 0.30 to 0.90 bits, chance that another model is better 20 %." in text
    assert "near 0.70 0.50 0.10 – 0.123 (0.100 to 0.150) – 1.00 fits MIT" in text
    assert "odd – – – – – – 20.00 not compared too coarse" in text
    assert "places segmented (1 empty ones skipped) 6" in text
    told["ranks"][0]["fits"] = False
    (tmp_path / "ranking.json").write_text(json.dumps(told))
    assert "No model fits: none gives stable answers" in words(write_report(tmp_path))


@pytest.mark.parametrize("limit", [{"instability_limit": 0.2}, {"limit": None}])
def test_a_ranking_of_which_no_model_was_sound_has_a_page(tmp_path, limit):
    row = {"name": "odd", "fits": False, "note": "specks", "licence": "", "voxel_ratio": 1.0}
    row |= dict.fromkeys(("consensus", "consistency", "instability", "mmd2", "better", "p"))
    told = {"ranks": [row], **limit, "notices": ["Places have 96 x 96 voxels."]}
    (tmp_path / "ranking.json").write_text(json.dumps(told))
    text = words(write_report(tmp_path))
    assert "No model fits" in text
    assert "not compared" in text
    assert "Places have 96 x 96 voxels." in text


def test_names_are_text_whatever_they_say(tmp_path):
    page = write_report(ranking(tmp_path / "ranking", HOSTILE))
    assert "<script" not in read(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$\\frac{" in read(page)


def tuning(folder: Path, patches: int, after: float, interval: tuple[float | None, ...] = (0.1, 0.3)) -> Path:
    def scored(total: float) -> dict:
        params = asdict(SegmentParams(mode="2d"))
        return {
            "params": params,
            "vi": [{"split": total / 4, "merge": total * 3 / 4, "total": total}] * 2,
            "total": total,
        }

    (folder / "model").mkdir(parents=True)
    metrics = {"fine_tune": {"patches": patches, "version": "9.8.7"}}
    (folder / "model" / "card.json").write_text(json.dumps({"digest": "d" * 64, "metrics": metrics, "licence": "CC0"}))
    found = {
        "gain": 1 - after,
        "interval": list(interval),
        "before": scored(1.0),
        "after": scored(after),
        "verdict": "It did.",
    }
    (folder / "comparison.json").write_text(json.dumps(found))
    (folder / "segment.json").write_text("{}")
    return folder


def test_a_fine_tuning_compares_patch_by_patch(tmp_path):
    text = words(write_report(tuning(tmp_path / "tuned", 4, 0.8)))
    assert "It did." in text
    assert "+0.200 bits gained (+0.100 to +0.300, 95 %)" in " ".join(keys(tmp_path / "tuned" / "report.html"))
    assert "1 0.250 0.750 1.000 0.200 0.600 0.800 +0.200" in text
    found = json.loads((tmp_path / "tuned" / "comparison.json").read_text())
    (tmp_path / "tuned" / "comparison.json").write_text(json.dumps(found | {"patches": [3, 7]}))
    text = words(write_report(tmp_path / "tuned"))
    assert "3 0.250 0.750 1.000 0.200 0.600 0.800 +0.200" in text  # as the session numbers them
    assert "napari-connecto 9.8.7" in text
    (tmp_path / "tuned" / "segment.json").unlink()  # killed after the model was saved, before it was compared
    with pytest.raises(StoreError, match=r"not finished \(no segment\.json\)"):
        write_report(tmp_path / "tuned")


def test_a_fine_tuning_says_how_its_labels_came_about(tmp_path):
    folder = tuning(tmp_path / "tuned", 4, 0.8)
    lines = ["trained on 4 patches: 3 edited (1 % of voxels), 1 accepted unedited", "held-out patch 5 is not counted"]
    (folder / "annotation.json").write_text(json.dumps({"lines": lines}))
    text = words(write_report(folder))
    assert f"{lines[0].capitalize()}." in text
    assert "Held-out patch 5 is not counted." in text


def test_a_gain_without_an_interval_has_none_on_its_page(tmp_path):
    page = write_report(tuning(tmp_path / "tuned", 4, 0.8, (None, None)))
    assert "+0.200 bits gained" in keys(page)
    assert "is not significant on these held-out patches" in words(page)


def keys(page: Path) -> list[str]:
    """Headline figures as they are seen: value, then what it is."""
    return [f"{value} {what}" for what, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", read(page))]


def test_a_folder_of_results_becomes_one_page_with_a_curve(tmp_path):
    tuning(tmp_path / "all" / "first", 4, 0.8)
    tuning(tmp_path / "all" / "second", 9, 0.5)
    ranking(tmp_path / "all" / "deeper" / "ranking")
    (tmp_path / "all" / "broken").mkdir()
    (tmp_path / "all" / "broken" / "ranking.json").write_text('{"ranks": 3, "limit": 1}')
    text = words(write_report(tmp_path / "all", tmp_path / "page.html"))
    assert "all: 4 results" in text
    assert "not finished" not in text
    assert text.count("VI by annotated patches") == 1
    assert "is damaged" in text


def test_a_session_counts_what_became_of_its_patches(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    (tmp_path / "session.json").write_text("{}")
    for n, held in ((1, False), (2, True)):
        box = [0, 0, 0, 1, 8, 8]
        log.append(
            {"event": "suggest", "id": n, "box": box, "score": 0.5, "reason": f"{HOSTILE} {n}", "held_out": held}
        )
    log.append({"event": "skip", "id": 1})
    page = write_report(tmp_path)
    assert "0 of 2 suggested patches are annotated" in words(page)
    assert {"2 patches suggested", "1 skipped", "1 waiting"} <= set(keys(page))
    log.append({"event": "commit", "id": 1, "labels": 1, "prefilled": True, "edited": 0.0})
    log.append({"event": "commit", "id": 2, "labels": 1, "prefilled": True, "edited": 0.031})
    page = write_report(tmp_path)
    assert "Labels: 1 edited (3.1 % of voxels), 1 accepted unedited." in words(page)
    assert "Accepted unedited: 1 of the committed patches" in words(page)
    assert "committed, held out 3.1 % of the pre-fill edited" in words(page)


def test_a_segmentation_and_its_input(tmp_path):
    boundary = np.zeros((2, 40, 40), np.float32)
    boundary[:, 18:22] = 1
    path = tmp_path / f"{HOSTILE.replace('/', '')}.zarr"
    save_volume(Volume.from_array(boundary, (40, 8, 8), name="map"), path, levels=1)
    labels = segment(open_volume(path), SegmentParams(mode="2d-linked", min_size=0), out=tmp_path / "cut")
    page = write_report(tmp_path / "cut")
    assert f"{labels.metadata['segments']} segments in 2 × 40 × 40 voxels" in words(page)
    assert "<script" not in read(page)
    assert read(page).count("data:image/jpeg") == 1


def test_a_prediction_shows_its_outputs(tmp_path):
    predict(fakes.pyramid(fakes.spots(count=3)), fakes.cascade().stages[0], out=tmp_path / "made")
    assert "a value from 0 to 1 per voxel" in words(write_report(tmp_path / "made"))


def test_a_prediction_that_was_stopped_is_not_told_as_one(tmp_path):
    volume, model = fakes.pyramid(fakes.spots(count=3)), fakes.cascade().stages[0]
    predict(volume, model, out=tmp_path / "made")
    job = predict_job(volume, model, out=tmp_path / "made")
    while not (tmp_path / "made" / "ood_check.json").exists() or (tmp_path / "made" / "prediction.json").exists():
        next(job)
    job.close()
    with pytest.raises(StoreError, match=r"not finished \(no prediction\.json\); run it again"):
        write_report(tmp_path / "made")


def test_a_translation_that_was_stopped_is_not_told_as_one(tmp_path):
    parts = (translate_parts.xray(), translate_parts.untrained())
    translate(*parts, out=tmp_path / "made")
    job = translate_job(*parts, out=tmp_path / "made")
    while (tmp_path / "made" / "translation.json").exists():
        next(job)
    job.close()
    with pytest.raises(StoreError, match=r"not finished \(no translation\.json\); run it again"):
        write_report(tmp_path / "made")


def test_a_translation_lists_the_worst_places(tmp_path):
    found = translate(translate_parts.xray(), translate_parts.untrained(), out=tmp_path / "made")
    text = words(write_report(tmp_path / "made"))
    shape = " × ".join(map(str, found.mean.levels[0].shape))
    assert f"{shape} voxels, EM-like, by &#39;tiny&#39;" in text
    assert "region z (nm) y (nm) x (nm) sd epistemic share 1 " in text


def test_a_translator_tells_its_calibration(tmp_path):
    folder = list_translators()["synthetic"]
    metrics = json.loads((folder / "translator.json").read_text())["about"]["metrics"]
    text = words(write_report(folder, tmp_path / "page.html"))
    assert f"AUSE): {metrics['calibration']['ause']:.3f}" in text
    assert f"translated {metrics['translated']['psnr']:.3f} {metrics['translated']['ssim']:.3f}" in text
    assert f"90 % {percent(metrics['calibration']['coverage']['0.9'], 1)}" in text
    assert "Trained on simulated X-ray only" in text


def test_what_is_no_result_or_not_finished_is_said_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no finished result; give a folder"):
        write_report(tmp_path / "empty")
    with pytest.raises(InputError, match=r"is not a folder; give"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "job.json").write_text(json.dumps({"fingerprint": {"workflow": "detect"}}))
    with pytest.raises(StoreError, match=r"not finished \(no report\.json, detections\.csv\); run it again"):
        write_report(tmp_path / "half")


def test_the_command_prints_the_page(tmp_path):
    folder = ranking(tmp_path / "ranking")
    done = CliRunner().invoke(cli, ["report", str(folder), "--progress", "none"], catch_exceptions=False)
    assert done.output == f"report: {folder / 'report.html'}\n"
    refused = CliRunner().invoke(cli, ["rank", "x.tif", "--report"])
    assert "--report needs --out" in refused.output


class Counted:
    """An array that is never whole in memory; counts the voxels that were read."""

    shape, dtype = (50_000, 60_000, 70_000), np.dtype("uint8")

    def __init__(self) -> None:
        self.read = 0

    def __getitem__(self, index):
        block = np.zeros([s.stop - s.start for s in index[-3:]], np.uint8)
        self.read += block.size
        return block


def test_pictures_of_huge_volumes_read_little():
    array = Counted()
    volume = Volume((Level(array, (4.0, 4.0, 4.0)),))
    cut = pictures.section(volume)
    assert cut is not None
    assert cut.values.shape == (900, 900)
    assert array.read == 900 * 900
    assert pictures.section(volume, reach_nm=1e6).values.shape == (900, 900)
    assert array.read == (1 + pictures.DEEPEST) * 900 * 900


def test_a_section_lies_where_it_is_asked_for():
    array = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
    volume = Volume((Level(array, (40.0, 8.0, 8.0), (0.0, 80.0, 0.0)),))
    place = pictures.Place((0.0, 96.0, 16.0), (160.0, 112.0, 40.0))
    cut = pictures.section(volume, place, z_nm=50.0)
    assert cut is not None
    np.testing.assert_array_equal(cut.values, array[1, 2:4, 2:5])
    assert cut.extent == (0.016, 0.04, 0.112, 0.096)
    assert pictures.section(volume, pictures.Place((0.0, 9e3, 0.0), (1.0, 9.1e3, 8.0))) is None
