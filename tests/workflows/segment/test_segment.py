"""Segmenting a volume in blocks: the same partition as in one, resumed after any end, no id lost or shared."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import ConnectoError, InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Cancelled, run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import plan_blocks, segment, segment_job
from tests.workflows.watched import watched

NM = (10.0, 10.0, 10.0)
DEEP = SegmentParams(mode="3d", min_size=20, block=(12, 20, 24), halo=(8, 10, 10))
FLAT = SegmentParams(mode="2d", min_size=20, block=(4, 20, 24), halo=(0, 12, 12))
LINKED = SegmentParams(mode="2d-linked", min_size=20, block=(4, 20, 24), halo=(0, 12, 12))


def cells(shape=(28, 46, 52), seed=0, *, flat=False):
    """Cells of about 14 voxels with clear walls: (boundary in 0..1, truth); a column a cell if ``flat``."""
    rng = np.random.default_rng(seed)
    per_axis = [1 if flat and axis == 0 else max(1, n // 14) for axis, n in enumerate(shape)]
    middles = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in per_axis), indexing="ij"), -1).reshape(-1, 3)
    points = middles * shape + rng.uniform(-2, 2, middles.shape)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    used = slice(1, 3) if flat else slice(0, 3)
    distance = ((grid[:, None, used] - points[None, :, used]) ** 2).sum(-1)
    truth = distance.argmin(1).reshape(shape) + 1
    edge = np.zeros(shape, bool)
    for axis in range(1 if flat else 0, 3):
        differ = np.diff(truth, axis=axis) != 0
        for at in (slice(1, None), slice(None, -1)):
            np.moveaxis(edge, axis, 0)[at] |= np.moveaxis(differ, axis, 0)
    sigma = (0, 0.7, 0.7) if flat else 0.7
    return np.clip(ndimage.gaussian_filter(edge.astype(np.float32), sigma) * 1.3, 0, 1), truth


def stored(volume):
    return volume.levels[0].array[...]


def agree(a, b):
    """Equal up to the names: as many pairs as there are names in each."""
    pairs = np.unique(np.stack([np.ravel(a), np.ravel(b)]), axis=1)
    return pairs.shape[1] == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("params", [DEEP, FLAT, LINKED], ids=["3d", "2d", "2d-linked"])
def test_blocks_give_the_partition_of_the_whole(params, seed):
    boundary, truth = cells(seed=seed, flat=params is not DEEP)
    labels = segment(Volume.from_array(boundary, NM), params)
    whole = segment_array(boundary, params)
    found = stored(labels)
    assert variation_of_information(found, whole).total < 0.06  # to whom the voxels on a wall go is a tie
    clear = boundary < 0.3
    assert agree(found[clear], whole[clear])
    assert labels.metadata["segments"] == found.max() == len(np.unique(found))
    assert found.min() == 1
    if params is FLAT:
        assert labels.metadata["segments"] == sum(len(np.unique(section)) for section in truth)
    else:
        assert agree(found[clear], truth[clear])


def test_the_answer_is_a_pyramid_of_labels_in_place(tmp_path):
    boundary, _ = cells()
    volume = Volume.from_array(np.rint(boundary * 255).astype(np.uint8), (20, 10, 10))
    region = Box((4, 6, 8), (28, 46, 52))
    labels = segment(volume, SegmentParams(mode="3d", block=(16, 32, 32)), out=tmp_path, region=region)
    again = open_volume(tmp_path / "labels/labels.zarr")
    assert labels.kind == again.kind == "labels"
    assert again.levels[0].voxel_nm == (20, 10, 10)
    assert again.levels[0].origin_nm == labels.levels[0].origin_nm == (80, 60, 80)
    assert [level.shape for level in again.levels] == [(24, 40, 44)]
    np.testing.assert_array_equal(stored(again), stored(labels))
    assert stored(labels).dtype == np.uint32
    assert json.loads((tmp_path / "segments.json").read_text())["segments"] == labels.metadata["segments"]
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "job.json",
        "labels",
        "segments.json",
    ]


def test_coarse_levels_hold_the_commonest_label():
    boundary = np.zeros((1, 128, 128), np.float32)
    boundary[:, :, 50:52] = 1
    labels = segment(Volume.from_array(boundary, NM), SegmentParams(mode="2d", block=(1, 64, 64), halo=(0, 16, 16)))
    fine, coarse = (np.asarray(level.array[...]) for level in labels.levels)
    assert fine.shape == (1, 128, 128)
    assert coarse.shape == (1, 64, 64)
    np.testing.assert_array_equal(np.unique(fine), [1, 2])
    np.testing.assert_array_equal(coarse[:, :, :25], fine[:, ::2, :50:2])
    np.testing.assert_array_equal(coarse[:, :, 26:], fine[:, 1::2, 53::2])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What is segmented, how, and where the result of a run to the end lies."""
    volume, out = Volume.from_array(cells((12, 46, 52))[0], NM), tmp_path_factory.mktemp("whole")
    params = SegmentParams(mode="3d", min_size=20, block=(12, 20, 16), halo=(4, 8, 8))
    return volume, params, out, segment(volume, params, out=out)


