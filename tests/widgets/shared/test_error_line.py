"""What a dock shows of an error is what its user can do there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.error_line import ErrorLine, unbroken


def test_a_missing_voxel_size_is_entered_in_the_dock_and_not_in_a_shell(qtbot):
    volume = replace(Volume.from_array(np.zeros((4, 64, 64), np.uint8), (1, 1, 1), name="plain"), calibrated=False)
    with pytest.raises(VoxelSizeError, match="--voxel-nm") as told:
        volume.level_at((40, 8, 8))
    line = ErrorLine()
    qtbot.addWidget(line)
    line.show_error(told.value)
    assert line.label.text() == "'plain' states no voxel size; enter it in nm below the image's name at the top"


def test_a_number_and_its_unit_stay_on_one_line():
    """And nothing else changes."""
    kept = unbroken("<b>About 2 min 05 s</b> on CPU, 2 cores · memory 2.94 GB · 8 nm")
    assert kept == "<b>About 2\xa0min 05\xa0s</b> on CPU, 2 cores · memory 2.94\xa0GB · 8\xa0nm"
