"""What neuroglancer is told: the right places in metres, of stores that it gets by HTTP."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.serve import FolderServer
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.app.neuroglancer import HOSTED, link, shown, state

SHAPE, VOXEL, ORIGIN = (20, 60, 100), (40.0, 8.0, 4.0), (400.0, -80.0, 0.0)


@pytest.fixture
def stores(tmp_path):
    rng = np.random.default_rng(0)
    image = Level(rng.integers(10, 200, SHAPE).astype(np.uint8), VOXEL, ORIGIN)
    labels = Level(rng.integers(0, 9, SHAPE).astype(np.uint32), VOXEL, ORIGIN)
    save_volume(Volume((image,), name="em"), tmp_path / "em.zarr", levels=2)
    save_volume(Volume((labels,), name="cells", kind="labels"), tmp_path / "cells.zarr", levels=1, version="0.4")
    return tmp_path / "em.zarr", tmp_path / "cells.zarr", labels


def test_places_are_in_metres_and_voxels(stores):
    layers = [shown(stores[0]), shown(stores[1])]
    told = state(layers, ["http://h/a/", "http://h/b/"])
    assert told["dimensions"] == {"x": [4e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
    assert told["position"] == [50.0, 20.0, 20.0]  # the middle: 50, 30 and 10 voxels from the corner at 0, -10, 10
    image, labels = told["layers"]
    assert (image["type"], image["source"], image["name"]) == ("image", "zarr://http://h/a/", "em")
    low, high = image["shaderControls"]["normalized"]["range"]
    assert 10 <= low < high <= 200
    assert (labels["type"], labels["source"]) == ("segmentation", "zarr://http://h/b/")


def test_precomputed_has_the_same_place(stores, tmp_path):
    pytest.importorskip("tensorstore")
    from napari_connecto.io.volumes.precomputed import save_precomputed

    save_precomputed(Volume((stores[2],), name="cells", kind="labels"), tmp_path / "cells", levels=1)
    zarr, precomputed = shown(stores[1]), shown(tmp_path / "cells")
    assert (precomputed.kind, precomputed.format) == ("labels", "precomputed")
    assert precomputed.voxel_nm == zarr.voxel_nm
    assert precomputed.centre_nm == zarr.centre_nm == (800.0, 160.0, 200.0)


def test_the_link_leads_to_files_that_say_the_same(stores):
    """As a browser goes: from the link's state to the store's metadata, over HTTP."""
    with FolderServer(list(stores[:2])) as server:
        urls = [server.url(0), server.url(1)]
        address = link(HOSTED, state([shown(stores[0]), shown(stores[1])], urls))
        told = json.loads(unquote(urlsplit(address).fragment).removeprefix("!"))
        sources = [layer["source"].removeprefix("zarr://") for layer in told["layers"]]
        with urlopen(f"{sources[0]}zarr.json") as answer:
            (scale,) = json.load(answer)["attributes"]["ome"]["multiscales"]
        with urlopen(f"{sources[1]}.zattrs") as answer:
            (old,) = json.load(answer)["multiscales"]
        with urlopen(f"{sources[0]}0/zarr.json") as answer:
            assert json.load(answer)["shape"] == list(SHAPE)
    first = scale["datasets"][0]["coordinateTransformations"]
    assert scale["axes"][0] == {"name": "z", "type": "space", "unit": "nanometer"}
    assert first[0]["scale"] == list(VOXEL)
    # neuroglancer takes half a voxel off the translation, which is of a voxel's centre
    shift = scale["coordinateTransformations"]  # of all levels
    assert shift[0]["scale"] == [1.0, 1.0, 1.0]
    corner = np.add(first[1]["translation"], shift[1]["translation"]) - np.array(VOXEL) / 2
    np.testing.assert_allclose(corner, ORIGIN)
    middle = corner[::-1] + np.multiply(SHAPE, VOXEL)[::-1] / 2
    metres = [p * told["dimensions"][axis][0] for p, axis in zip(told["position"], "xyz", strict=True)]
    np.testing.assert_allclose(metres, middle * 1e-9)
    assert (old["datasets"][0]["coordinateTransformations"], old["coordinateTransformations"]) == (first, shift)


def test_equal_names_are_told_apart(stores):
    told = state([shown(stores[0])] * 3, ["http://h/"] * 3)
    assert [layer["name"] for layer in told["layers"]] == ["em", "em 2", "em 3"]


def test_what_neuroglancer_cannot_read_is_refused(tmp_path):
    import zarr

    zarr.save_array(str(tmp_path / "plain.zarr"), np.zeros((4, 4, 4)))
    with pytest.raises(InputError, match="is not an OME-Zarr or precomputed folder with a voxel size"):
        shown(tmp_path / "plain.zarr")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "info").write_text('{"scales": []}')
    with pytest.raises(InputError, match="is not a precomputed volume"):
        shown(tmp_path / "p")