@pytest.mark.parametrize("steps", [1, 5, 12, 14, 18, 24, 26, 36])  # both ends and the midst of each of the three stages
def test_closed_at_any_step_and_resumed(undisturbed, tmp_path, steps):
    volume, params, whole_out, whole = undisturbed
    job = segment_job(volume, params, out=tmp_path / "cut")
    seen = [next(job) for _ in range(steps)]
    job.close()
    stages: dict[str, list[int]] = {}
    resumed = run(
        segment_job(volume, params, out=tmp_path / "cut"), lambda p: stages.setdefault(p.stage, []).append(p.done)
    )
    np.testing.assert_array_equal(stored(resumed), stored(whole))
    assert resumed.metadata == whole.metadata
    last = seen[-1]
    if last.stage in ("segment", "write"):
        assert stages[last.stage][0] >= last.done  # what was done is not done again
    files = {
        side: {p.relative_to(side): p.read_bytes() for p in (side / "labels").rglob("c/**/*") if p.is_file()}
        for side in (whole_out, tmp_path / "cut")
    }
    assert files[whole_out] == files[tmp_path / "cut"] != {}


def test_a_finished_job_costs_nothing_again(tmp_path):
    volume = Volume.from_array(cells()[0], NM)
    first = segment(volume, DEEP, out=tmp_path)
    reports = []
    second = run(segment_job(volume, DEEP, out=tmp_path), reports.append)
    assert [p.overall for p in reports] == [1]
    np.testing.assert_array_equal(stored(first), stored(second))
    assert second.metadata["segments"] == first.metadata["segments"]


def test_progress_counts_blocks_and_shows_the_labels_as_they_come():
    volume = Volume.from_array(cells()[0], NM)
    reports = []
    run(segment_job(volume, DEEP), reports.append)
    blocks = 3 * 3 * 3
    for stage, first in (("segment", 0), ("join", 1), ("write", 0)):
        mine = [p for p in reports if p.stage == stage]
        assert [p.done for p in mine] == list(range(first, blocks + 1))
        assert {p.total for p in mine} == {blocks}
    half = next(p for p in reports if p.stage == "write" and p.done == 14)
    assert half.payload.levels[0].shape == volume.levels[0].shape


def test_cancelled_between_blocks(tmp_path):
    volume = Volume.from_array(cells()[0], NM)
    seen = []
    with pytest.raises(Cancelled, match=r"cancelled at segment 3/27; run again to resume"):
        run(segment_job(volume, DEEP, out=tmp_path), seen.append, lambda: len(seen) == 4)
    assert segment(volume, DEEP, out=tmp_path).metadata["segments"] == 18


