from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import adapted_rand_error as skimage_arand
from skimage.metrics import variation_of_information as skimage_vi

from napari_connecto.core import partition_metrics
from napari_connecto.core.errors import InputError
from napari_connecto.core.partition_metrics import Contingency, adapted_rand_error, variation_of_information

LABELS = hnp.arrays(np.uint16, (3, 6, 7), elements=st.integers(0, 5))


def with_truth(labels: np.ndarray) -> np.ndarray:
    """The same, surely with two labelled voxels."""
    labels = labels.copy()
    labels[0, 0, :2] = 4
    return labels


def table(contingency: Contingency) -> list[tuple[int, int, int]]:
    columns = (contingency.seg_ids, contingency.truth_ids, contingency.counts)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_one_instance_cut_in_halves_is_one_bit_of_split():
    truth = np.ones((1, 4, 4), np.uint8)
    seg = truth.copy()
    seg[:, 2:] = 7
    vi = variation_of_information(seg, truth)
    assert (vi.split, vi.merge, vi.total) == (1.0, 0.0, 1.0)
    other = variation_of_information(truth, seg)
    assert (other.split, other.merge) == (0.0, 1.0)


def test_arand_by_hand():
    truth = np.array([1, 1, 1, 2, 2, 0])
    seg = np.array([5, 5, 6, 6, 6, 6])
    # ordered pairs: in segments 2*1 + 3*2 = 8, in instances 6 + 2 = 8, in both 2 + 0 + 2 = 4
    arand = adapted_rand_error(seg, truth)
    assert (arand.error, arand.precision, arand.recall) == (0.5, 0.5, 0.5)
    fused = adapted_rand_error(np.full(6, 9), truth)  # pairs in segments 5*4
    assert (fused.precision, fused.recall) == (0.4, 1.0)
    assert fused.error == pytest.approx(1 - 2 * 8 / 28)


def test_no_pairs_is_no_error():
    single = adapted_rand_error(np.array([1, 2, 3]), np.array([4, 5, 6]))
    assert (single.error, single.precision, single.recall) == (0.0, 1.0, 1.0)


def test_table_by_hand_ignores_truth_only():
    seg = np.array([[0, 0, 3], [3, 2, 2]])
    truth = np.array([[1, 1, 1], [2, 0, 0]])
    assert table(Contingency.of(seg, truth)) == [(0, 1, 2), (3, 1, 1), (3, 2, 1)]
    assert table(Contingency.of(seg, truth, ignore=())) == [(2, 0, 2), (0, 1, 2), (3, 1, 1), (3, 2, 1)]
    assert table(Contingency.of(seg, truth, ignore=(0, 1))) == [(3, 2, 1)]


@settings(max_examples=60, deadline=None)
@given(LABELS, LABELS)
def test_agrees_with_scikit_image(seg, truth):
    truth = with_truth(truth)
    vi = variation_of_information(seg, truth)
    assert [vi.split, vi.merge] == pytest.approx(skimage_vi(truth, seg, ignore_labels=(0,)).tolist(), abs=1e-9)
    arand = adapted_rand_error(seg, truth)
    with np.errstate(invalid="ignore", divide="ignore"):
        error, recall, precision = skimage_arand(truth, seg, ignore_labels=(0,))
    assert arand.error == pytest.approx(error, abs=1e-9)
    assert arand.recall == pytest.approx(recall, abs=1e-9)
    if np.isfinite(precision):
        assert arand.precision == pytest.approx(precision, abs=1e-9)


