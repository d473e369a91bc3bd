"""Average precision: values by hand, ties, chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.ranking import average_precision


@pytest.mark.parametrize(
    ("score", "truth", "expected"),
    [
        ([3, 2, 1, 0], [1, 1, 0, 0], 1.0),
        ([3, 2, 1, 0], [0, 1, 0, 1], 0.5),
        ([0, 1, 2, 3], [1, 0, 0, 0], 0.25),
        ([1, 1, 1, 1], [1, 0, 0, 0], 0.25),
        ([2, 2, 1], [1, 0, 1], (0.5 + 2 / 3) / 2),
    ],
)
def test_values_by_hand(score, truth, expected):
    assert average_precision(np.array(score), np.array(truth)) == pytest.approx(expected)


def test_random_scores_give_the_prevalence():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.1
    assert average_precision(rng.random(20_000), truth) == pytest.approx(truth.mean(), abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_order_of_the_elements_does_not_matter(pairs, random):
    pairs.append((3, True))
    before = average_precision(*map(np.array, zip(*pairs, strict=True)))
    random.shuffle(pairs)
    assert average_precision(*map(np.array, zip(*pairs, strict=True))) == pytest.approx(before)


@pytest.mark.parametrize(("score", "truth"), [([1, 2], [0, 0]), ([], []), ([1], [1, 0])])
def test_nothing_to_rank_is_refused(score, truth):
    with pytest.raises(InputError):
        average_precision(np.array(score), np.array(truth))
