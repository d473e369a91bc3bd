"""Thresholds and reactivation: values by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.workflows.inspect.concepts.curves import bar, reactivation, threshold

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_the_bar_is_half_of_the_maximum_or_three_sd_above_untrained_networks():
    assert bar([0.1, 0.8], [0.1, 0.1]) == pytest.approx(0.4)
    assert bar([0.1, 0.8], [0.4, 0.6]) == pytest.approx(0.5 + 3 * 0.1414, abs=1e-3)
    assert bar([0.1, 0.8], []) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("scores", "random", "expected"),
    [
        ([0.0, 0.1, 0.5, 0.8], [0.0, 0.02, 0.04], 2),
        ([0.5, 0.1, 0.2], [0.0], 0),
        ([0.10, 0.12, 0.11], [0.1, 0.12, 0.11], None),
        ([-0.01, -0.02], [0.0, 0.0], None),
    ],
)
def test_the_threshold_is_the_first_above_the_bar(scores, random, expected):
    assert threshold(scores, [random] * len(scores)) == expected


def test_each_size_has_to_beat_its_own_untrained_networks():
    assert threshold([0.5, 0.5], [[0.2, 0.6], [0.2, 0.2]]) == 1


@given(SCORES, st.lists(st.floats(0, 1), max_size=5))
def test_what_is_at_the_threshold_is_above_untrained_networks(scores, random):
    found = threshold(scores, [random] * len(scores))
    if found is not None:
        assert all(scores[found] > mean for mean in ([sum(random) / len(random)] if random else []))
        assert scores[found] >= max(scores) / 2


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.8, 0.7, 0.6, 0.75], None),
        ([0.8, 0.4, 0.7], (0, 1, 2)),
        ([0.2, 0.8, 0.5, 0.1, 0.6], (1, 3, 4)),
        ([0.1, 0.3, 0.6, 0.9], None),
        ([0.8, 0.4, 0.5], None),
        ([0.0, 0.0, 0.0], None),
    ],
)
def test_reactivation_needs_a_fall_by_30_percent_and_a_return(scores, expected):
    assert reactivation(scores) == expected


@given(SCORES)
def test_what_only_rises_or_only_falls_is_never_reactivated(scores):
    assert reactivation(sorted(scores)) is None
    assert reactivation(sorted(scores, reverse=True)) is None
