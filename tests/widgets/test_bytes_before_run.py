"""What is read of a huge image before anybody presses Run is bounded, however it is stored."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from scipy import ndimage

from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import list_cascades
from napari_connecto.widgets.cascade.jobs import Searching, check_job, estimate_job
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.cascade.params import DetectParams

MOST = 200e6
VOXEL = (2000.0, 1000.0, 1000.0)
NOISE = np.random.default_rng(0).normal(2000, 900, (64, 128, 128))
TISSUE = ndimage.gaussian_filter(NOISE, (0, 2, 2)).astype(np.uint16)


class Huge:
    """54 GB of tissue that count what is decoded: whole chunks."""

    def __init__(self, shape, chunks):
        self.shape, self.dtype, self.ndim, self.read = shape, np.dtype(np.uint16), 3, 0
        self.chunks = chunks

    def __getitem__(self, index):
        spans = [(s.start, s.stop) for s in index[-3:]]
        sizes = self.chunks or (1, 1, 1)
        rounded = [min(n, -(-b // c) * c) - a // c * c for (a, b), c, n in zip(spans, sizes, self.shape, strict=True)]
        self.read += 2 * int(np.prod(rounded, dtype=np.int64))
        return TISSUE[np.ix_(*(np.arange(a, b) % n for (a, b), n in zip(spans, TISSUE.shape, strict=True)))]


def stored(chunks, levels):
    shapes = [(1000 >> k, 5200 >> k, 5200 >> k) for k in range(levels)]
    arrays = [Huge(s, chunks and tuple(min(c, n) for c, n in zip(chunks, s, strict=True))) for s in shapes]
    made = [Level(a, (VOXEL[0] * 2**k, VOXEL[1] * 2**k, VOXEL[2] * 2**k)) for k, a in enumerate(arrays)]
    return Volume(tuple(made), name="huge", source=f"/data/{chunks}.zarr"), arrays


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunks", "levels"),
    [(None, 1), ((64, 64, 64), 1), ((128, 128, 128), 1), ((1, 4096, 4096), 1), ((64, 64, 64), 5), ((16, 128, 128), 5)],
)
def test_choosing_a_layer_reads_little(chunks, levels, tmp_path):
    volume, arrays = stored(chunks, levels)
    search = Searching(volume, None, list_cascades()["cells"], DetectParams(), tmp_path / "out")
    estimate = run(estimate_job(search))
    run(check_job(search))
    assert sum(array.read for array in arrays) < MOST
    assert estimate.seconds > 60
    assert estimate.fits == (not any("GB are free" in note for note in estimate.notes))


@pytest.mark.parametrize("levels", [1, 5])
def test_showing_a_volume_reads_little(levels):
    volume, arrays = stored((64, 64, 64), levels)
    _, keywords, _ = layer_data(volume)
    low, high = keywords["contrast_limits"]
    assert TISSUE.min() <= low < high <= TISSUE.max()
    assert sum(array.read for array in arrays) < MOST
