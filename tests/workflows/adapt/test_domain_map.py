from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.models.transfer.mmd import mmd2
from napari_connecto.workflows.adapt.domain_map import distance_matrix, mantel


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    """Two domains near 0, two near 3, one at 10; widths as of standard deviation 1."""
    rng = np.random.default_rng(0)
    places = {"fly": 0.0, "mouse": 3.0, "larva": 0.4, "human": 3.5, "resin": 10.0}
    return {name: rng.normal(size=(60, 5)) + place for name, place in places.items()}


def test_neighbours_of_the_tree_are_those_of_the_data(features):
    domains = distance_matrix(features)
    assert domains.names == ("fly", "mouse", "larva", "human", "resin")
    assert {frozenset(domains.order[i : i + 2]) for i in range(4)} >= {
        frozenset(("fly", "larva")),
        frozenset(("mouse", "human")),
    }
    assert domains.order[0] == "resin" or domains.order[-1] == "resin"
    assert [name for name, _ in domains.nearest("fly")] == ["larva", "mouse", "human", "resin"]
    assert sorted(domains.linkage[0, :2]) in ([0, 2], [1, 3])
    assert domains.linkage[-1, 3] == 5


def test_every_entry_is_the_mmd_with_the_one_bandwidth(features):
    domains = distance_matrix(features)
    assert domains.bandwidth == pytest.approx(
        np.median([np.linalg.norm(a - b) for i, a in enumerate(rows(features)) for b in rows(features)[:i]])
    )
    for i, a in enumerate(domains.names):
        for j, b in enumerate(domains.names):
            want = 0 if a == b else mmd2(features[a], features[b], bandwidth=domains.bandwidth)
            assert domains.mmd2[i, j] == pytest.approx(want, rel=1e-9)
    first = domains.linkage[0]
    assert first[2] == pytest.approx(np.sqrt(domains.mmd2[int(first[0]), int(first[1])]))


def rows(features: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(list(features.values()))


def test_domains_that_are_alike_do_not_break_the_tree():
    sample = np.random.default_rng(1).normal(size=(30, 3))
    domains = distance_matrix({"a": sample, "b": sample.copy(), "c": sample + 2})
    assert domains.mmd2[0, 1] < 0
    assert domains.linkage[0, :3].tolist() == [0, 1, 0]


def on_a_line(*places: float) -> np.ndarray:
    line = np.array(places)
    return np.abs(line[:, None] - line)


def test_equal_matrices_correlate_fully_and_four_things_cannot_be_significant():
    a = on_a_line(0, 1, 5, 20)
    r, p = mantel(a, 3 * a + 1)
    assert r == pytest.approx(1.0)
    assert p == pytest.approx(1 / 24)
    mirrored = on_a_line(0, 1, 2, 3)  # reversing the order gives the same matrix
    assert mantel(mirrored, mirrored).p == pytest.approx(2 / 24)
    assert mantel(a, -a).r == pytest.approx(-1.0)
    assert mantel(a, -a).p == 1.0


def test_exact_p_is_that_of_all_renamings():
    rng = np.random.default_rng(2)
    a, b = (m + m.T for m in rng.random((2, 5, 5)))
    upper = np.triu_indices(5, 1)
    r = np.corrcoef(a[upper], b[upper])[0, 1]
    all_r = [np.corrcoef(a[upper], b[np.ix_(o, o)][upper])[0, 1] for o in permutations(range(5))]
    assert mantel(a, b).r == pytest.approx(r, rel=1e-12)
    assert mantel(a, b).p == pytest.approx(np.mean(np.array(all_r) >= r - 1e-12))
    drawn = mantel(a, b, permutations=100, seed=1)  # fewer than 120: drawn, the given order among them
    assert drawn == mantel(a, b, permutations=100, seed=1)
    assert drawn.p == pytest.approx(mantel(a, b).p, abs=0.15)


def test_many_things_have_power_and_noise_does_not():
    rng = np.random.default_rng(3)
    points = rng.random((12, 2))
    a = np.linalg.norm(points[:, None] - points, axis=-1)
    noise = rng.random((12, 12)) * 0.1
    assert mantel(a, a + noise + noise.T, 999).p == 0.001
    ps = []
    for _ in range(60):
        other = rng.random((12, 2))
        ps.append(mantel(a, np.linalg.norm(other[:, None] - other, axis=-1), 99).p)
    assert 0.3 < np.mean(ps) < 0.7


def test_refuses(features):
    with pytest.raises(InputError, match=r"got 1 domain\(s\); a map needs at least 2"):
        distance_matrix({"fly": features["fly"]})
    with pytest.raises(InputError, match=r"got samples of \[3, 5\] features; all must come from one encoder"):
        distance_matrix({"fly": features["fly"], "other": np.ones((5, 3))})
    with pytest.raises(InputError, match="got domain 'cat'; known: fly"):
        distance_matrix(features).nearest("cat")
    with pytest.raises(InputError, match=r"first matrix of shape \(2, 2\)"):
        mantel(np.eye(2), np.eye(2))
    with pytest.raises(InputError, match="second matrix that is not symmetric"):
        mantel(on_a_line(1, 2, 4), np.arange(9).reshape(3, 3))
    with pytest.raises(InputError, match="of 3 and 4 items"):
        mantel(on_a_line(1, 2, 4), on_a_line(1, 2, 4, 8))
    with pytest.raises(InputError, match="one distance for all pairs"):
        mantel(on_a_line(1, 2, 4), np.ones((3, 3)))
    with pytest.raises(InputError, match="got 0 permutations"):
        mantel(on_a_line(1, 2, 4), on_a_line(1, 2, 4), 0)
