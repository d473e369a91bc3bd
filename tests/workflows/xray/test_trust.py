"""Seams, worst places and masks, each with the answer known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.xray.seams import seams
from napari_connecto.workflows.xray.trust import certain, disputed_regions, worst_regions

NM = (20.0, 10.0, 10.0)


def volume(array: np.ndarray, name: str = "sd") -> Volume:
    return Volume((Level(array.astype(np.float32), NM, (100.0, 200.0, 300.0)),), name=name)


def test_seams_are_one_without_and_more_with_them():
    rng = np.random.default_rng(0)
    level = Level(rng.random((64, 64, 64)).astype(np.float32), NM)
    done = np.arange(64)
    for ratio in seams(level, (16, 16, 16), done).values():
        assert ratio == pytest.approx(1, abs=0.03)
    shifted = level.array + (np.arange(64) // 16 % 2).astype(np.float32)
    found = seams(Level(shifted, NM), (16, 16, 16), done)
    assert found["x"] == pytest.approx(1 / (1 / 3), rel=0.05), "mean |difference| of uniform noise is a third"
    assert found["y"] == pytest.approx(1, abs=0.03)


def test_seams_are_looked_for_between_finished_tiles_only():
    level = Level(np.random.default_rng(0).random((16, 32, 32)), NM)
    assert seams(level, (16, 16, 16), np.array([0])) == {}
    assert set(seams(level, (16, 16, 16), np.array([0, 1]))) == {"x"}


def test_the_worst_places_come_first_apart_from_each_other_with_their_reason():
    noise, ignorance = np.full((20, 60, 60), 0.01), np.zeros((20, 60, 60))
    noise[4:8, 10:18, 10:18] = 0.3
    ignorance[12:16, 40:48, 30:38] = 0.2
    found = worst_regions(volume(noise), volume(ignorance), 2, size_nm=80)
    assert [r.box.start for r in found] == [(4, 10, 10), (12, 40, 30)]
    assert [r.box.stop for r in found] == [(8, 18, 18), (16, 48, 38)]
    assert found[0].centre_nm == (100 + 6 * 20, 200 + 14 * 10, 300 + 14 * 10)
    assert found[0].sd == pytest.approx(0.3, abs=1e-6)
    assert [round(r.epistemic, 2) for r in found] == [0.0, 1.0]
    assert "aleatoric (not in the X-ray)" in found[0].reason
    assert "epistemic (the translator does not know)" in found[1].reason


def test_places_where_passes_disagree_come_worst_first():
    sd = np.zeros((20, 60, 60))
    sd[4:8, 10:18, 10:18], sd[12:16, 40:48, 30:38] = 0.2, 0.4
    found = disputed_regions(volume(sd), 5, size_nm=80)
    assert [r.box.start for r in found[:2]] == [(12, 40, 30), (4, 10, 10)]
    assert found[0].reason == "passes disagree about membranes, sd 0.40"
    with pytest.raises(InputError, match="both must be above 0"):
        disputed_regions(volume(sd), 0)


def test_no_more_places_than_there_are_and_none_where_nothing_is_computed():
    empty = volume(np.zeros((20, 60, 60)))
    assert worst_regions(empty, empty, 5) == []
    whole = volume(np.full((20, 60, 60), 0.1))
    found = worst_regions(whole, empty, 1000, size_nm=200)
    assert 4 <= len(found) <= 2 * 3 * 3
    covered = np.zeros((20, 60, 60), int)
    for r in found:
        covered[r.box.slices] += 1
    assert covered.max() == 1
    with pytest.raises(InputError, match="both must be above 0"):
        worst_regions(whole, empty, 0)


def test_a_mask_holds_where_the_total_is_small_and_something_was_computed():
    noise, ignorance = np.array([[[0.0, 0.03, 0.03, 0.2]]]), np.array([[[0.0, 0.03, 0.05, 0.0]]])
    mask = certain(volume(noise), volume(ignorance), 0.05)
    level = mask.levels[0]
    np.testing.assert_array_equal(level.read(level.box), [[[0, 1, 0, 0]]])
    assert mask.kind == "labels"
    with pytest.raises(InputError, match="above 0"):
        certain(volume(noise), volume(ignorance), 0.0)
