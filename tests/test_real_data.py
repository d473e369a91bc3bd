"""What other people and programs wrote opens as what it is, becomes a pyramid, and can be searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError
from napari_connecto.io.tables.tables import read_table
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.sample_data import list_cascades
from napari_connecto.workflows.cascade.cascade import Cascade, load_cascade

pytestmark = pytest.mark.real

STATED_NOWHERE = (1.0, 1.0, 1.0)
IMAGES = {
    "flyem_medulla/image.tif": ((250, 250, 250), "uint8"),
    "flyem_medulla/neurons.tif": ((250, 250, 250), None),
    "isbi2012/image.tif": ((30, 512, 512), "uint8"),
    "epfl_ca1/image.tif": ((27, 768, 1024), "uint8"),
    "epfl_ca1/mitochondrion.tif": ((27, 768, 1024), "uint8"),
    "snemi_crop/image.tif": ((32, 512, 512), "uint8"),
    "rat_sem_axons/sub-rat1_sample-data1_SEM.tif": ((1, 924, 1278), "uint8"),
    "rat_sem_axons/sub-rat5_sample-data14_SEM_truth.tif": ((1, 1801, 1901), "uint8"),
    "cdeep3m_mito/image.tif": ((20, 1024, 1024), "uint8"),
    "cellfinder_brain/signal.tif": ((26, 1116, 627), "uint16"),
    "cellfinder_brain/crop/signal.tif": ((30, 510, 667), "uint16"),
    "xray_xbrain/cube1.tif": ((200, 200, 200), "uint8"),
    "xray_xbrain/cube2.tif": ((200, 200, 200), "uint8"),
}
STORES = {  # levels' shapes, dtype, finest voxel, channels
    "bioformats2raw.zarr": ([(1, 167, 439), (1, 83, 219)], "int8", STATED_NOWHERE, 3),
    "blobs_image_v04.ome.zarr": ([(1, 12, 12)], "float64", STATED_NOWHERE, 3),
    "blobs_image_v05.ome.zarr": ([(1, 12, 12)], "float64", STATED_NOWHERE, 3),
    "simple_0.4": ([(1, 10, 10), (1, 5, 5), (1, 2, 2)], "uint16", (4.0, 4.0, 30.0), None),
    "simple_0.5": ([(1, 10, 10), (1, 5, 5), (1, 2, 2)], "uint16", (4.0, 4.0, 30.0), None),
}


def command(*arguments: object) -> str:
    """Output of a command that must succeed."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_opens_as_what_it_is(real_data, name):
    shape, dtype = IMAGES[name]
    volume = open_volume(real_data / name)
    level = volume.levels[0]
    assert (level.shape, level.voxel_nm, volume.calibrated) == (shape, STATED_NOWHERE, False)
    assert dtype is None or level.dtype == dtype
    said = command("info", real_data / name)
    assert " x ".join(map(str, shape)) in said
    assert "not stated" in said


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_another_tool_opens_as_what_it_is(real_data, name):
    shapes, dtype, voxel, channels = STORES[name]
    path = real_data / "foreign_stores" / name
    if channels is not None:
        with pytest.raises(InputError, match=f"got {channels} channels and none picked"):
            open_volume(path)
    volume = open_volume(path, channel="all" if channels is not None else None)
    assert [level.shape for level in volume.levels] == shapes
    assert (volume.levels[0].dtype, volume.levels[0].voxel_nm) == (np.dtype(dtype), voxel)
    assert volume.levels[0].channels == channels
    assert volume.levels[0].read(volume.levels[0].box).any()
    assert dtype in command("info", path, *(("--channel", "all") if channels is not None else ()))


def test_slides_and_tables_of_images_need_a_choice(real_data):
    slide = real_data / "kidney_pas/Healthy.png"
    with pytest.raises(InputError, match="got 3 channels and none picked"):
        open_volume(slide)
    assert open_volume(slide, channel="all").levels[0].array.shape == (3, 1, 640, 640)
    nuclei = real_data / "dsb2018_fluorescence/nuclei.h5"
    with pytest.raises(InputError, match=r"several images .* choose array="):
        open_volume(nuclei)
    assert open_volume(nuclei, array="00071198d059/image").levels[0].shape == (1, 256, 256)


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_another_tool_becomes_a_pyramid_with_the_same_voxels(real_data, tmp_path, name):
    path, channel = real_data / "foreign_stores" / name, None if STORES[name][3] is None else 1
    picked = () if channel is None else ("--channel", channel)
    command("convert", path, tmp_path / "out.zarr", "--progress", "none", *picked)
    before, after = open_volume(path, channel=channel).levels[0], open_volume(tmp_path / "out.zarr").levels[0]
    assert np.array_equal(before.read(before.box), after.read(after.box))
    assert after.voxel_nm == pytest.approx(before.voxel_nm)


