"""Laws of the measurements: tiled = whole (as scikit-image has it), and what must not matter does not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.measure import measure, measure_job, measured_lines
from napari_connecto.workflows.cascade.results.params import MeasureParams
from napari_connecto.workflows.cascade.results.visits import visits
from napari_connecto.workflows.cascade.verdicts import ADDED, Verdicts, write_verdicts
from tests.workflows.cascade.results.scenes import Chunked, blobs, found_in

VOXEL = (40.0, 8.0, 10.0)
few = settings(max_examples=5, deadline=None)


def image_of(labels, seed=0, dtype=np.uint16, channels=None):
    shape = labels.shape if channels is None else (channels, *labels.shape)
    values = np.random.default_rng(seed).normal(900, 200, shape)
    return np.clip(values, 0, None).astype(dtype)


def volume_of(array, origin=(0.0, 0.0, 0.0), voxel=VOXEL):
    return Volume((Level(array, voxel, origin),))


@given(
    seed=st.integers(0, 99),
    chunks=st.tuples(st.integers(1, 14), st.integers(3, 40), st.integers(3, 44)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    channels=st.sampled_from([None, 2]),
)
@few
def test_tile_by_tile_they_are_what_scikit_image_measures_on_the_whole_array(seed, chunks, dtype, channels):
    labels = blobs(seed)
    image = image_of(labels, seed, dtype, channels)
    found = found_in(labels, VOXEL, chunks=chunks)
    measures = measure(found, volume_of(image)).measures
    stack = image if image.ndim == 4 else image[None]
    props = regionprops(labels, np.moveaxis(stack, 0, -1).astype(np.float64), spacing=VOXEL)
    for i, p in enumerate(props):
        voxels = int(np.count_nonzero(labels == p.label))
        assert measures["voxels"][i] == voxels
        assert measures["volume_um3"][i] == pytest.approx(voxels * np.prod(VOXEL) / 1e9)
        assert measures["sections"][i] == p.bbox[3] - p.bbox[0]
        covariance = np.cov(p.coords_scaled.T, bias=True).reshape(3, 3) + np.diag(np.square(VOXEL)) / 12
        axes = np.sqrt(20 * np.linalg.eigvalsh(covariance)[::-1])
        got = [measures[name][i] for name in ("major_nm", "middle_nm", "minor_nm")]
        np.testing.assert_allclose(got, axes, rtol=1e-9)
        assert measures["elongation"][i] == pytest.approx(1 - axes[2] / axes[0])
        for c, one in enumerate(stack):
            end = "" if channels is None else f"_{c}"
            inside = one[labels == p.label].astype(np.float64)
            assert measures[f"mean{end}"][i] == pytest.approx(np.atleast_1d(p.intensity_mean)[c], rel=1e-12)
            assert measures[f"sd{end}"][i] == pytest.approx(inside.std(), rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 99), one=st.integers(1, 14), other=st.integers(3, 40))
@few
def test_the_tiles_change_no_bit_of_what_is_made_of_whole_numbers(seed, one, other):
    labels = blobs(seed)
    image = volume_of(image_of(labels, seed))
    first = measure(found_in(labels, VOXEL, chunks=(one, other, 44)), image).measures
    second = measure(found_in(labels, VOXEL), image).measures
    for name in ("voxels", "volume_um3", "sections", "border_nm", "touches_border"):
        np.testing.assert_array_equal(first[name], second[name])
    for name in ("major_nm", "minor_nm", "mean", "sd"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-12)


@given(seed=st.integers(0, 99), origin=st.tuples(*[st.floats(-1e7, 1e7)] * 3), scale=st.sampled_from([0.5, 3.0]))
@few
def test_the_place_in_the_world_does_not_matter_and_lengths_follow_the_voxel_size(seed, origin, scale):
    labels = blobs(seed)
    image, here = image_of(labels), (0.0, 0.0, 0.0)
    base = measure(found_in(labels, VOXEL), volume_of(image)).measures
    moved = measure(found_in(labels, VOXEL, origin), volume_of(image, origin)).measures
    larger = tuple(scale * v for v in VOXEL)
    scaled = measure(found_in(labels, larger), volume_of(image, here, larger)).measures
    for name, column in base.items():
        power = 3 if name.endswith("_um3") else 1 if name.endswith("_nm") else 0
        np.testing.assert_allclose(moved[name], column, rtol=1e-9, atol=1e-2 * name.endswith("_nm"), err_msg=name)
        np.testing.assert_allclose(scaled[name], column * scale**power, rtol=1e-9, err_msg=name)


@given(seed=st.integers(0, 99))
@few
def test_splitting_every_voxel_into_eight_changes_nothing_but_their_number(seed):
    labels = blobs(seed, (6, 12, 12), 4)
    base = measure(found_in(labels, VOXEL)).measures
    finer = measure(found_in(labels.repeat(2, 0).repeat(2, 1).repeat(2, 2), tuple(v / 2 for v in VOXEL))).measures
    for name in set(base) - {"voxels", "sections"}:
        np.testing.assert_allclose(finer[name], base[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_large_offset_of_the_image_costs_no_digits_of_the_spread():
    labels = blobs(3)
    noise = np.random.default_rng(1).normal(0, 1, labels.shape)
    plain = measure(found_in(labels, VOXEL, chunks=(3, 9, 9)), volume_of(noise)).measures
    high = measure(found_in(labels, VOXEL, chunks=(3, 9, 9)), volume_of(noise + 1e9)).measures
    np.testing.assert_allclose(high["sd"], plain["sd"], rtol=1e-6)


def test_in_2d_and_where_sections_are_unrelated_an_object_has_an_area_and_two_axes():
    labels = np.zeros((1, 30, 60), np.uint32)
    y, x = np.mgrid[:30, :60]
    labels[0][((y - 14.5) / 5) ** 2 + ((x - 29.5) / 20) ** 2 <= 1] = 1
    flat = found_in(labels.repeat(2, 0), (50.0, 10.0, 10.0), flat=True)
    assert list(measure(flat).measures) == list(measure(found_in(labels, (50.0, 10.0, 10.0))).measures)
    measures = measure(found_in(labels, (50.0, 10.0, 10.0))).measures
    area = int((labels == 1).sum())
    assert measures["area_um2"].tolist() == [pytest.approx(area / 1e4)]
    assert "volume_um3" not in measures
    assert "middle_nm" not in measures
    assert measures["major_nm"][0] == pytest.approx(400, rel=0.02)
    assert measures["minor_nm"][0] == pytest.approx(100, rel=0.03)
    assert measures["border_nm"][0] == 100.0  # rows 10 to 19 of 30, columns 10 to 49 of 60


def test_the_border_is_that_of_what_was_searched():
    labels = np.zeros((10, 20, 20), np.uint32)
    labels[4:6, 5:8, 5:8] = 7
    told = {"image": {"shape": [10, 20, 20], "voxel_nm": [40, 8, 10], "origin_nm": [0, 0, 0]}}
    whole = measure(found_in(labels, VOXEL, **told)).measures
    assert (whole["border_nm"].tolist(), whole["touches_border"].tolist()) == ([40.0], [False])
    part = measure(found_in(labels, VOXEL, **told, region=[0, 5, 0, 10, 20, 20])).measures
    assert (part["border_nm"].tolist(), part["touches_border"].tolist()) == ([0.0], [True])
    with pytest.raises(InputError, match=r"report.json is damaged .* search again"):
        measure(found_in(labels, VOXEL, **told, region=["a"] * 6))


def test_centres_are_measured_in_a_ball_whatever_the_tiles():
    rng = np.random.default_rng(0)
    image, voxel = rng.normal(50, 9, (20, 40, 40)), (20.0, 10.0, 10.0)
    centre = rng.uniform((0, 0, 0), (400, 400, 400), (12, 3))
    box = np.zeros((12, 6), np.int64)
    found = Detections(centre, np.ones(12), box, np.empty(0, np.int64), {"levels": [{"voxel_nm": voxel}]})
    middle = (np.indices(image.shape).reshape(3, -1).T + 0.5) * voxel
    for chunks in ((20, 40, 40), (3, 7, 11)):
        measures = measure(found, volume_of(Chunked(image, chunks), voxel=voxel), MeasureParams(90.0)).measures
        for i, at in enumerate(centre):
            inside = image.ravel()[((middle - at) ** 2).sum(axis=1) <= 45**2]
            assert measures["mean"][i] == pytest.approx(inside.mean(), rel=1e-12)
            assert measures["sd"][i] == pytest.approx(inside.std(), rel=1e-9)
    assert set(measures) == {"mean", "sd", "border_nm", "touches_border"}
    away = np.minimum(centre, 400 - centre).min(axis=1) - 45
    np.testing.assert_allclose(measures["border_nm"], np.maximum(away, 0))
    with pytest.raises(InputError, match="only intensities can be measured; give the image"):
        measure(found)


class Damaged(Chunked):
    """Its first section cannot be read."""

    def __getitem__(self, key):
        if key[-3].start == 0:
            raise ChunkError("chunk 0 is damaged")
        return super().__getitem__(key)


def test_a_damaged_chunk_fails_or_counts_as_nothing_or_as_zero():
    labels = np.zeros((4, 8, 8), np.uint32)
    labels[:, 2:4, 2:4] = 1
    found, image = found_in(labels, VOXEL, chunks=(1, 8, 8)), volume_of(Damaged(np.full((4, 8, 8), 60.0), (1, 8, 8)))
    with pytest.raises(ChunkError, match="chunk 0 is damaged"):
        measure(found, image)
    skipped = measure(found, image, MeasureParams(on_bad_chunk="skip")).measures
    assert (skipped["voxels"].tolist(), skipped["mean"].tolist(), skipped["sd"].tolist()) == ([16], [60.0], [0.0])
    filled = measure(found, image, MeasureParams(on_bad_chunk="fill")).measures
    assert filled["mean"].tolist() == [45.0]


def test_labels_of_another_image_are_refused():
    labels = blobs(0)
    with pytest.raises(InputError, match="give the image that was searched"):
        measure(found_in(labels, VOXEL), volume_of(np.zeros((14, 40, 45))))
    with pytest.raises(InputError, match="give the image that was searched"):
        measure(found_in(labels, VOXEL), volume_of(np.zeros((14, 40, 44)), (400.0, 0.0, 0.0)))


def test_an_object_without_voxels_has_no_values():
    labels = blobs(0)
    found = found_in(labels, VOXEL)
    none = replace(found, id=np.r_[found.id[:-1], 999])
    measures = measure(none, volume_of(image_of(labels))).measures
    assert measures["voxels"][-1] == 0
    told = measured_lines(replace(none, measures=measures))[0]
    assert told.startswith(f"{len(none) - 1} objects measured; 1 without a mask not measured; median volume ")
    bare = {name: column for name, column in measures.items() if name != "volume_um3"}  # as without a voxel size
    size = np.median(measures["voxels"][:-1])
    assert f"median size {size:.3g} voxels; median intensity" in measured_lines(replace(none, measures=bare))[0]
    assert not measures["touches_border"][-1]
    assert all(np.isnan(measures[name][-1]) for name in ("volume_um3", "major_nm", "mean", "sd", "border_nm"))
    nothing = measure(Detections.empty(), volume_of(image_of(labels)), MeasureParams(9.0))
    assert nothing.measures["mean"].shape == (0,)


@given(
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    tile=st.tuples(*[st.integers(1, 12)] * 3),
    corners=st.lists(st.tuples(*[st.integers(-9, 40)] * 6), max_size=6),
)
@few
def test_the_tiles_of_many_boxes_are_those_of_each(shape, tile, corners):
    plan, boxes = TilePlan(shape, tile), np.array(corners, np.int64).reshape(-1, 6)
    tiles, rows = visits(plan, boxes)
    assert (np.diff(tiles) >= 0).all()
    for i, row in enumerate(boxes):
        assert sorted(tiles[rows == i].tolist()) == plan.touching([Box.from_row(row)]).tolist()


def saved(folder, found):
    folder.mkdir()
    found.save(folder / "detections.csv")
    (folder / "report.json").write_text(json.dumps(dict(found.report)), encoding="utf-8")


def test_the_table_of_a_result_gets_the_columns_and_keeps_its_own(tmp_path):
    voxel = (20.0, 10.0, 10.0)
    told = {"diameter_nm": 60.0, "levels": [{"voxel_nm": voxel}], "image": {"voxel_nm": voxel, "origin_nm": (0, 0, 0)}}
    found = replace(found_in(blobs(2), voxel), labels=None, report=told)
    image = volume_of(image_of(blobs(2)), voxel=voxel)
    saved(tmp_path / "r", found)
    before = (tmp_path / "r" / "detections.csv").read_text()
    job = measure_job(tmp_path / "r", image)
    next(job)
    job.close()
    assert (tmp_path / "r" / "detections.csv").read_text() == before  # cancelled
    measured = measure(tmp_path / "r", image)
    back = Detections.load(tmp_path / "r")
    for name, column in measure(found, image).measures.items():
        np.testing.assert_array_equal(measured.measures[name], column)
        np.testing.assert_array_equal(back.measures[name], column)
    assert [*back.table()][: len(found.table())] == [*found.table()]
    assert (
        measure(tmp_path / "r", image, MeasureParams(200.0)).measures["mean"].tolist() != back.measures["mean"].tolist()
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_measurements_survive_filter_and_file(tmp_path, suffix):
    found = measure(found_in(blobs(4), VOXEL), volume_of(image_of(blobs(4), channels=2)))
    kept = found.where(found.measures["voxels"] > np.median(found.measures["voxels"]))
    kept.save(tmp_path / f"t.{suffix}")
    back = Detections.load(tmp_path / f"t.{suffix}")
    assert list(back.measures) == list(found.measures)
    for name, column in kept.measures.items():
        np.testing.assert_array_equal(back.measures[name], column)
    kept.save(tmp_path / "t.geojson")
    first = json.loads((tmp_path / "t.geojson").read_text())["features"][0]["properties"]["measurements"]
    assert first["mean_1"] == kept.measures["mean_1"][0]


def test_text_among_measurements_is_refused(tmp_path):
    found = found_in(blobs(4), VOXEL)
    found.save(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([f"{lines[0]},mean", *(f"{line},high" for line in lines[1:])]))
    with pytest.raises(InputError, match=r"has text in its column mean; it holds numbers"):
        Detections.load(tmp_path / "t.csv")


def test_an_object_that_a_reviewer_added_is_not_measured_and_stops_nothing(tmp_path):
    found = measure(found_in(blobs(4), VOXEL))
    saved(tmp_path / "r", found)
    place = np.array([[1e3, 1e3, 1e3]])
    write_verdicts(tmp_path / "r", Verdicts(np.zeros(1, np.int64), place, np.array([ADDED]), 5.0))
    back = Detections.load(tmp_path / "r")
    assert back.status.tolist()[-2:] == ["new", ADDED]
    assert back.measures["voxels"].tolist() == [*found.measures["voxels"], 0]
    assert np.isnan(back.measures["major_nm"][-1])
    assert back.measures["touches_border"].dtype == bool
