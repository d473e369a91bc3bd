"""A model of sections that is shown sections along z, y and x: the mean of three answers, tile by tile."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.segment.choice import chosen, fingerprint
from napari_connecto.workflows.segment.directions import SHARE, ThreeDirections, takes_directions, with_directions
from napari_connecto.workflows.segment.estimate import _answers, estimate_segment
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment, segment_job
from tests.adapt_parts import tiny_card
from tests.contracts.predictor import PredictorContract
from tests.workflows.segment.test_segment import stored

NM = (10.0, 10.0, 10.0)


class Edges:
    """Rises in a section along both of its axes, over a few pixels: blind to what changes across sections."""

    def __init__(self, halo=(0, 4, 4), tile=(1, 16, 16), voxel=NM):
        trimmed = Output("boundary", trimmed=(halo[0], 0, 0))
        self.card = ModelCard(
            "edges", "boundary", voxel, tile, halo, (trimmed,), normalisation=Normalisation("none"), digest="edges"
        )

    def __call__(self, batch, seeds):
        context = self.card.halo[0]
        sections = batch[:, 0, context : batch.shape[2] - context]
        return {"boundary": steep(sections).astype(np.float32)}


def steep(sections):
    """Range of values within 2 pixels in the last two axes."""
    size = (1,) * (sections.ndim - 2) + (3, 3)
    return ndimage.maximum_filter(sections, size) - ndimage.minimum_filter(sections, size)


class TestContract(PredictorContract):
    @pytest.fixture
    def predictor(self):
        return ThreeDirections.of(new_model(replace(tiny_card("boundary"), tile=(1, 16, 16)), 0, device="cpu"))


@pytest.mark.parametrize("halo", [(0, 4, 4), (2, 4, 4)])
def test_tile_by_tile_it_is_the_mean_over_the_three_axes(tmp_path, halo):
    image = np.random.default_rng(0).random((37, 40, 33), np.float32)
    found = segment(Volume.from_array(image, NM), SegmentParams(mode="3d"), model=Edges(halo), out=tmp_path)
    assert found.metadata["reason"].endswith("boundary averaged over three directions, 10 nm voxels")
    boundary = open_volume(tmp_path / "boundary/boundary.zarr").levels[0]
    expected = sum(np.moveaxis(steep(np.moveaxis(image, axis, 0)), 0, axis) for axis in range(3)) / 3
    assert np.abs(np.asarray(boundary.read(boundary.box)) / 255 - expected).max() < 0.003  # uint8


class Solid:
    """A model of volumes: the value itself, after a look at its neighbours."""

    def __init__(self, voxel=NM, tile=(16, 16, 16)):
        self.card = ModelCard(
            "solid", "boundary", voxel, tile, (2, 2, 2), (Output("boundary"),), normalisation=Normalisation("none")
        )

    def __call__(self, batch, seeds):
        return {"boundary": ndimage.minimum_filter(batch[:, 0], (1, 3, 3, 3))}


def test_a_volumetric_model_has_its_share_of_the_mean(tmp_path):
    image = np.random.default_rng(0).random((33, 40, 37), np.float32)
    volume, params = Volume.from_array(image, NM), SegmentParams(mode="3d")
    found = segment(volume, params, model=Edges(), volumetric=Solid(), out=tmp_path)
    assert found.metadata["reason"].endswith("three directions, 10 nm voxels, with a volumetric model")
    boundary = open_volume(tmp_path / "boundary/boundary.zarr").levels[0]
    mean = sum(np.moveaxis(steep(np.moveaxis(image, axis, 0)), 0, axis) for axis in range(3)) / 3
    expected = (1 - SHARE) * mean + SHARE * ndimage.minimum_filter(image, 3, mode="reflect")
    inner = (slice(1, -1),) * 3  # how the border is filled is another matter
    assert np.abs(np.asarray(boundary.read(boundary.box)) / 255 - expected)[inner].max() < 0.003
    with pytest.raises(StoreError, match="volumetric: got null"):
        segment(volume, params, model=Edges(), out=tmp_path)


def test_a_volumetric_model_is_left_out_where_voxels_are_not_cubes(tmp_path):
    image = np.random.default_rng(0).random((20, 40, 37), np.float32)
    volume = Volume.from_array(image, (20.0, 10.0, 10.0))
    found, plain = (segment(volume, SegmentParams(mode="3d"), model=Edges(), volumetric=v) for v in (Solid(), None))
    assert found.metadata["reason"] == plain.metadata["reason"]
    np.testing.assert_array_equal(stored(found), stored(plain))


@pytest.mark.parametrize("solid", [Solid(voxel=(20.0, 20.0, 20.0)), Solid(tile=(8, 8, 8))])
def test_a_volumetric_model_of_other_voxels_or_tiles_is_refused(solid):
    with pytest.raises(ModelError, match="does not read the voxels"):
        ThreeDirections.of(Edges(), solid)


class Leaning(Edges):
    """Looks at its neighbours of lower index alone, so that its answer to a flip is another one."""

    def __call__(self, batch, seeds):
        context = self.card.halo[0]
        return {"boundary": leaning(batch[:, 0, context : batch.shape[2] - context], (-2, -1))}


class LeaningSolid(Solid):
    def __call__(self, batch, seeds):
        return {"boundary": leaning(batch[:, 0], (-3, -2, -1))}


def leaning(values, axes):
    for axis in axes:
        values = np.minimum(values, np.roll(values, 1, axis))
    return values


def test_with_flips_the_answer_does_not_depend_on_how_the_volume_lies(tmp_path):
    """Law: of a flipped volume, the map is the flipped map; and it is the mean over flips and directions."""
    image = np.random.default_rng(0).random((16, 16, 16), np.float32)
    batch = np.pad(image, 4, mode="reflect")[None, None]
    plain, flipped = (ThreeDirections.of(Leaning(), LeaningSolid(), flips=flips) for flips in (False, True))
    for way in ((-1,), (-2,), (-3,), (-3, -2, -1)):
        turned = {flips: m(np.flip(batch, way), [0])["boundary"] for flips, m in ((False, plain), (True, flipped))}
        np.testing.assert_allclose(turned[True], np.flip(flipped(batch, [0])["boundary"], way), atol=1e-6)
        assert np.abs(turned[False] - np.flip(plain(batch, [0])["boundary"], way)).max() > 0.1

    def mean(model, over):
        """The mean over all flips of the cube, one by one."""
        found = [np.flip(model(np.flip(batch, way), [0])["boundary"], way) for way in over]
        return np.mean(found, axis=0)

    ways = [w for n in range(4) for w in itertools.combinations((-3, -2, -1), n)]
    np.testing.assert_allclose(flipped(batch, [0])["boundary"], mean(plain, ways), atol=1e-6)


def test_flips_are_told_in_reason_fingerprint_and_estimate():
    """Law: another map is another job, and costs 4 times as much; without three directions flips are refused."""
    volume = Volume.from_array(np.random.default_rng(0).random((33, 33, 33), np.float32), NM)
    box, params = volume.levels[0].box, SegmentParams(flips=True)
    plain, flipped = (chosen(volume, p, Edges(), box) for p in (SegmentParams(), params))
    assert flipped.reason == plain.reason + ", averaged over flips"
    prints = [fingerprint(volume, choice, Edges(), box)["params"] for choice in (plain, flipped)]
    assert prints[1] == prints[0] | {"flips": True}
    assert flipped.model.card.network != plain.model.card.network
    assert [_answers(choice.model) for choice in (plain, flipped)] == [1, 4]
    both = ThreeDirections.of(Edges(), Solid(), flips=True)
    assert _answers(both) == pytest.approx(4.8)
    for wrong in (SegmentParams(flips=True, directions="one"), SegmentParams(flips=True, mode="2d")):
        with pytest.raises(InputError, match=r"got flips without three directions \(mode .*switch flips off"):
            segment(volume, wrong, model=Edges())
    with pytest.raises(InputError, match="got flips without three directions"):
        segment(volume, params)


def test_a_wall_between_sections_is_seen():
    """A model of sections is blind to a membrane in their plane, but not from the side; one direction must miss it."""
    image = np.zeros((40, 40, 40), np.float32)
    image[20:] = 1
    volume, params = Volume.from_array(image, NM), SegmentParams(merge_threshold=0.4, boundary_threshold=0.4)
    three = segment(volume, params, model=Edges())
    one = segment(volume, replace(params, directions="one"), model=Edges())
    assert one.metadata["segments"] == 1
    np.testing.assert_array_equal([len(np.unique(stored(three)[z])) for z in (5, 35)], [1, 1])
    assert stored(three)[5, 0, 0] != stored(three)[35, 0, 0]


def test_closed_in_the_middle_and_resumed(tmp_path):
    image = np.random.default_rng(1).random((33, 34, 35), np.float32)
    volume = Volume.from_array(image, NM)
    job = segment_job(volume, model=Edges(), out=tmp_path / "cut")
    seen = [next(job) for _ in range(12)]
    assert seen[-1].stage == "predicting"
    job.close()
    stages = {}
    again = run(
        segment_job(volume, model=Edges(), out=tmp_path / "cut"),
        lambda p: stages.setdefault(p.stage, []).append(p.done),
    )
    assert stages["predicting"][0] >= seen[-1].done > 0
    np.testing.assert_array_equal(stored(again), stored(segment(volume, model=Edges(), out=tmp_path / "whole")))


@pytest.mark.parametrize(
    ("voxel", "shape", "params", "three"),
    [
        ((10, 10, 10), (64, 64, 64), {}, True),
        ((30, 10, 10), (64, 64, 64), {}, True),
        ((31, 10, 10), (64, 64, 64), {}, False),
        ((31, 10, 10), (64, 64, 64), {"directions": "three"}, True),
        ((5, 10, 10), (64, 64, 64), {}, True),
        ((5, 10, 10), (63, 64, 64), {}, False),  # 31.5 voxels of the model
        ((10, 10, 10), (64, 64, 64), {"directions": "one"}, False),
        ((10, 10, 10), (64, 64, 64), {"mode": "2d"}, False),
    ],
)
def test_the_number_of_directions_follows_from_the_voxels(voxel, shape, params, three):
    chosen, why = with_directions(SegmentParams(**{"mode": "3d"} | params), Edges(), shape, voxel)
    assert chosen.directions == ("three" if three else "one")
    assert ("three directions" in why) == three


def test_three_directions_need_a_model_that_can():
    deep, oblong = Edges(tile=(8, 16, 16)), Edges(voxel=(10.0, 10.0, 5.0))
    assert not any(takes_directions(model) for model in (deep, oblong, Edges(tile=(1, 16, 32))))
    for model in (deep, oblong):
        assert with_directions(SegmentParams(mode="3d"), model, (64, 64, 64), NM)[0].directions == "one"
        with pytest.raises(InputError, match=r"got directions='three' in mode 3d with model 'edges'; it needs"):
            with_directions(SegmentParams(mode="3d", directions="three"), model, (64, 64, 64), NM)
    assert [takes_directions(Edges(tile=(1, n, n))) for n in (256, 512)] == [True, False]  # a cube of 512 is too large
    with pytest.raises(InputError, match=r"directions='three' in mode 2d"):
        with_directions(SegmentParams(mode="2d", directions="three"), Edges(), (64, 64, 64), NM)


def test_labels_are_on_the_grid_of_the_image_and_the_estimate_knows_the_tiles():
    image = np.zeros((40, 48, 48), np.uint8)
    image[:, :, 24:] = 1
    volume = Volume.from_array(image, (12.0, 10.0, 10.0))
    labels = segment(volume, model=Edges())
    assert labels.levels[0].shape == volume.levels[0].shape
    assert labels.levels[0].voxel_nm == volume.levels[0].voxel_nm
    cost = estimate_segment(volume, model=Edges())
    assert (cost.shape, cost.labels, cost.tiles) == ((48, 48, 48), (40, 48, 48), 3 * 3 * 3)
    assert "three directions" in cost.reason


def test_three_directions_without_a_model_are_refused():
    """The volume is the boundary already; formerly the choice was ignored, and recorded as if it had been followed."""
    boundary = Volume.from_array(np.zeros((8, 16, 16), np.float32), NM)
    for work in (segment, estimate_segment):
        with pytest.raises(InputError, match=r"got directions='three' without a model"):
            work(boundary, SegmentParams(directions="three"))
    assert segment(boundary, SegmentParams()).metadata["segments"] == 1
