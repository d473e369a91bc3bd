"""Boundaries and segments that follow the view are those of `predict`, tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.compute.live.mosaic import Blocks
from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.segment.block import as_probability, segment_array
from napari_connecto.workflows.segment.live import APART, LiveSegments
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict
from tests.adapt_parts import tiny_card
from tests.live_parts import watch, whole

PARAMS, CARD = SegmentParams(mode="2d", min_size=5), tiny_card("near")


@pytest.fixture(scope="module")
def made():
    """A noisy volume at the model's voxel size, and an untrained model of sections."""
    rng = np.random.default_rng(0)
    volume = Volume.from_array(rng.integers(0, 255, (3, 150, 170), dtype=np.uint8), CARD.voxel_nm, name="noise")
    return volume, new_model(CARD, seed=1, device="cpu")


def test_a_view_shows_the_boundary_map_of_predict_and_the_segments_of_its_tiles(made, tmp_path):
    """In the view's tiles: uint8 boundary as stored by `predict`, segments as `segment_array` of it; else nothing."""
    volume, model = made
    view = Box((1, 10, 10), (2, 100, 60))
    work = LiveSegments(volume, model, PARAMS, Blocks())
    watch(work, view)
    right = predict(volume, model, out=tmp_path / "right").levels[0]
    right = right.read(right.box)
    boundary, segments = (whole(picture) for picture in work.pictures)
    plan = TilePlan(volume.levels[0].shape, CARD.tile, CARD.halo)
    seen = np.zeros(plan.shape, bool)
    for index in plan.touching([view]).tolist():
        own = plan[index].write.slices
        seen[own] = True
        np.testing.assert_allclose(boundary[own] * 255, right[own], atol=1e-3)
        labels = segment_array(as_probability(right[own]), PARAMS, volume.levels[0].voxel_nm)
        np.testing.assert_array_equal(segments[own], labels + np.uint32(index * APART % 2**31))
    assert 0 < seen.mean() < 1
    assert np.isnan(boundary[~seen]).all()
    assert not segments[~seen].any()


def test_other_thresholds_and_coming_back_call_no_network(made, monkeypatch):
    volume, model = made
    blocks, view = Blocks(), Box((1, 10, 10), (2, 100, 60))
    work = LiveSegments(volume, model, PARAMS, blocks)
    watch(work, view, Box((2, 10, 10), (3, 40, 40)), view)
    monkeypatch.setattr(type(model), "__call__", lambda *_: pytest.fail("the network was called"))
    other = LiveSegments(volume, model, SegmentParams(mode="2d", min_size=200), blocks)
    before = len(np.unique(whole(work.pictures[1])[1]))  # while the segments of the other thresholds are gone
    assert before == 1
    watch(other, view)
    few = whole(other.pictures[1])[1]
    watch(LiveSegments(volume, model, PARAMS, blocks), view)
    many = whole(other.pictures[1])[1]
    assert 1 < len(np.unique(few)) < len(np.unique(many))


def test_a_model_that_does_not_fit_says_so(made):
    _, model = made
    wrong = Volume.from_array(np.zeros((3, 64, 64), np.uint8), (50.0, 4000.0, 4000.0))
    with pytest.raises(VoxelSizeError, match="needs"):
        LiveSegments(wrong, model, PARAMS, Blocks())
