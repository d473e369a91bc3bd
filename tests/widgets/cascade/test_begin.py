"""What the dock begins with on an image: the detector that fits it, what it asks, and what it says before torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.volume import Volume
from napari_connecto.sample_data import list_cascades, open_sample
from napari_connecto.widgets.cascade.find.cards import Card, fitting
from napari_connecto.widgets.cascade.jobs import peek
from napari_connecto.workflows.cascade.outlook import outlook
from napari_connecto.workflows.cascade.params import DetectParams

CARDS = {name: Card(peek(folder)) for name, folder in list_cascades().items()}


def of(nm, shape=(64, 512, 512)):
    return Volume.from_array(np.zeros(shape, np.uint8), nm)


@pytest.mark.parametrize(("sample", "detector"), [("cells", "cells"), ("neuropil", "mitochondria")])
def test_a_sample_begins_with_the_cascade_that_was_made_for_it(sample, detector):
    assert fitting(CARDS, open_sample(sample)) == detector


def test_finer_voxels_of_the_same_kind_of_image_are_averaged_and_those_of_another_kind_are_not():
    nm = np.array(CARDS["mitochondria"].about.voxel_nm)
    assert fitting(CARDS, of(nm / 2)) == "mitochondria"
    assert fitting(CARDS, of(nm / 8)) == ""
    assert fitting(CARDS, of(nm * 2)) == ""  # there "cells" could be computed, from voxels 25 times finer


def test_without_a_voxel_size_no_cascade_fits():
    assert fitting(CARDS, replace(open_sample("neuropil"), calibrated=False)) == ""


def test_the_outlook_is_the_estimate_at_the_prices_of_training():
    from napari_connecto.workflows.cascade.cascade import load_cascade
    from napari_connecto.workflows.cascade.estimate import estimate

    volume, folder = open_sample("cells"), list_cascades()["cells"]
    params = DetectParams(audit=0, force_cascade=True)
    soon, told = outlook(volume, folder, params), estimate(volume, load_cascade(folder), params, trial=False)
    assert [level.name for level in soon] == [level.name for level in told.levels]
    np.testing.assert_allclose([x.calls for x in soon], [x.calls for x in told.levels])
    np.testing.assert_allclose([x.share for x in soon], [x.share for x in told.levels])


def test_the_outlook_of_an_exhaustive_search_is_every_chunk_of_one_level():
    (level,) = outlook(open_sample("cells"), list_cascades()["cells"], DetectParams(exhaustive=True))
    assert level.share == 1.0
    assert level.name == "level 0"


def test_an_unknown_voxel_size_is_refused_without_torch():
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        outlook(replace(open_sample("cells"), calibrated=False), list_cascades()["cells"], DetectParams())


@pytest.mark.slow
def test_the_outlook_loads_no_torch():
    code = (
        "import sys; import napari_connecto.workflows.cascade.outlook as o; "
        "from napari_connecto.sample_data import list_cascades, open_sample; "
        "from napari_connecto.workflows.cascade.params import DetectParams; "
        "assert len(o.outlook(open_sample('cells'), list_cascades()['cells'], DetectParams())) > 1; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
