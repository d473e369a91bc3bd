"""Laws of the gated search, on filters instead of networks: what it may change (the cost) and what not (the answer)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import ChunkError, InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Progress, run
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.pyramid import downsample
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.estimate import estimate
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.results.measure import measure
from napari_connecto.workflows.cascade.search.descent import Scores
from napari_connecto.workflows.cascade.search.detect import detect, detect_job
from tests.workflows import fakes
from tests.workflows.watched import watched

EVERYWHERE = DetectParams(exhaustive=True, audit=0)
GATED = DetectParams(force_cascade=True)


def stored_map(folder):
    return np.asarray(open_volume(folder / "map" / "probability.zarr").levels[0].array[:])


def same(a: Detections, b: Detections) -> None:
    for name in ("centre_nm", "score", "box"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def truth_of(image, threshold=fakes.THRESHOLD, least=4):
    """Objects of the whole volume at once: centres in voxels, sorted."""
    labels, n = ndimage.label(fakes.dense(image) >= np.ceil(threshold * 255))
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    kept = [i for i in range(1, n + 1) if sizes[i] >= least]
    return np.array([np.argwhere(labels == i).mean(0) + 0.5 for i in kept]).reshape(-1, 3)


def by_place(points):
    return points[np.lexsort(points.T)]


def owned_by(chunks, shape, tile=fakes.TILE):
    mask = np.zeros(shape, bool)
    for t in TilePlan(tuple(shape), tile).tiles(chunks):
        mask[t.write.slices] = True
    return mask


def test_a_cascade_is_the_one_level_answer_under_its_mask(tmp_path):
    image = fakes.spots(count=5)
    volume = fakes.pyramid(image)
    gated = detect(volume, fakes.cascade(), DetectParams(audit=0), out=tmp_path / "gated")
    looked = owned_by(Scores.open(tmp_path / "gated/scores_0.bin").indices(), image.shape)
    assert looked[owned_by(gated.chunks, image.shape)].all()
    whole = fakes.dense(image)
    np.testing.assert_array_equal(stored_map(tmp_path / "gated")[looked], whole[looked])
    detect(volume, fakes.cascade(), EVERYWHERE, out=tmp_path / "all")
    everywhere = stored_map(tmp_path / "all")
    np.testing.assert_array_equal(everywhere[looked], stored_map(tmp_path / "gated")[looked])
    assert 0 < looked.mean() < 0.8


@pytest.mark.parametrize("shape", [(12, 70, 90), (8, 64, 64), (5, 33, 47), (9, 17, 129), (1, 100, 70)])
def test_a_perfect_coarse_level_loses_nothing(shape):
    image = fakes.spots(shape, count=5)
    volume, gated, one = fakes.pyramid(image), fakes.cascade(), fakes.cascade()
    found, all_of_it = detect(volume, gated, GATED), detect(volume, one, EVERYWHERE)
    same(found, all_of_it)
    np.testing.assert_allclose(
        by_place(volume.levels[0].to_voxels(found.centre_nm)), by_place(truth_of(image)), atol=1e-9
    )
    assert fakes.calls(one) == [fakes.grid(shape), 0, 0]
    assert found.report["audit"]["positives"] == 0


@pytest.mark.parametrize(
    "factors", [((1, 2, 2), (2, 2, 2)), ((2, 2, 2),), ((1, 2, 2), (1, 2, 2), (2, 2, 2)), ((1, 3, 2),)]
)
@pytest.mark.parametrize("head", ["masks", "centres"])
def test_any_factors_and_any_depth(factors, head):
    volume = fakes.pyramid(fakes.spots((10, 61, 83), seed=1), factors)
    found = detect(volume, fakes.cascade(factors=factors, head=head), DetectParams(audit=0))
    same(found, detect(volume, fakes.cascade(factors=factors, head=head), EVERYWHERE))
    assert len(found) >= 5


def test_a_level_that_always_passes_costs_itself_and_nothing_more():
    shape = (8, 64, 64)
    volume = fakes.pyramid(fakes.spots(shape), ((1, 2, 2),))
    always = fakes.cascade(fakes.Always, ((1, 2, 2),))
    same(detect(volume, always, GATED), detect(volume, fakes.cascade(factors=((1, 2, 2),)), EVERYWHERE))
    n = fakes.grid(shape)
    assert fakes.calls(always) == [n, n // 4]


def test_nothing_passes_and_the_audit_says_what_that_cost():
    volume, never = fakes.pyramid(fakes.spots()), fakes.cascade(fakes.Never)
    found = detect(volume, never, DetectParams(audit=1000, force_cascade=True))
    n = fakes.grid((12, 70, 90))
    everywhere = detect(volume, fakes.cascade(), EVERYWHERE).report
    audit = found.report["audit"]
    assert (len(found), fakes.calls(never)) == (0, [n, 0, fakes.grid((6, 17, 22))])
    assert (audit["sampled"], audit["rejected"], audit["found"]) == (n, n, 0)
    assert everywhere["levels"][0]["passed"] >= audit["positives"] > 10  # a voxel above the threshold is no object
    assert audit["lost"] == audit["lost_upper"] == 1.0


@pytest.mark.parametrize("change", ["first", "batch", "region whole"])
def test_neither_order_nor_batch_change_anything(change, tmp_path):
    volume = fakes.pyramid(fakes.spots())
    reference = detect(volume, fakes.cascade(), GATED, out=tmp_path / "a")
    options = {
        "first": {"first": Box((0, 40, 40), (12, 70, 90)), "params": GATED},
        "batch": {"params": DetectParams(batch=7, force_cascade=True)},
        "region whole": {"region": Box((0, 0, 0), (12, 70, 90)), "params": GATED},
    }[change]
    other = watched(detect_job(volume, fakes.cascade(), **options, out=tmp_path / "b"))
    same(reference, other)
    np.testing.assert_array_equal(stored_map(tmp_path / "a"), stored_map(tmp_path / "b"))
    assert (tmp_path / "a/detections.csv").read_bytes() == (tmp_path / "b/detections.csv").read_bytes()


def test_first_comes_first():
    volume, field = fakes.pyramid(fakes.spots()), Box((0, 48, 64), (12, 70, 90))
    stages = []
    shown: list[Detections] = []
    for progress in detect_job(volume, fakes.cascade(), GATED, first=field, live=True):
        stages.append(progress.stage)
        if progress.payload is not None and stages.count("level 2") and len(set(stages)) == 3:
            shown.append(progress.payload)
    changes = [a for a, b in zip(stages, ["", *stages], strict=False) if a != b]
    assert changes[:6] == ["level 2", "level 1", "level 0", "level 2", "level 1", "level 0"]
    first = volume.levels[0].to_voxels(shown[0].centre_nm)
    assert ((first >= 0) & (first < (12, 70, 90))).all()
    assert (first[:, 1:] > (32, 48)).all()


def test_the_bar_knows_that_a_section_in_view_reads_whole_chunks_and_that_a_model_without_a_gate_is_not_checked():
    """One section touches every chunk here: most of the work is in view, and none is before it."""
    volume = fakes.pyramid(fakes.spots())
    job = detect_job(volume, fakes.cascade(), EVERYWHERE, first=Box((5, 0, 0), (6, 70, 90)))
    reports: list[Progress] = []
    run(job, reports.append)
    searched = [p for p in reports if p.stage == "level 0"]
    assert searched[0].overall == 0
    chunks = len(TilePlan((12, 70, 90), fakes.TILE))
    in_view = next(p for p in searched if p.done == chunks)
    assert in_view.overall is not None
    assert in_view.overall > 0.4


def test_measurements_outlive_a_repeated_search_of_the_same_objects(tmp_path):
    """In its table and in what is returned."""
    volume = fakes.pyramid(fakes.spots())
    detect(volume, fakes.cascade(), EVERYWHERE, out=tmp_path)
    measured = measure(tmp_path, volume)
    again = detect(volume, fakes.cascade(), EVERYWHERE, out=tmp_path)
    assert "mean" in again.measures
    for found in (again, Detections.load(tmp_path / "detections.csv")):
        assert found.measures.keys() == measured.measures.keys()
        np.testing.assert_array_equal(found.measures["mean"], measured.measures["mean"])
    (tmp_path / "detections.csv").write_text("damaged")
    assert not detect(volume, fakes.cascade(), EVERYWHERE, out=tmp_path).measures


@pytest.mark.parametrize("head", ["masks", "centres"])
def test_every_finished_chunk_is_counted_and_each_stage_ends_at_its_total(head):
    counts: dict[str, list[int]] = {}
    totals: dict[str, int] = {}
    for progress in detect_job(fakes.pyramid(fakes.spots()), fakes.cascade(head=head), GATED):
        counts.setdefault(progress.stage, []).append(progress.done)
        totals[progress.stage] = progress.total
    assert [counts[stage][-1] for stage in totals] == list(totals.values())
    for stage in ("level 2", "level 1", "level 0", "audit"):
        assert list(dict.fromkeys(counts[stage])) == list(range(totals[stage] + 1))


def test_a_region_bounds_the_work_and_the_answer():
    volume, region = fakes.pyramid(fakes.spots()), Box((0, 0, 0), (12, 32, 48))
    some = fakes.cascade()
    found = detect(volume, some, GATED, region=region)
    everything = detect(volume, fakes.cascade(), GATED)
    inside = (volume.levels[0].to_voxels(everything.centre_nm) < region.stop).all(axis=1)
    assert 0 < len(found) < len(everything)
    here = {tuple(c) for c in np.round(found.centre_nm, 3)}
    assert {tuple(c) for c in np.round(everything.centre_nm[inside], 3)} <= here
    looked, rejected = found.report["levels"][-1]["calls"], found.report["audit"]["rejected"]
    assert found.report["chunks"] == 3 * 2 * 3 == looked + rejected
    assert fakes.calls(some)[0] == 18  # the audit looks at what little is left


def test_a_region_at_the_rim_that_no_coarse_voxel_covers_is_still_searched():
    image = np.zeros((8, 33, 64), np.uint8)
    image[:, 28:, 20:40] = 255
    rim = Box((0, 32, 0), (8, 33, 64))
    found = detect(fakes.pyramid(image, ((1, 2, 2),)), fakes.cascade(factors=((1, 2, 2),)), GATED, region=rim)
    assert len(found) == 1


@pytest.mark.parametrize("region", [Box((0, 0, 0), (0, 5, 5)), Box((5, 5, 5), (4, 9, 9)), Box((50, 0, 0), (60, 9, 9))])
def test_a_region_outside_is_refused(region, tmp_path):
    with pytest.raises(InputError, match=r"region .* \(12, 70, 90\)"):
        detect(fakes.pyramid(fakes.spots()), fakes.cascade(), GATED, region=region, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_are_the_objects_in_their_order():
    image = fakes.spots()
    found = detect(fakes.pyramid(image), fakes.cascade(), GATED)
    assert found.labels is not None
    labels = np.asarray(found.labels.levels[0].array[:])
    assert found.labels.kind == "labels"
    assert labels.max() == len(found)
    mask = fakes.dense(image) >= 128
    for i, (centre, box, score) in enumerate(zip(found.centre_nm, found.box, found.score, strict=True), start=1):
        where = np.argwhere(labels == i)
        np.testing.assert_allclose((where.mean(0) + 0.5) * fakes.NM, centre)
        assert [*where.min(0), *(where.max(0) + 1)] == box.tolist()
        assert score == pytest.approx((fakes.dense(image)[labels == i] / 255).mean())
        assert mask[labels == i].all()
    assert np.count_nonzero(labels) >= np.count_nonzero(mask) - 4 * 4  # only what is smaller than min_voxels is gone


def test_centres_are_where_the_spots_are():
    image = np.zeros((8, 64, 64), np.uint8)
    places = [(4, 16, 16), (3, 15, 47), (4, 40, 32)]
    for place in places:
        r2 = sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(image.shape), place, (1.5, 4, 4), strict=True))
        image = np.maximum(image, np.rint(255 * np.exp(-r2 / 2)).astype(np.uint8))
    volume = fakes.pyramid(image)
    found = detect(volume, fakes.cascade(head="centres"), DetectParams(threshold=0.4, force_cascade=True))
    expected = (np.array(places) + 0.5) * fakes.NM
    np.testing.assert_allclose(by_place(found.centre_nm), by_place(expected))
    assert found.labels is None


def test_the_threshold_only_filters_what_counts_as_an_object(tmp_path):
    volume = fakes.pyramid(fakes.spots())
    low = detect(volume, fakes.cascade(), DetectParams(threshold=0.5, force_cascade=True), out=tmp_path / "a")
    again = fakes.cascade()
    high = detect(volume, again, DetectParams(threshold=0.8, force_cascade=True), out=tmp_path / "a")
    assert fakes.calls(again) == [0, 0, 0]
    assert 0 < len(high) <= len(low)
    fresh = detect(volume, fakes.cascade(), DetectParams(threshold=0.8, force_cascade=True), out=tmp_path / "b")
    same(high, fresh)
    assert high.labels is not None
    assert fresh.labels is not None
    np.testing.assert_array_equal(high.labels.levels[0].array[:], fresh.labels.levels[0].array[:])


def test_what_an_earlier_run_looked_at_does_not_change_the_answer(tmp_path):
    volume = fakes.pyramid(fakes.spots())
    detect(volume, fakes.cascade(head="centres"), EVERYWHERE, out=tmp_path)
    later = detect(volume, fakes.cascade(head="centres"), GATED, out=tmp_path)
    same(later, detect(volume, fakes.cascade(head="centres"), GATED))


def test_one_section_is_a_volume_too():
    image = fakes.spots((1, 100, 130), seed=3)
    volume = fakes.pyramid(image, ((1, 2, 2),))
    flat = fakes.cascade(factors=((1, 2, 2),), tile=(1, 32, 32))
    found = detect(volume, flat, GATED)
    np.testing.assert_allclose(
        by_place(volume.levels[0].to_voxels(found.centre_nm)), by_place(truth_of(image)), atol=1e-9
    )
    assert found.centre_nm[:, 0] == pytest.approx(20.0)


def test_the_report_adds_up(tmp_path):
    volume, gated = fakes.pyramid(fakes.spots(count=5)), fakes.cascade()
    found = detect(volume, gated, DetectParams(audit=7, force_cascade=True), out=tmp_path)
    scores = np.array(list(Scores.open(tmp_path / "scores_0.bin").known.values()))
    report = found.report
    assert json.loads(json.dumps(report)) == report
    top, middle, finest = report["levels"]
    assert [level["name"] for level in report["levels"]] == ["level 2", "level 1", "level 0"]
    assert fakes.calls(gated) == [finest["calls"] + 7, middle["calls"], top["calls"]]
    assert [level["calls_made"] for level in report["levels"]] == [level["calls"] for level in report["levels"]]
    assert (top["calls"], top["share"]) == (fakes.grid((6, 17, 22)), 1.0)
    assert report["chunks"] == fakes.grid((12, 70, 90)) == finest["calls"] + report["audit"]["rejected"]
    assert report["audit"]["sampled"] == 7
    assert report["objects"] == len(found)
    assert finest["calls"] == len(found.chunks)
    assert finest["passed"] == finest["calls"] - np.count_nonzero(scores < 0.5)
    assert 0.3 < finest["share"] < 0.9
    read = np.prod([4 + 8, 16 + 8, 16 + 8])
    assert finest["voxels"] == finest["calls"] * read
    ratio = report["chunks"] * read / sum(level["voxels"] for level in report["levels"])
    assert report["voxels_ratio"] == pytest.approx(ratio)
    assert report["seconds"] >= sum(level["seconds"] for level in report["levels"])
    assert top["calls_predicted"] == pytest.approx(report["chunks"] / 32)


def test_a_damaged_chunk_fails_fills_or_skips(tmp_path):
    class Broken:
        """Chunk (1, 1, 1) of (4, 16, 16) cannot be read."""

        def __init__(self, array):
            self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, fakes.TILE

        def __getitem__(self, index):
            z, y, x = index[-3:]
            if z.start < 8 and z.stop > 4 and y.start < 32 and y.stop > 16 and x.start < 32 and x.stop > 16:
                raise ChunkError("chunk (1, 1, 1) is damaged; copy it again")
            return self.array[index]

    image = fakes.spots()
    whole = fakes.pyramid(image)
    volume = replace(whole, levels=(replace(whole.levels[0], array=Broken(image)), *whole.levels[1:]))
    with pytest.raises(ChunkError, match=r"chunk \(1, 1, 1\) is damaged"):
        detect(volume, fakes.cascade(), EVERYWHERE, out=tmp_path / "fail")
    assert not (tmp_path / "fail/detections.csv").exists()
    skip = detect(volume, fakes.cascade(), replace(EVERYWHERE, on_bad_chunk="skip"), out=tmp_path / "skip")
    touching = 3 * 3 * 3  # every tile whose halo reaches into the chunk
    assert skip.report["levels"][0]["skipped"] == touching
    assert skip.report["levels"][0]["calls"] == fakes.grid(image.shape)
    fill = detect(volume, fakes.cascade(), replace(EVERYWHERE, on_bad_chunk="fill"), out=tmp_path / "fill")
    assert fill.report["levels"][0]["skipped"] == 0
    good = np.ones(image.shape, bool)
    good[:12, :48, :48] = False
    np.testing.assert_array_equal(stored_map(tmp_path / "fill")[good], stored_map(tmp_path / "skip")[good])
    assert stored_map(tmp_path / "fill")[4:8, 16:32, 16:32].max() == 0


def test_nan_is_named_filled_or_skipped(tmp_path):
    image = fakes.spots().astype(np.float32) / 255
    clean = [fakes.maxima(image, (1, 1, 1)), fakes.maxima(image, (1, 2, 2))]
    image[5, 20, 20] = np.nan
    levels = (Level(image, fakes.NM), Level(clean[1], (40.0, 40.0, 40.0)))
    volume = Volume(levels, source="nan")
    factors = ((1, 2, 2),)
    with pytest.raises(ChunkError, match=r"NaN or infinite values, the first at voxel .*--on-bad-chunk fill"):
        detect(volume, fakes.cascade(factors=factors), EVERYWHERE, out=tmp_path / "fail")
    fill = detect(volume, fakes.cascade(factors=factors), replace(EVERYWHERE, on_bad_chunk="fill"))
    clean[0][5, 20, 20] = 0
    fixed = Volume((Level(clean[0], fakes.NM), levels[1]), source="fixed")
    same(fill, detect(fixed, fakes.cascade(factors=factors), EVERYWHERE))
    told: list[Progress] = []
    skipping = replace(EVERYWHERE, on_bad_chunk="skip")
    skip = run(detect_job(volume, fakes.cascade(factors=factors), skipping), told.append)
    assert skip.report["levels"][0]["skipped"] == 3  # tiles whose halo holds the voxel
    last = [p for p in told if p.stage == "level 0"][-1]
    assert last.done == last.total == fakes.grid(image.shape)


def test_wrong_voxel_sizes_are_refused_before_anything_is_written(tmp_path):
    volume = fakes.pyramid(fakes.spots(), voxel_nm=(40.0, 25.1, 25.1))
    with pytest.raises(VoxelSizeError, match=r"the model needs 40x20x20 nm within 25 %"):
        detect(volume, fakes.cascade(), GATED, out=tmp_path / "out")
    with pytest.raises(VoxelSizeError, match=r"\(32x16x16 to 50x25x25\); correct the voxel size"):
        detect(volume, fakes.cascade(), GATED, out=tmp_path / "out")
    unknown = replace(fakes.pyramid(fakes.spots()), calibrated=False)
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        detect(unknown, fakes.cascade(), GATED, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [slice(0, 1), slice(0, 2), slice(0, 3, 2)])
def test_levels_that_are_missing_are_made_and_change_nothing(kept, tmp_path, monkeypatch):
    whole = fakes.pyramid(fakes.spots())
    stored = Volume(
        (whole.levels[0], *(replace(lv, array=mean_of(whole.levels[0], lv)) for lv in whole.levels[1:])), name="a"
    )
    expected = detect(stored, fakes.cascade(), GATED, out=tmp_path / "stored")
    reports = []
    job = detect_job(replace(stored, levels=stored.levels[kept]), fakes.cascade(), GATED, out=tmp_path / "made")
    found = run(job, reports.append)
    np.testing.assert_array_equal(found.centre_nm, expected.centre_nm)
    np.testing.assert_array_equal(found.score, expected.score)
    assert len(found) > 0
    assert "computing coarse levels" in {report.stage for report in reports}
    assert not (tmp_path / "made" / "coarse").exists()
    # else it takes no time to speak of
    monkeypatch.setattr("napari_connecto.workflows.cascade.search.plan.MADE_BYTES_S", 1e3)
    estimated = estimate(replace(stored, levels=stored.levels[kept]), fakes.cascade(), GATED, trial=False)
    assert any("Coarse levels are missing" in note for note in estimated.notes)


def mean_of(fine, coarse):
    """The fine level's voxels merged to those of the coarse one, as a pyramid would store them."""
    factor = [round(b / a) for a, b in zip(fine.voxel_nm, coarse.voxel_nm, strict=True)]
    return downsample(np.asarray(fine.array), tuple(factor), "image")


def test_wrong_channels_are_refused_before_anything_is_written(tmp_path):
    two = Volume(
        tuple(
            Level(np.stack([np.asarray(level.array)] * 2), level.voxel_nm)
            for level in fakes.pyramid(fakes.spots()).levels
        )
    )
    with pytest.raises(InputError, match="got 2 channels, the model 'blur' takes 1"):
        detect(two, fakes.cascade(), GATED, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
