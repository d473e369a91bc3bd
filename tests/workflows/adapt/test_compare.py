"""Before and after on held-out patches: right figures, and no more certainty than there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from napari_connecto.core.errors import InputError
from napari_connecto.core.partition_metrics import VI, variation_of_information
from napari_connecto.workflows.adapt.compare import Comparison, Scored, compare, tune
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.segment.params import SegmentParams
from tests.workflows import fakes

NM = (40.0, 8.0, 8.0)


class Walls(fakes.Filter):
    """Calls dark voxels boundary, as far as ``sure`` goes."""

    def __init__(self, sure):
        super().__init__(NM, (1, 64, 64), f"walls {sure}")
        self.sure = sure

    def answer(self, tile):
        return np.where(tile < 0.3, self.sure, 0.02).astype(np.float32)


def rooms(gap, seed=0):
    """Three by three rooms with walls of two voxels; ``gap`` of a wall is missing in the image, not in the truth."""
    truth = np.ones((1, 64, 64), np.uint32)
    for n in range(9):
        y, x = n // 3 * 21 + 1, n % 3 * 21 + 1
        truth[0, y : y + 19, x : x + 19] = 3 + n
    image = np.where(truth > 1, 200, 20).astype(np.uint8)
    image[0, 20:22, 5 : 5 + gap] = 200
    return Example(image, truth, NM)


def test_the_figures_are_those_of_the_segmentations():
    found = compare(Walls(0.9), Walls(0.9), [rooms(0), rooms(18)], [rooms(0)])
    whole, merged = found.before.vi
    assert whole.total == pytest.approx(0, abs=1e-9)
    truth = rooms(0).labels[0]
    expected = variation_of_information(np.where(truth == 6, 3, truth), np.where(truth > 1, truth, 0))
    assert merged.total == pytest.approx(expected.total, rel=0.1)  # some voxels beside the gap go elsewhere
    assert (found.gain, found.distinguishable) == (0.0, False)
    assert "no significant change" in found.verdict()


def scored(values):
    each = tuple(VI(v / 2, v / 2) for v in values)
    return Scored(SegmentParams(), each, VI(np.mean(values) / 2, np.mean(values) / 2))


def comparison(before, after):
    from napari_connecto.workflows.adapt.compare import _interval

    difference = np.array(before) - np.array(after)
    return Comparison(scored(before), scored(after), float(difference.mean()), _interval(difference))


def test_the_interval_is_that_of_a_paired_t_test():
    before, after = [0.5, 0.7, 0.9, 0.4], [0.3, 0.45, 0.7, 0.15]
    low, high = ttest_rel(before, after).confidence_interval(0.95)
    assert comparison(before, after).interval == pytest.approx((low, high))
    assert "95 %), 36 % of what it was" in comparison(before, after).verdict()


def test_patches_have_the_numbers_of_their_session():
    found = comparison([0.5, 0.7], [0.3, 0.45])
    assert [line[:8] for line in found.lines()[:2]] == ["patch 1:", "patch 2:"]
    found = replace(found, ids=(3, 7))
    assert [line[:8] for line in found.lines()[:2]] == ["patch 3:", "patch 7:"]
    assert found.to_json()["patches"] == [3, 7]


def test_two_patches_that_both_gain_prove_little_and_one_nothing():
    assert not comparison([0.5, 0.7], [0.4, 0.3]).distinguishable
    assert "one patch gives no confidence interval" in comparison([0.5], [0.4]).verdict()
    assert "LOSS" in comparison([0.1, 0.11, 0.1], [0.5, 0.52, 0.5]).verdict()


def test_a_change_that_two_patches_cannot_show_says_how_many_would():
    """With so many patches of the same mean and spread the interval excludes zero; with one fewer it does not."""
    few = comparison([0.5, 0.7], [0.4, 0.3])
    assert few.needed == 6
    difference = np.array([0.1, 0.4])

    def shows(count):
        spread = difference.std(ddof=1) / np.sqrt(count)
        return difference.mean() > student.ppf(0.975, count - 1) * spread

    assert shows(6)
    assert not shows(5)
    assert few.verdict().endswith("If it is real, about 6 held-out patches would show it.")
    assert few.to_json()["patches_needed"] == 6
    assert comparison([0.5, 0.7], [0.5, 0.7]).needed is None
    assert comparison([0.5], [0.4]).needed is None
    assert comparison([0.5, 0.7], [0.8, 0.39]).needed is None  # 0.005 bits: more than anybody holds out


def test_without_held_out_patches_nothing_can_be_said():
    with pytest.raises(InputError, match="no held-out patch; commit"):
        compare(Walls(0.9), Walls(0.9), [], [rooms(0)])


def test_thresholds_start_from_those_of_the_parent_and_from_scratch_from_the_defaults():
    prior = SegmentParams(mode="2d", boundary_threshold=0.15, merge_threshold=0.35, min_size=20)
    child = Walls(0.9)
    child.card = replace(child.card, parent="digest of its parent")
    found = compare(Walls(0.9), child, [rooms(0)], [rooms(0)], prior, "2d")
    assert (found.before.params, found.after.params) == (prior, prior)  # good already: the patches say nothing against
    assert compare(Walls(0.9), Walls(0.9), [rooms(0)], [rooms(0)], prior).after.params == SegmentParams()


def test_walls_below_the_prior_are_found_by_nine_rooms():
    prior = SegmentParams(mode="2d", boundary_threshold=0.8, merge_threshold=0.6)
    tuned = tune(Walls(0.3), [rooms(0)], prior)
    assert tuned.boundary_threshold < 0.3
    assert compare(Walls(0.3), Walls(0.3), [rooms(0)], [rooms(0)], prior).before.total.total == pytest.approx(
        0, abs=1e-9
    )


def test_an_annotation_of_one_neurite_leaves_the_prior():
    prior = SegmentParams(mode="2d", merge_threshold=0.35)
    alone = rooms(0)
    single = replace(alone, labels=np.where(alone.labels > 3, 0, alone.labels))
    assert tune(Walls(0.3), [single], prior, "2d") == prior


def test_models_are_compared_in_the_mode_that_will_segment():
    """Three sections that move by two voxels each: whoever links them badly has that in the figure."""
    planes = [rooms(0)] * 3
    image, labels = (
        np.stack([np.roll(getattr(p, k)[0], 2 * z, 1) for z, p in enumerate(planes)]) for k in ("image", "labels")
    )
    whole = Example(image, np.where(labels > 2, labels, 1).astype(np.uint32), NM)
    strict = SegmentParams(link=1.0)
    for mode, split in (("2d", 0.0), ("2d-linked", np.log2(3)), ("auto", np.log2(3))):
        found = compare(Walls(0.9), Walls(0.9), [whole], [rooms(0)], strict, mode)
        assert found.before.total.split == pytest.approx(split, abs=0.1)
        assert found.before.params.mode == mode
    cubes = replace(whole, voxel_nm=(8.0, 8.0, 8.0))
    assert compare(Walls(0.9), Walls(0.9), [cubes], [rooms(0)], strict).before.total.split == pytest.approx(0, abs=0.3)
    insides = replace(whole, labels=np.where(labels > 2, 2, 1).astype(np.uint32))  # of no section with another
    assert compare(Walls(0.9), Walls(0.9), [insides], [rooms(0)], strict).before.total.total == pytest.approx(
        0, abs=0.1
    )


@pytest.mark.parametrize(
    ("before", "after", "improved"),
    [
        ([0.5, 0.7, 0.9, 0.4], [0.3, 0.45, 0.7, 0.15], True),
        ([0.5, 0.7], [0.4, 0.3], False),  # better on both, by chance perhaps
        ([0.1, 0.11, 0.1], [0.5, 0.52, 0.5], False),  # worse for certain
        ([0.5], [0.1], False),
        ([0.5, 0.5], [0.5, 0.5], False),
    ],
)
def test_a_new_model_is_better_only_where_its_interval_lies_above_zero(before, after, improved):
    found = comparison(before, after)
    assert found.improved is improved
    assert found.to_json()["improved"] is improved