def test_a_model_makes_the_boundary(tmp_path):
    boundary, truth = cells(flat=True)
    image = np.rint((1 - boundary) * 255).astype(np.uint8)

    class Inverse:
        card = ModelCard(
            "inverse",
            "boundary",
            NM,
            (1, 32, 32),
            (0, 0, 0),
            (Output("boundary"),),
            normalisation=Normalisation(),
            digest="inverse",
        )

        def __call__(self, batch, seeds):
            return {"boundary": 1 - batch[:, 0]}

    reports = []
    volume, region = Volume.from_array(image, NM), Box((2, 0, 0), (10, 46, 52))
    labels = watched(segment_job(volume, LINKED, model=Inverse(), out=tmp_path, region=region), reports.append)
    assert list(dict.fromkeys(p.stage for p in reports)) == ["predicting", "segment", "join", "write"]
    assert labels.levels[0].shape == (8, 46, 52)
    clear = boundary[2:10] < 0.3
    assert agree(stored(labels)[clear], truth[2:10][clear])
    with pytest.raises(StoreError, match=r"holds another job: .*model: got .*, stored .*inverse"):
        segment(volume, LINKED, out=tmp_path, region=region)


def test_a_single_section_and_a_tiny_volume():
    boundary, truth = cells((1, 46, 52), flat=True)
    for mode in ("2d", "2d-linked", "3d"):
        params = SegmentParams(mode=mode, block=(1, 20, 24), halo=(0 if mode != "3d" else 1, 12, 12), min_size=10)
        labels = segment(Volume.from_array(boundary, NM), params)
        clear = boundary < 0.3
        assert agree(stored(labels)[clear], truth[clear])
    assert stored(segment(Volume.from_array(np.zeros((1, 1, 1), np.float32), NM))).tolist() == [[[1]]]


@pytest.mark.parametrize(
    ("array", "region", "match"),
    [
        (np.zeros((2, 8, 8), np.uint16), None, r"got a boundary map of uint16; allowed: float in 0..1 or uint8"),
        (np.full((2, 8, 8), 7.5, np.float32), None, r"got boundary values from 7.5 to 7.5; .*apply the sigmoid first"),
        (
            np.full((2, 8, 8), np.nan, np.float32),
            None,
            r"got NaN or infinite .* first at voxel \(0, 0, 0\); clean the input",
        ),
        (np.zeros((2, 2, 8, 8), np.float32), None, r"got a boundary map of 2 channels; open the one"),
        (np.zeros((2, 8, 8), np.float32), Box((5, 0, 0), (6, 8, 8)), r"got the region .* it must hold voxels"),
    ],
)
def test_what_is_no_boundary_map_is_refused(array, region, match):
    with pytest.raises(ConnectoError, match=match):
        segment(Volume.from_array(array, NM), region=region)


def test_parameters_are_checked():
    with pytest.raises(InputError, match=r"got mode='4d'; allowed: auto, 2d, 2d-linked, 3d"):
        SegmentParams(mode="4d")
    with pytest.raises(InputError, match=r"got merge_threshold=1.5; allowed: 0.0 to 1.0"):
        SegmentParams(merge_threshold=1.5)
    with pytest.raises(InputError, match=r"got halo \(0, 0, 8\) for several blocks along y; it must be 1 or more"):
        plan_blocks((4, 64, 64), SegmentParams(mode="2d", block=(4, 32, 32), halo=(0, 0, 8)))


def test_blocks_are_no_larger_than_they_need_be():
    assert plan_blocks((1, 20, 600), SegmentParams(mode="2d")).tile == (1, 32, 512)
    deep = plan_blocks((40, 2000, 2000), SegmentParams(mode="3d"))
    assert (deep.tile, deep.halo) == ((48, 256, 256), (16, 32, 32))
    assert plan_blocks((40, 2000, 2000), SegmentParams()).halo == (0, 32, 32)


def test_the_work_on_a_block_can_be_sent_away():
    from napari_connecto.workflows.segment import block as segment_block

    params = pickle.loads(pickle.dumps(DEEP))  # noqa: S301
    assert params == DEEP
    passing = segment_block.Passing.over(Volume.from_array(np.zeros((4, 4, 4)), NM).levels[0], (4, 4, 4))
    copy = pickle.loads(pickle.dumps(passing))  # noqa: S301
    assert copy(np.ones((1, 1, 2, 2, 2), np.float32), [0])["boundary"].sum() == 8
