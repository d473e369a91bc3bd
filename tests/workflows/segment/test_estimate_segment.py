"""What a segmentation will cost: the right tiles, blocks and bytes, and said where there is no room."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.compute.memory import process_bytes
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.workflows.segment.estimate import estimate_segment
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared import room
from tests.adapt_parts import tiny_card

VOXEL = (40.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def boundary():
    y = np.arange(256) % 32 == 0
    plane = np.where(y[:, None] | y[None], 255, 0).astype(np.uint8)
    return Volume.from_array(np.stack([plane] * 6), VOXEL, name="em")


def test_a_model_of_other_voxels_counts_its_own_tiles(boundary, tmp_path):
    model = new_model(tiny_card("boundary"), 0, device="cpu")  # 8 nm, tiles of 64
    found = estimate_segment(boundary, SegmentParams(), model=model, out=tmp_path / "out")
    assert (found.shape, found.voxel_nm, found.resampled) == ((6, 128, 128), (40.0, 8.0, 8.0), True)
    assert (found.tiles, found.blocks, found.fits) == (6 * 2 * 2, 1, True)
    assert found.disk_bytes == int(4 / 3 * (6 * 256 * 256 * 4 + 6 * 128 * 128 * 5))  # labels on the image's own grid
    assert found.memory_bytes >= 16 * 128 * 128 * 60
    assert found.predict_s > 0
    assert found.segment_s > 0
    assert found.seconds == found.predict_s + found.segment_s
    text = "\n".join(found.lines())
    assert "6 x 128 x 128 voxels of 40x8x8 nm (resampled)" in text
    assert "boundary map: 24 tiles" in text
    assert not (tmp_path / "out").exists()


def test_a_region_of_a_map_costs_its_share(boundary):
    params = SegmentParams(block=(1, 64, 64), halo=(0, 8, 8))
    whole = estimate_segment(boundary, params)
    part = estimate_segment(boundary, params, region=Box((0, 0, 0), (3, 128, 64)))
    assert (whole.tiles, whole.blocks, part.blocks, part.shape) == (0, 6 * 16, 3 * 2, (3, 128, 64))
    assert part.disk_bytes == whole.disk_bytes // 16
    large = estimate_segment(boundary, SegmentParams(block=(6, 4096, 4096), halo=(0, 512, 512)))
    assert process_bytes() * 0.5 < whole.memory_bytes < 2 * process_bytes()  # all that is loaded counts
    assert large.memory_bytes < 2 * process_bytes()  # a block is no larger than the volume
    with pytest.raises(InputError, match="must hold voxels of the finest level"):
        estimate_segment(boundary, region=Box((9, 0, 0), (10, 1, 1)))


def test_no_room_is_said_with_what_helps(boundary, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda _: 1000)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    found = estimate_segment(boundary)
    assert not found.fits
    assert "use smaller blocks" in found.notes[0]
    assert "choose another folder" in found.notes[1]


def test_the_shell_says_it_and_stops(boundary, tmp_path):
    save_volume(boundary, tmp_path / "em.ome.zarr", levels=1)
    save_model(new_model(tiny_card("boundary"), 0, device="cpu"), tmp_path / "model")
    asked = ["segment", str(tmp_path / "em.ome.zarr"), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "o")]
    shown = CliRunner().invoke(cli, [*asked, "--estimate", "--progress", "none"])
    assert shown.exit_code == 0, shown.output
    assert "boundary map: 24 tiles" in shown.output
    assert not (tmp_path / "o").exists()
