from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.metrics import Counts, count, dice


def test_precision_recall_and_f1():
    counts = Counts(tp=6, fp=2, fn=4)
    assert (counts.precision, counts.recall, counts.f1) == (0.75, 0.6, pytest.approx(12 / 18))
    assert Counts(1, 2, 3) + Counts(10, 20, 30) == Counts(11, 22, 33)


def test_nothing_there_and_nothing_found_is_perfect():
    assert (Counts(0, 0, 0).precision, Counts(0, 0, 0).recall, Counts(0, 0, 0).f1) == (1.0, 1.0, 1.0)
    assert (Counts(0, 3, 0).precision, Counts(0, 3, 0).f1) == (0.0, 0.0)
    assert (Counts(0, 0, 3).recall, Counts(0, 0, 3).f1) == (0.0, 0.0)


def test_dice_is_the_f1_of_voxels():
    found, truth = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), np.uint8)
    found[0, :2] = True  # 8 voxels
    truth[0, 1:] = 255  # 8 voxels, 4 shared
    assert count(found, truth) == Counts(4, 4, 4)
    assert dice(found, truth) == 0.5
    assert dice(found[1:], truth[1:]) == 1.0


def test_refuses():
    with pytest.raises(InputError, match=r"got shapes \(2,\) and \(3,\)"):
        dice(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="cannot be negative"):
        Counts(1, -1, 0)
