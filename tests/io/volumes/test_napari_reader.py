"""What we write, seen through napari-ome-zarr's reader."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume

pytest.importorskip("napari")
reader = pytest.importorskip("napari_ome_zarr")


def layers(path):
    from napari_ome_zarr import napari_get_reader

    return napari_get_reader(str(path))(str(path))


def blob(dtype="u2"):
    array = np.zeros((32, 128, 128), dtype)
    array[8:12, 32:48, 64:80] = 200
    return Volume((Level(array, (40.0, 10.0, 5.0), (0.0, 0.0, 0.0)),), name="blob")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_scale_units_axes_and_levels(tmp_path, version):
    save_volume(blob(), tmp_path / "v.zarr", version=version, levels=4)
    ((data, metadata, kind),) = layers(tmp_path / "v.zarr")
    assert kind == "image"
    assert metadata["scale"] == [40.0, 10.0, 5.0]
    assert metadata["units"] == ("nanometer",) * 3
    assert metadata["axis_labels"] == ("z", "y", "x")
    shapes = [level.shape for level in data]
    assert shapes == [(32, 128, 128), (32, 64, 64), (32, 32, 32), (32, 32, 16)]
    world = []
    for level in data:  # napari scales a level by the ratio of the shapes
        size = np.array(metadata["scale"]) * shapes[0] / np.array(level.shape)
        where = np.argwhere(level.compute() == 200)
        world.append((where.min(axis=0) * size, (where.max(axis=0) + 1) * size))
    for start, stop in world:
        assert start.tolist() == [320.0, 320.0, 320.0]
        assert stop.tolist() == [480.0, 480.0, 400.0]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [((16, 64, 80), "image"), ((16, 64, 80), "labels"), ((1, 64, 80), "labels"), ((2, 16, 64, 80), "image")],
)
def test_a_crop_lies_where_our_reader_says_on_every_level(tmp_path, shape, kind, version):
    """Also where the image is one section, labels, or has channels."""
    origin, voxel = (800.0, 160.0, 2000.0), (40.0, 8.0, 6.0)
    path = tmp_path / "a" / "b" / "v.zarr"
    save_volume(Volume((Level(np.ones(shape, "u2"), voxel, origin),), kind=kind), path, version=version, levels=3)
    volume = open_volume(path, channel=0 if len(shape) == 4 else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reader looks for an image two folders up
        (told,) = layers(path)
    for level, stored in zip(volume.levels, told[0], strict=True):
        start, stop = (voxel_in_world(told[1], shape, stored.shape, edge) for edge in (0, 1))
        np.testing.assert_allclose(level.to_nm((0, 0, 0)), start)
        np.testing.assert_allclose(level.to_nm(level.shape), stop)


def voxel_in_world(metadata, full, stored, edge):
    """First or last corner of a level in napari's world, which scales levels by the ratio of their shapes."""
    scale, affine = np.array(metadata["scale"]), metadata["affine"]
    factor = np.divide(full, stored)[-3:]
    first = affine(np.zeros(3)) + (factor - 1) / 2 * scale  # centre of the level's voxel 0
    last = first + (np.array(stored[-3:]) - 1) * factor * scale
    return last + factor * scale / 2 if edge else first - factor * scale / 2


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_are_layers_and_labels_beside_an_image_are_a_labels_layer(tmp_path, version):
    colours = np.stack([np.full((8, 64, 64), k, np.uint8) for k in range(3)])
    save_volume(Volume((Level(colours, (4.0, 4.0, 4.0)),)), tmp_path / "c.zarr", version=version)
    ((data, metadata, kind),) = layers(tmp_path / "c.zarr")
    assert (kind, metadata["channel_axis"], metadata["scale"]) == ("image", 0, [4.0, 4.0, 4.0])
    assert data[0][2].compute().min() == 2
    save_volume(blob(), tmp_path / "v.zarr", version=version)
    save_volume(blob("u4"), tmp_path / "v.zarr" / "labels" / "cells", kind="labels", version=version)
    (_, _, first), (data, metadata, second) = layers(tmp_path / "v.zarr")
    assert (first, second) == ("image", "labels")
    assert metadata["scale"] == [40.0, 10.0, 5.0]
    assert set(np.unique(data[-1].compute())) == {0, 200}


def test_labels_of_their_own_are_a_labels_layer(tmp_path):
    path = tmp_path / "a" / "b" / "l.zarr"
    save_volume(blob("u4"), path, kind="labels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reader looks for an image two folders up
        ((data, metadata, kind),) = layers(path)
    assert (kind, metadata["scale"]) == ("labels", [40.0, 10.0, 5.0])
    assert data[0].compute().max() == 200
