"""Balls drawn into labels: lazily the same as at once, and never over an object."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.geometry import Box
from napari_connecto.core.views.balls import ball, with_balls
from napari_connecto.core.volume import Level, Volume

SHAPE, NM = (6, 20, 24), (40.0, 10.0, 10.0)
coordinate = st.floats(-50, 250, allow_nan=False)


def labels():
    array = np.zeros(SHAPE, np.uint32)
    array[2:4, 5:9, 5:9] = 3
    return Volume((Level(array, NM, (0.0, 5.0, 0.0)),), kind="labels")


@given(st.tuples(coordinate, coordinate, coordinate), st.floats(0, 80), st.booleans(), st.data())
def test_any_part_reads_as_of_the_whole(centre, radius, flat, data):
    drawn = with_balls(labels(), np.array([centre]), [9], radius, flat=flat).levels[0]
    whole = drawn.read(drawn.box)
    start = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    box = Box(tuple(start), tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True)))
    np.testing.assert_array_equal(drawn.read(box), whole[box.slices])
    before = labels().levels[0].array
    np.testing.assert_array_equal(whole[before > 0], before[before > 0])
    at = np.floor(drawn.to_voxels(centre)).astype(int)
    if ((at >= 0) & (at < SHAPE)).all():
        assert whole[tuple(at)] in (9, 3)
    if flat:
        assert set(np.nonzero(whole == 9)[0]) <= {at[0]}


def test_a_ball_holds_what_lies_within_its_radius():
    box, inside = ball(Level(np.zeros((9, 9, 9), bool), (2.0, 1.0, 1.0)), np.array([9.0, 4.5, 4.5]), 3.0)
    assert inside.sum(axis=(1, 2)).tolist() == [21, 29, 21, 0]  # lattice points within sqrt(5), 3 and sqrt(5)
    assert (box.start, inside[1].sum(axis=1).tolist()) == ((3, 1, 1), [1, 5, 5, 7, 5, 5, 1])
