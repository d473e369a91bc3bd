"""Thresholds are found where they are known, on what is annotated and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import variation_of_information as skimage_vi

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import instances, tune_segmentation
from tests.workflows.segment.test_segment import cells

FLAT = SegmentParams(mode="2d")


def patch(seed=0, strength=1.0, noise=0.0):
    """One section of cells: (boundary, labels with instances from 3 on and walls 1)."""
    boundary, truth = cells((1, 46, 52), seed, flat=True)
    rng = np.random.default_rng(seed)
    blur = ndimage.gaussian_filter(rng.normal(0, 1, boundary.shape), (0, 1, 1)).astype(np.float32)
    labels = np.where(boundary > 0.5, 1, truth + 2)
    return np.clip(boundary * strength + noise * blur, 0, 1).astype(np.float32), labels


def test_faint_walls_get_a_low_threshold():
    faint, labels = patch(strength=0.15)
    fixed = segment_array(faint, FLAT)
    assert fixed.max() == 1
    tuned = tune_segmentation(faint, labels, FLAT)
    assert tuned.params.boundary_threshold <= 0.15
    assert tuned.params.merge_threshold <= 0.15
    assert tuned.vi.total == pytest.approx(0, abs=1e-9)
    found = segment_array(faint, tuned.params)
    assert len(np.unique(found[labels > 2])) == len(np.unique(labels[labels > 2])) == 9


def test_what_is_good_already_is_left_alone():
    boundary, labels = patch()
    tuned = tune_segmentation(boundary, labels, FLAT)
    assert tuned.params == FLAT
    assert tuned.vi.total == pytest.approx(0, abs=1e-9)


def test_the_table_holds_what_each_point_reaches():
    boundary, labels = patch(1, 0.6, 0.5)
    tuned = tune_segmentation(boundary, labels, FLAT)
    table = tuned.table
    assert list(table) == ["boundary_threshold", "merge_threshold", "min_size", "split", "merge", "total"]
    assert len(table["total"]) == 12 * 19 * 3
    np.testing.assert_allclose(table["split"] + table["merge"], table["total"])
    assert table["total"].min() <= tuned.vi.total <= table["total"].min() + 0.01
    at = np.argmin(table["total"])
    for i in (0, 100, 300, at):
        params = SegmentParams(
            mode="2d",
            boundary_threshold=table["boundary_threshold"][i],
            merge_threshold=table["merge_threshold"][i],
            min_size=int(table["min_size"][i]),
        )
        counted = labels > 2
        split, merge = skimage_vi(labels[counted], segment_array(boundary, params)[counted])
        np.testing.assert_allclose(sorted([table["split"][i], table["merge"][i]]), sorted([split, merge]), atol=1e-9)


def test_the_same_twice_and_from_uint8_or_one_section():
    boundary, labels = patch(2, 0.7, 0.4)
    quantised = np.rint(boundary * 255).astype(np.uint8)
    first, second = (tune_segmentation(quantised, labels, FLAT) for _ in range(2))
    assert first.params == second.params
    assert tune_segmentation(quantised[0], labels[0], FLAT).params == first.params
    assert tune_segmentation((quantised / 255).astype(np.float32), labels, FLAT).vi.total == pytest.approx(
        first.vi.total, abs=0.05
    )


def test_patches_are_weighed_by_what_is_labelled():
    """Of two patches that want opposite thresholds the larger wins."""
    faint, labels = patch(strength=0.15)
    one = np.zeros((1, 12, 12), np.float32)
    one[:, :, 5:7] = 0.15
    whole = np.full(one.shape, 3)
    both = tune_segmentation([faint, one], [labels, whole], FLAT)
    assert both.params.boundary_threshold <= 0.15
    assert both.params.merge_threshold <= 0.15
    counted = np.zeros_like(labels)
    counted[:, 20:26, :4] = labels[:, 20:26, :4]
    counted[:, 13:16, :4] = labels[:, 13:16, :4]
    few = tune_segmentation([faint, np.tile(one, (1, 4, 4))], [counted, np.full((1, 48, 48), 3)], FLAT)
    assert (
        segment_array(np.tile(one, (1, 4, 4)), few.params).max()
        < segment_array(np.tile(one, (1, 4, 4)), both.params).max()
    )


def test_classes_become_instances_section_by_section():
    labels = np.array([[[2, 2, 1, 2], [0, 1, 1, 2]], [[2, 1, 2, 2], [2, 1, 0, 0]]])
    np.testing.assert_array_equal(instances(labels), [[[1, 1, 0, 2], [0, 0, 0, 2]], [[3, 0, 4, 4], [3, 0, 0, 0]]])
    mixed = np.array([[[2, 1, 7, 7, 1, 2]]])
    np.testing.assert_array_equal(instances(mixed), [[[8, 0, 7, 7, 0, 9]]])


@pytest.mark.parametrize("mode", ["2d", "2d-linked", "3d"])
def test_painted_classes_are_scored_per_section_whatever_the_mode(mode):
    boundary, truth = cells((4, 46, 52), flat=True)
    painted = np.where(boundary > 0.5, 1, 2)
    tuned = tune_segmentation(boundary * 0.2, painted, SegmentParams(mode=mode))
    assert tuned.vi.total == pytest.approx(0, abs=0.02)
    assert tuned.params.boundary_threshold <= 0.2
    assert tuned.params.mode == mode
    linked = tune_segmentation(boundary * 0.2, np.where(boundary > 0.5, 1, truth + 2), SegmentParams(mode=mode))
    if mode == "2d":
        assert linked.vi.split == pytest.approx(2, abs=1e-6)  # four sections of each instance are unrelated: 2 bits
    else:
        assert linked.vi.total == pytest.approx(0, abs=0.02)


def test_what_is_not_labelled_does_not_count():
    boundary, labels = patch(strength=0.15)
    sparse = np.where(np.random.default_rng(0).random(labels.shape) < 0.1, labels, 0)
    assert tune_segmentation(boundary, sparse, FLAT).vi.total == pytest.approx(0, abs=1e-9)
    broken = boundary.copy()
    broken[:, :20] = np.random.default_rng(1).random(broken[:, :20].shape)
    half = labels.copy()
    half[:, :21] = 0
    assert tune_segmentation(broken, half, FLAT).params.boundary_threshold <= 0.15


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros((1, 8, 8), int), r"the labels contain \[0\] only; paint the inside of neurites as 2"),
        (np.ones((1, 8, 8), int), r"the labels contain \[1\] only; paint"),
        (np.full((1, 8, 8), 2), r"the labels contain one instance only; two neighbouring"),
        (np.full((1, 8, 9), 2), r"got a boundary map of \(1, 8, 8\) and labels of \(1, 8, 9\)"),
        (np.full((1, 8, 8), 2.5), r"got labels of float64; they must be integers"),
    ],
)
def test_labels_that_say_nothing_are_refused(labels, match):
    with pytest.raises(InputError, match=match):
        tune_segmentation(np.zeros((1, 8, 8), np.float32), labels)


def test_maps_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"got boundary values from -3 to 3; a boundary map is a probability"):
        tune_segmentation(np.linspace(-3, 3, 64, dtype=np.float32).reshape(1, 8, 8), np.full((1, 8, 8), 3))
    with pytest.raises(InputError, match=r"got 2 boundary maps and 1 annotations; each map needs its own"):
        tune_segmentation([np.zeros((1, 8, 8), np.float32)] * 2, [np.full((1, 8, 8), 3)])
