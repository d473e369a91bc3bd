"""Laws of the counts per region: as by brute force, whatever the tiles and the grid; and the parts make the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import ChunkError, InputError, VoxelSizeError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.measure import measure
from napari_connecto.workflows.cascade.results.params import RegionParams
from napari_connecto.workflows.cascade.results.region_names import read_region_names
from napari_connecto.workflows.cascade.results.region_sums import sizes_job
from napari_connecto.workflows.cascade.results.regions import count_regions
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED
from tests.workflows.cascade.results.scenes import Chunked, blobs, found_in

few = settings(max_examples=8, deadline=None)
SHAPE, VOXEL = (12, 40, 50), (2000.0, 1000.0, 1000.0)
IMAGE = {"shape": SHAPE, "voxel_nm": VOXEL, "origin_nm": (0.0, 0.0, 0.0)}


def found_at(centre_nm, **report):
    n = len(centre_nm)
    return Detections(
        np.asarray(centre_nm, float).reshape(-1, 3),
        np.linspace(0.1, 0.9, n),
        np.zeros((n, 6), np.int64),
        np.empty(0, np.int64),
        {"image": IMAGE} | report,
    )


def atlas_of(array, voxel, origin=(0.0, 0.0, 0.0), chunks=None):
    return Volume(
        (Level(array if chunks is None else Chunked(array, chunks), voxel, origin),), kind="labels", name="atlas"
    )


@given(
    seed=st.integers(0, 999),
    voxel=st.tuples(*[st.sampled_from([1000.0, 3700.0, 9000.0])] * 3),
    origin=st.tuples(*[st.floats(-9e3, 9e3)] * 3),
    region=st.sampled_from([None, [2, 5, 0, 9, 38, 50]]),
)
@few
def test_objects_and_volumes_are_those_of_brute_force_on_any_grid(seed, voxel, origin, region):
    rng = np.random.default_rng(seed)
    atlas = rng.choice([0, 3, 2**31], (9, 13, 17)).astype(np.uint32)
    centre = rng.uniform((0, 0, 0), np.multiply(SHAPE, VOXEL), (60, 3))
    found = found_at(centre, region=region)
    counts = count_regions(found, atlas_of(atlas, voxel, origin, (4, 5, 6)))
    box = np.array([(0, 0, 0), SHAPE] if region is None else [region[:3], region[3:]]) * VOXEL
    at = np.floor((centre - origin) / voxel).astype(int)
    inside = ((at >= 0) & (at < atlas.shape)).all(axis=1)
    expected = np.where(inside, atlas[tuple(np.clip(at, 0, np.array(atlas.shape) - 1).T)], 0)
    np.testing.assert_array_equal(counts.found.measures["region"], expected)
    volume = {}
    for place in np.ndindex(*atlas.shape):
        low = np.maximum(np.array(place) * voxel + origin, box[0])
        high = np.minimum((np.array(place) + 1) * voxel + origin, box[1])
        volume[int(atlas[place])] = volume.get(int(atlas[place]), 0.0) + np.prod(np.maximum(high - low, 0))
    for i, label in enumerate(counts.columns["id"].tolist()):
        assert counts.columns["objects"][i] == np.count_nonzero(expected == label)
        if label:
            assert counts.columns["volume_mm3"][i] == pytest.approx(volume[label] / 1e18)
            if volume[label]:
                assert counts.columns["density_per_mm3"][i] == pytest.approx(
                    counts.columns["objects"][i] * 1e18 / volume[label]
                )
    assert counts.columns["objects"].sum() == 60
    assert counts.columns["volume_mm3"].sum() == pytest.approx(np.prod(box[1] - box[0]) / 1e18)  # with what is outside


@given(seed=st.integers(0, 99), chunks=st.tuples(st.integers(1, 9), st.integers(1, 13), st.integers(1, 17)))
@few
def test_the_tiles_do_not_matter(seed, chunks):
    atlas = blobs(seed, (9, 13, 17))
    box = np.array([[0, 0, 0], [9.0, 13.0, 17.0]])
    whole = run(sizes_job(Level(atlas, (1.0, 1.0, 1.0)), box, "fail", flat=False))
    tiled = run(sizes_job(Level(Chunked(atlas, chunks), (1.0, 1.0, 1.0)), box, "fail", flat=False))
    labels, voxels = np.unique(atlas, return_counts=True)
    assert whole == tiled == dict(zip(labels.tolist(), voxels.tolist(), strict=True))


def test_labels_of_one_section_hold_for_all_z_and_areas_take_the_place_of_volumes():
    atlas = np.array([[[1, 2]]], np.uint8)
    found = found_at([[1e3, 5e3, 5e3], [2e4, 5e3, 5e3], [1e3, 5e3, 30e3]])
    counts = count_regions(found, atlas_of(atlas, (1.0, 40e3, 25e3)))
    assert counts.columns["objects"].tolist() == [2, 1]
    np.testing.assert_allclose(counts.columns["area_mm2"], 1e-3)
    np.testing.assert_allclose(counts.columns["density_per_mm2"], [2000, 1000])


def test_the_volume_of_measured_objects_is_summed_and_only_what_is_asked_for_counts():
    labels = blobs(1, SHAPE)
    found = measure(found_in(labels, VOXEL, image=IMAGE))
    status = np.full(len(found), NEW, "<U8")
    status[:2] = ACCEPTED, REJECTED
    object.__setattr__(found, "status", status)
    counts = count_regions(found, atlas_of(np.ones((2, 1, 1), np.int16), (12e3, 40e3, 50e3)), {1: "all"})
    kept = status != REJECTED
    assert counts.columns["object_volume_um3"].tolist() == [pytest.approx(found.measures["volume_um3"][kept].sum())]
    assert counts.columns["objects"].tolist() == [kept.sum()]
    atlas = atlas_of(np.ones((2, 1, 1), np.int16), (12e3, 40e3, 50e3))
    assert count_regions(found, atlas, params=RegionParams(accepted_only=True)).columns["objects"].tolist() == [1]
    high = count_regions(found, atlas, params=RegionParams(min_score=0.5)).columns["objects"].sum()
    assert high == 1 + np.count_nonzero((status == NEW) & (found.score >= 0.5))
    assert counts.lines()[1].startswith(f"all: {kept.sum()} objects, ")


def test_names_come_from_a_table_or_the_structures_of_an_atlas(tmp_path):
    (tmp_path / "s.csv").write_text('acronym,id,name\nX,7,"Cortex, layer 1"\n', encoding="utf-8")
    (tmp_path / "s.json").write_text(
        json.dumps([{"acronym": "X", "id": 7, "name": "Cortex, layer 1"}]), encoding="utf-8"
    )
    for name in ("s.csv", "s.json"):
        assert read_region_names(tmp_path / name) == {7: "Cortex, layer 1"}
        counts = count_regions(
            found_at([[1e3] * 3]), atlas_of(np.array([[[7, 9]]]), (24e3, 40e3, 25e3)), tmp_path / name
        )
        assert counts.columns["name"].tolist() == ["Cortex, layer 1", ""]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("n.csv", "id,label\n1,a\n", "has no column 'name'"),
        ("n.csv", "id,name\n1.5,a\n", "ids that are not whole numbers"),
        ("n.csv", "id,name\nx,a\n", "has 'x' as id; it is a number"),
        ("n.json", '{"id": 1}', "is not a list of structures"),
        ("n.json", '[{"id": "1", "name": "a"}]', "each needs a whole number as id, and a name"),
        ("n.json", "[", "n.json"),
        ("gone.json", None, "check the path"),
    ],
)
def test_names_that_are_none_are_refused_in_a_line(tmp_path, name, text, line):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=line):
        read_region_names(tmp_path / name)


def test_regions_that_cannot_be_meant_are_refused():
    found, ones = found_at([[1e3] * 3]), np.ones((2, 2, 2), np.uint8)
    with pytest.raises(InputError, match=r"got regions of float32 .*whole numbers"):
        count_regions(found, atlas_of(ones.astype(np.float32), VOXEL))
    with pytest.raises(InputError, match=r"overlaps what was searched \(z y x 0 0 0 to 24 40 50 um\)"):
        count_regions(found, atlas_of(ones, VOXEL, (1e6, 0.0, 0.0)))
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        count_regions(found, Volume((Level(ones, VOXEL),), calibrated=False, name="atlas"))


class Broken(Chunked):
    def __getitem__(self, key):
        raise ChunkError("chunk 0 is damaged")


def test_a_damaged_chunk_fails_or_is_no_region():
    found = found_at([[1e3] * 3])
    atlas = atlas_of(Broken(np.ones((2, 2, 2), np.uint8), (2, 2, 2)), (12e3, 20e3, 25e3))
    with pytest.raises(ChunkError, match="chunk 0"):
        count_regions(found, atlas)
    with pytest.raises(InputError, match="no region of 'atlas'"):
        count_regions(found, atlas, params=RegionParams(on_bad_chunk="skip"))