def test_agrees_with_scikit_image_on_big_partitions():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 300, (40, 64, 64))
    seg = np.where(rng.random(truth.shape) < 0.3, rng.integers(1, 500, truth.shape), truth // 2)
    vi = variation_of_information(seg, truth)
    assert [vi.split, vi.merge] == pytest.approx(skimage_vi(truth, seg, ignore_labels=(0,)).tolist(), abs=1e-9)
    assert adapted_rand_error(seg, truth).error == pytest.approx(skimage_arand(truth, seg)[0], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(LABELS, st.permutations(range(6)))
def test_a_renamed_partition_is_the_same_partition(truth, names):
    truth = with_truth(truth)
    names = np.array(names, np.uint64) + 2**60
    vi = variation_of_information(names[truth], truth)
    assert (vi.split, vi.merge) == (0.0, 0.0)
    assert adapted_rand_error(names[truth], truth).error == 0.0


@settings(max_examples=40, deadline=None)
@given(LABELS, LABELS, st.permutations(range(6)))
def test_renaming_changes_nothing(seg, truth, names):
    truth = with_truth(truth)
    before, after = (variation_of_information(s, truth) for s in (seg, np.array(names)[seg]))
    assert (after.split, after.merge) == pytest.approx((before.split, before.merge), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(LABELS, LABELS)
def test_split_and_merge_change_places_with_the_roles(a, b):
    one, other = variation_of_information(a, b, ignore=()), variation_of_information(b, a, ignore=())
    assert (one.split, one.merge) == pytest.approx((other.merge, other.split), abs=1e-12)
    pairs, turned = adapted_rand_error(a, b, ignore=()), adapted_rand_error(b, a, ignore=())
    assert (pairs.precision, pairs.recall) == (turned.recall, turned.precision)
    assert pairs.error == pytest.approx(turned.error, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(LABELS, LABELS, st.integers(1, 2), st.integers(1, 5))
def test_blocks_add_up_to_the_whole(seg, truth, z, y):
    whole = Contingency.of(seg, truth)
    corners = [(slice(0, z), slice(0, y)), (slice(0, z), slice(y, None)), (slice(z, None),)]
    parts = [Contingency.of(seg[c], truth[c]) for c in corners]
    assert table(parts[0] + parts[1] + parts[2]) == table(whole) == table(Contingency.sum(parts))


def test_lazy_arrays_are_read_in_blocks_of_whole_chunks(monkeypatch):
    monkeypatch.setattr(partition_metrics, "BLOCK", 300)
    rng = np.random.default_rng(1)
    seg, truth = rng.integers(0, 9, (2, 10, 20, 20)).astype(np.uint8)

    class Lazy:
        shape, dtype, chunks = truth.shape, truth.dtype, (2, 8, 20)
        asked: list[tuple[slice, ...]]

        def __getitem__(self, index):
            self.asked.append(tuple((s.start, s.stop) for s in index))
            return truth[index]

    lazy = Lazy()
    lazy.asked = []
    assert table(Contingency.of(seg, lazy)) == table(Contingency.of(seg[:], truth))
    assert lazy.asked[:4] == [
        ((0, 2), (0, 8), (0, 20)),
        ((0, 2), (8, 16), (0, 20)),
        ((0, 2), (16, 24), (0, 20)),
        ((2, 4), (0, 8), (0, 20)),
    ]
    assert len(lazy.asked) == 15


def test_counts_beyond_what_fits_in_a_square_of_int64():
    ids = np.array([1, 2], np.uint64)
    big = Contingency(ids, ids, np.array([2**40, 2**40]))
    assert variation_of_information(big).total == 0.0
    assert adapted_rand_error(big).error == 0.0
    fused = Contingency(np.array([7, 7], np.uint64), ids, big.counts)
    assert variation_of_information(fused).merge == 1.0
    assert adapted_rand_error(fused).precision == pytest.approx(0.5)


def test_refuses():
    one = np.ones((2, 2), np.int32)
    with pytest.raises(InputError, match=r"got shapes \(2, 2\) and \(2,\)"):
        variation_of_information(one, one[0])
    with pytest.raises(InputError, match="labels of type float64"):
        adapted_rand_error(one * 1.0, one)
    with pytest.raises(InputError, match="negative labels"):
        adapted_rand_error(-one, one)
    with pytest.raises(InputError, match="without any labelled voxel"):
        variation_of_information(one, one * 0)
