"""Blocks on the workers of a cluster: the bytes of a local run."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.compute.cluster import connect
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.segment.segment import segment
from tests.workflows.segment.test_segment import DEEP, NM, cells, stored


@pytest.mark.slow
def test_two_workers_make_the_same_labels(tmp_path):
    save_volume(Volume.from_array(cells()[0], NM), tmp_path / "boundary.ome.zarr")
    volume = open_volume(tmp_path / "boundary.ome.zarr")
    here = segment(volume, DEEP, out=tmp_path / "here")
    with connect(workers=2) as client:
        there = segment(volume, DEEP, out=tmp_path / "there", client=client)
    np.testing.assert_array_equal(stored(here), stored(there))
    assert here.metadata["segments"] == there.metadata["segments"] == 18