QUIET = ("--backend", "torch", "--progress", "none")

# a dataset of each kind, the voxel size it is *said* to have so that a shipped cascade looks at it, and that cascade
SEARCHES = {
    "fluorescence": ("cellfinder_brain/crop/signal.tif", (2000, 1000, 1000), "cells", ()),
    "EM": ("flyem_medulla/image.tif", (40, 8, 8), "mitochondria", ()),
    "X-ray": ("xray_xbrain/cube1.tif", (2000, 1000, 1000), "cells", ()),
    "histology": ("kidney_pas/Healthy.png", (40, 8, 8), "mitochondria", ("--channel", "0")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEARCHES)
def test_every_kind_can_be_searched(real_data, tmp_path, kind):
    name, voxel, cascade, pick = SEARCHES[kind]
    pyramid, out = tmp_path / "image.zarr", tmp_path / "out"
    command("convert", real_data / name, pyramid, "--voxel-nm", *voxel, "--levels", 3, "--progress", "none", *pick)
    volume = open_volume(pyramid)
    assert volume.calibrated
    assert volume.levels[0].voxel_nm == pytest.approx(voxel)
    said = command("detect", pyramid, "--cascade", list_cascades()[cascade], "--out", out, *QUIET)
    report = json.loads((out / "report.json").read_text())
    check_sums(report, load_cascade(list_cascades()[cascade]))
    check_inside(out, volume.levels[0].shape, report["objects"])
    assert f"{report['objects']} objects" in said


def check_sums(report: dict, cascade: Cascade) -> None:
    """A level looks at no more than it has, passes no more than it saw, and its calls cover what it looked at."""
    finest, chunk = report["levels"][-1], np.array(cascade.cards[0].tile)
    for level in report["levels"]:
        assert 0 <= level["passed"] <= level["calls"] <= level["chunks"]
        in_a_call = np.prod(np.array(report["tiles"][level["name"]]) // chunk)
        assert level["skipped"] == 0
        assert level["calls"] / in_a_call <= level["calls_made"] <= level["calls"]
        assert 0 <= level["share"] <= 1
    assert report["chunks"] == finest["chunks"] == finest["calls"] + report["audit"]["rejected"]
    assert report["levels"][0]["calls"] == report["levels"][0]["chunks"]
    assert report["audit"]["sampled"] == min(300, report["audit"]["rejected"])
    assert report["seconds"] >= sum(level["seconds"] for level in report["levels"]) - 1e-6


def check_inside(out: Path, shape: tuple[int, ...], objects: int) -> None:
    """Every box lies in the volume and holds something."""
    table, _ = read_table(out / "detections.csv")
    assert len(table["id"]) == objects
    low, high = (np.stack([table[f"{axis}_{end}"] for axis in "zyx"], axis=1) for end in ("start", "stop"))
    assert (low >= 0).all()
    assert (high <= shape).all()
    assert (high > low).all()


@pytest.mark.slow
def test_blobs_find_the_cells_that_another_program_finds(real_data, tmp_path):
    """As docs/real_data.md tells it; that program reports the brightest cells alone, so its misses are no errors."""
    crop, found = real_data / "cellfinder_brain/crop", tmp_path / "found"
    options = ("--detector", "blobs", "--detector-options", "diameter_nm=16000 contrast=0.6")
    size = ("--voxel-nm", 5000, 2000, 2000)
    command("detect", crop / "signal.tif", *size, *options, "--out", found, "--progress", "none")
    command(
        "export",
        "points",
        crop / "cellfinder_output.xml",
        tmp_path / "theirs.csv",
        "--image",
        crop / "signal.tif",
        *size,
    )
    ours, theirs = (centres(path) for path in (found / "detections.csv", tmp_path / "theirs.csv"))
    near = np.linalg.norm(theirs[:, None] - ours[None], axis=2).min(axis=1) < 10_000
    assert near.sum() >= 40
    assert 56 < len(ours) < 900


def centres(path: Path) -> np.ndarray:
    """(n, 3) in nm."""
    table, _ = read_table(path)
    return np.stack([table[f"{axis}_nm"] for axis in "zyx"], axis=1)
