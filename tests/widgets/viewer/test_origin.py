"""Image and labels layers of one shape, scale and translate have one origin, whatever the image was opened from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import dask.array as da
import h5py
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.serve import FolderServer
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.widgets.viewer.layers import SPEC, describe
from napari_connecto.widgets.viewer.show import layer_data, store_layer
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

STACK = (np.random.default_rng(0).random((6, 20, 24)) * 60000).astype(np.uint16)
NM = (1000.0, 500.0, 250.0)
PLACES = {
    "pixels": {},
    "ratios": {"scale": (4, 2, 1)},
    "moved pixels": {"translate": (3, 10, -20)},
    "um": {"scale": (1, 0.5, 0.25), "units": "um"},
    "moved nm": {"scale": (1000, 500, 250), "translate": (7, 300, 90), "units": "nm"},
}


def opened(image: Image, path) -> Image:
    """As napari's File > Open leaves a layer."""
    image._source = image.source.model_copy(update={"path": str(path)})
    return image


def place(keywords, ndim, leading=0):
    def axes(values, fill):
        return (fill,) * leading + tuple(values)[-(ndim - leading) :]

    found = {key: axes(v, 1 if key == "scale" else 0) for key, v in keywords.items() if key != "units"}
    if "units" in keywords:
        found["units"] = ("pixel",) * leading + (keywords["units"],) * (ndim - leading)
    return found


def tiff(folder, array, **keywords):
    tifffile.imwrite(folder / "a.tif", array, photometric="minisblack")
    return opened(Image(array, **keywords), folder / "a.tif")


def hdf5(folder, array, **keywords):
    with h5py.File(folder / "a.h5", "w") as file:
        file["a"] = array
    return opened(Image(array, **keywords), folder / "a.h5")


def plain_zarr(folder, array, **keywords):
    path = folder / "a.zarr"
    stored = zarr.create_array(str(path), data=array, chunks=tuple(min(n, 8) for n in array.shape))
    return opened(Image(stored, contrast_limits=(0, 60000), **keywords), path)


def as_dask(folder, array, **keywords):
    return Image(da.from_array(array, chunks=7), contrast_limits=(0, 60000), **keywords)


def in_memory(folder, array, **keywords):
    return Image(array, **keywords)


SOURCES = {"tiff": tiff, "hdf5": hdf5, "zarr": plain_zarr, "dask": as_dask, "array": in_memory}


def same_place(image, labels, voxel_nm=None):
    """The levels 0 of both, which lie on each other."""
    mine, theirs = (describe(layer, voxel_nm=voxel_nm).volume() for layer in (image, labels))
    a, b = mine.levels[0], theirs.levels[0]
    assert a.shape == b.shape
    np.testing.assert_allclose(a.voxel_nm, b.voxel_nm)
    np.testing.assert_allclose(a.origin_nm, b.origin_nm)
    assert mine.calibrated == theirs.calibrated
    return mine


@pytest.mark.parametrize("voxel_nm", [None, NM])
@pytest.mark.parametrize("array", [STACK, STACK[0]], ids=["3-D", "2-D"])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("source", SOURCES)
def test_labels_lie_on_the_image_that_they_were_painted_over(source, where, array, voxel_nm, tmp_path):
    keywords = place(PLACES[where], array.ndim)
    image = SOURCES[source](tmp_path, array, **keywords)
    volume = same_place(image, Labels(np.zeros(array.shape, np.uint8), **keywords), voxel_nm)
    level, n = volume.levels[0], array.ndim
    low, high = (np.array(end) for end in image.extent.world)  # centres of the first and the last voxel
    unit = 1000.0 if where == "um" else 1.0
    given = np.ones(n) if voxel_nm is None else np.array(voxel_nm)[-n:] / (np.array(image.scale) * unit)
    np.testing.assert_allclose(level.to_nm([(0.5,) * 3])[0][-n:], low * unit * given)
    np.testing.assert_allclose(level.to_nm([np.array(level.shape) - 0.5])[0][-n:], high * unit * given)
    _, keywords = store_layer(Volume((Level(np.zeros(level.shape), level.voxel_nm, level.origin_nm),)), image, level)
    np.testing.assert_allclose(keywords["translate"], image.translate)
    np.testing.assert_allclose(keywords["scale"], image.scale)


@pytest.mark.parametrize("source", ["tiff", "hdf5", "zarr"])
def test_a_file_behind_a_layer_is_named_with_its_place(source, tmp_path):
    """What a recipe opens is the same job: voxels, sizes and origin."""
    image = SOURCES[source](tmp_path, STACK, **place(PLACES["moved pixels"], 3))
    volume = describe(image, voxel_nm=NM).volume()
    assert volume.source
    again = open_spec(volume.metadata[SPEC])
    assert again.levels[0].origin_nm == volume.levels[0].origin_nm == (2500.0, 4750.0, -5125.0)
    assert again.levels[0].voxel_nm == volume.levels[0].voxel_nm
    assert again.fingerprint() == volume.fingerprint()
    assert describe(image).volume().fingerprint() != volume.fingerprint()


def test_napari_s_own_reader_and_labels_over_what_it_opened(tmp_path, npe2pm):
    for name, array in (("flat.tif", STACK[0]), ("stack.tif", STACK)):
        tifffile.imwrite(tmp_path / name, array)
        viewer = ViewerModel()
        with npe2pm.tmp_plugin(package="napari"):
            [image] = viewer.open(tmp_path / name, plugin="napari")
        assert image.source.path == str(tmp_path / name)
        same_place(image, Labels(np.zeros(array.shape, np.uint8)), NM)


def test_axes_before_z_and_levels_share_the_origin():
    stack = np.stack([STACK, STACK + 1])[:, None]
    keywords = place(PLACES["moved nm"], 5, leading=2)
    labels = Labels(np.zeros(STACK.shape, np.uint8), **place(PLACES["moved nm"], 3))
    same_place(Image(stack, **keywords), labels)
    levels = [STACK, STACK[:, ::2, ::2]]
    volume = same_place(Image(levels, multiscale=True, **place(PLACES["moved nm"], 3)), labels)
    assert volume.levels[1].origin_nm == volume.levels[0].origin_nm


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (100.0, -20.0, 8.0)])
def test_our_own_layers_are_where_their_files_are(origin, tmp_path):
    path = tmp_path / "a.ome.zarr"
    save_volume(Volume((Level(STACK, (50, 4, 4), origin),)), path, levels=2)
    stored = open_volume(path)
    data, keywords, _ = layer_data(stored)
    image = Image(data, **keywords)
    volume = same_place(
        image, Labels(np.zeros(STACK.shape, np.uint8), scale=image.scale, translate=image.translate, units="nm")
    )
    assert [level.origin_nm for level in volume.levels] == [level.origin_nm for level in stored.levels]
    assert volume.metadata[SPEC] == VolumeSpec(str(path))
    assert volume.fingerprint() == stored.fingerprint()


def test_an_http_store_is_where_its_layer_is(tmp_path):
    save_volume(Volume((Level(STACK, (50, 4, 4)),)), tmp_path / "a.ome.zarr", levels=1)
    with FolderServer([tmp_path]) as server:
        url = f"{server.url(0)}a.ome.zarr"
        keywords = {"scale": (50, 4, 4), "translate": (100, 0, 0), "units": "nm"}
        image = opened(Image(STACK, **keywords), url)
        volume = same_place(image, Labels(np.zeros(STACK.shape, np.uint8), **keywords))
        assert volume.source == url
        assert volume.levels[0].origin_nm == (75.0, -2.0, -2.0)
