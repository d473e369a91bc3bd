from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.cascade.search.audit import audit_bound, audit_plan, best_possible_bound


def test_plan_draws_each_chunk_at_most_once():
    rejected = np.arange(100, 1100, 2)
    plan = audit_plan(rejected, 50, seed=3)
    assert len(np.unique(plan)) == 50
    assert np.isin(plan, rejected).all()
    assert (np.diff(plan) > 0).all()
    np.testing.assert_array_equal(plan, audit_plan(rejected[::-1], 50, seed=3))
    assert (plan != audit_plan(rejected, 50, seed=4)).any()
    np.testing.assert_array_equal(audit_plan(rejected, 10_000), rejected)
    assert audit_plan(np.empty(0, int), 5).tolist() == []
    assert audit_plan(rejected, 0).tolist() == []
    with pytest.raises(InputError, match="got an audit of -1 chunks"):
        audit_plan(rejected, -1)


def test_plan_is_uniform():
    drawn = np.bincount(np.concatenate([audit_plan(np.arange(10), 3, seed) for seed in range(2000)]), minlength=10)
    assert (np.abs(drawn - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)).all()


@pytest.mark.parametrize(("positives", "sampled"), [(0, 300), (3, 2000), (40, 100)])
def test_bound_is_clopper_pearson(positives, sampled):
    audit = audit_bound(positives, sampled, 100_000, 900)
    share = binomtest(positives, sampled, alternative="less").proportion_ci(0.95, method="exact").high
    assert audit.missed_upper == pytest.approx(share * 100_000)
    assert audit.lost_upper == pytest.approx(share * 100_000 / (share * 100_000 + 900))
    assert audit.missed == pytest.approx(positives / sampled * 100_000)
    assert audit.lost == pytest.approx(audit.missed / (audit.missed + 900))


def test_bound_holds_in_nineteen_of_twenty_cases():
    rng, rejected, missed, found = np.random.default_rng(0), 5000, 40, 1960
    lost = missed / (missed + found)
    held = [
        audit_bound(int(k), 400, rejected, found).lost_upper >= lost
        for k in rng.hypergeometric(missed, 4960, 400, 2000)
    ]
    assert np.mean(held) >= 0.945


def test_rule_of_three():
    assert best_possible_bound(3000, 30_000, 970) == pytest.approx(30 / (30 + 970), rel=0.01)
    assert best_possible_bound(0, 100, 10) == pytest.approx(100 / 110)
    assert best_possible_bound(0, 0, 10) == 0.0


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (
            (0, 3000, 30_000, 1700),
            "At most 1.8 % of what an exhaustive search finds was missed (95% confidence: the finest level "
            "finds an object in 0 of 3000 rejected chunks re-examined).",
        ),
        ((0, 0, 0, 10), "No chunk was rejected: nothing that an exhaustive search finds can be missed."),
        ((0, 0, 100, 10), "None of the 100 rejected chunks was re-examined: the share missed is unknown."),
        (
            (2, 50, 50, 10),
            "17 % of what an exhaustive search finds was missed: the finest level finds an object in 2 of 50 rejected "
            "chunks re-examined, which were all.",
        ),
        (
            (0, 100, 1000, 0),
            "Nothing was found; at most 29 of 1000 rejected chunks hold an object (95% confidence: the finest level "
            "finds an object in 0 of 100 rejected chunks re-examined).",
        ),
    ],
)
def test_sentence(counts, sentence):
    assert audit_bound(*counts).sentence == sentence


@given(st.data())
def test_bounds_lie_between_the_estimate_and_all(data):
    rejected, found = data.draw(st.integers(0, 3000)), data.draw(st.integers(0, 500))
    sampled = data.draw(st.integers(0, rejected))
    audit = audit_bound(data.draw(st.integers(0, sampled)), sampled, rejected, found)
    assert 0 <= audit.lost_upper <= 1
    assert audit.missed_upper <= audit.positives + rejected - sampled
    if audit.missed is None:
        assert (sampled, audit.lost) == (0, None)
    else:
        assert audit.missed <= audit.missed_upper + 1e-9
        assert audit.lost <= audit.lost_upper + 1e-9
    assert "\n" not in audit.sentence
    assert json.loads(json.dumps(asdict(audit)))["rejected"] == rejected


def test_everything_looked_at_is_exact():
    audit = audit_bound(3, 50, 50, 7)
    assert (audit.missed, audit.missed_upper, audit.lost, audit.lost_upper) == (3.0, 3.0, 0.3, 0.3)


@pytest.mark.parametrize("bad", [(5, 4, 10, 1), (0, 11, 10, 1), (-1, 4, 10, 1), (0, 4, 10, -1), (0, 4, 10, 1, 1.0)])
def test_refuses(bad):
    with pytest.raises(InputError, match="need 0 <= positive <= sampled <= rejected"):
        audit_bound(*bad)
