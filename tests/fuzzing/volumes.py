"""Targets: everything that `open_volume` reads, then a corner of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numcodecs
import numpy as np
import tifffile
import zarr
from PIL import Image

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.ngff import Version
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from tests.fuzzing.mutate import bytes_faults, json_text
from tests.fuzzing.target import Target

CORNER = 8


def look(path: Path) -> None:
    """Open a volume, and read a corner of each level."""
    volume = open_volume(path)
    f"{volume.name} {volume.metadata}".encode()
    json.dumps(volume.fingerprint())
    for level in volume.levels:
        level.read_padded(Box.of(vec3([min(CORNER, n) for n in level.shape])))
    volume.levels[0].box_in(Box((0, 0, 0), (1, 1, 1)), volume.levels[-1])


def image() -> Volume:
    """16 x 24 x 24 noise of uint8."""
    array = np.random.default_rng(0).integers(0, 255, (16, 24, 24), np.uint8)
    return Volume.from_array(array, (40.0, 8.0, 8.0), name="noise")


def ome_zarr_04(folder: Path) -> Target:
    """A pyramid of version 0.4, one of whose documents is broken."""
    return _pyramid(folder, "0.4")


def ome_zarr_05(folder: Path) -> Target:
    """A pyramid of version 0.5, one of whose documents is broken."""
    return _pyramid(folder, "0.5")


def _pyramid(folder: Path, version: Version) -> Target:
    store = folder / "image.ome.zarr"
    run(save_volume_job(image(), store, levels=2, version=version))
    return _documents(store, f"OME-Zarr {version} metadata")


def ome_zarr_06(folder: Path) -> Target:
    """A pyramid with every transformation of version 0.6 that is read; its document is broken."""
    store = folder / "image.ome.zarr"
    run(save_volume_job(image(), store, levels=2))
    document = json.loads((store / "zarr.json").read_bytes())
    names = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    parts = [
        {"inputAxes": [0], "outputAxes": [0], "transformation": {"type": "scale", "scale": [40.0]}},
        {"inputAxes": [2, 1], "outputAxes": [2, 1], "transformation": {"type": "scale", "scale": [8.0, 8.0]}},
    ]
    flip = {"type": "mapAxis", "mapAxis": [0, 2, 1]}
    steps = [{"type": "byDimension", "transformations": parts}, flip, flip, {"type": "identity"}]
    steps += [{"type": "rotation", "rotation": np.eye(3).tolist()}, {"type": "translation", "translation": [20, 4, 4]}]
    affine = np.column_stack([np.diag([40.0, 16, 16]), [20.0, 8, 8]]).tolist()
    ends = [{"input": {"path": str(k)}, "output": {"name": "w"}} for k in (0, 1)]
    document["attributes"]["ome"] = {
        "version": "0.6",
        "multiscales": [
            {
                "coordinateSystems": [{"name": "w", "axes": names}],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [{"type": "sequence", "transformations": steps, **ends[0]}],
                    },
                    {"path": "1", "coordinateTransformations": [{"type": "affine", "affine": affine, **ends[1]}]},
                ],
            }
        ],
    }
    (store / "zarr.json").write_text(json.dumps(document))
    look(store)
    return _fed({store / "zarr.json": document}, "OME-Zarr 0.6 metadata", lambda path: look(path.parent))


def zarr_attributes(folder: Path) -> Target:
    """Plain arrays whose attributes state all that they can; one document is broken."""
    stated: dict[str, dict[str, Any]] = {
        "daisy": {
            "resolution": [40, 8, 8],
            "offset": [0, 8, 16],
            "units": ["nm"] * 3,
            "axis_names": ["depth", "row", "col"],
        },
        "n5": {"pixelResolution": {"dimensions": [8, 8, 8], "unit": "nm"}, "downsamplingFactors": [1, 1, 1]},
        "cosem": {
            "transform": {"axes": ["z", "y", "x"], "scale": [40, 8, 8], "translate": [0, 8, 16], "units": ["nm"] * 3}
        },
    }
    documents = {}
    for name, attributes in stated.items():
        array = zarr.create_array(folder / name, data=image().levels[0].array, dimension_names=["z", "y", "x"])
        array.attrs.update(attributes)
        look(folder / name)
        documents[folder / name / "zarr.json"] = json.loads((folder / name / "zarr.json").read_bytes())
    return _fed(documents, "zarr attributes", lambda document: look(document.parent))


def zarr_arrays(folder: Path) -> Target:
    """A plain sharded array and one of format 2 with filters; one document is broken."""
    store = folder / "arrays.zarr"
    group = zarr.open_group(str(store), mode="w", zarr_format=3)
    data = image().levels[0].array
    group.create_array("sharded", data=data, chunks=(4, 12, 12), shards=(8, 24, 24))
    group.create_array("gzip", data=data, chunks=(8, 24, 24), compressors=zarr.codecs.GzipCodec())
    old = zarr.open_group(str(folder / "old.zarr"), mode="w", zarr_format=2)
    old.create_array("a", data=data, chunks=(8, 24, 24), compressors=numcodecs.Zlib(1))
    old.create_array("d", data=data, chunks=(8, 24, 24), filters=[numcodecs.Delta("u1")], compressors=None)
    shutil.move(folder / "old.zarr", store / "old")
    parts = [store / "sharded", store / "gzip", store / "old/a", store / "old/d"]
    documents = {d: json.loads(d.read_bytes()) for part in parts for d in part.glob("*") if d.name in DOCUMENTS}
    return _fed(documents, "zarr array metadata", lambda document: look(document.parent))


DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def _documents(store: Path, name: str) -> Target:
    documents = {path: json.loads(path.read_bytes()) for path in store.rglob("*") if path.name in DOCUMENTS}
    return _fed(documents, name, lambda document: look(store))


def _fed(documents: dict[Path, Any], name: str, see: Callable[[Path], None]) -> Target:
    order = sorted(documents)

    def feed(made: tuple[Path, bytes]) -> None:
        path, text = made
        before = path.read_bytes()
        try:
            path.write_bytes(text)
            see(path)
        finally:
            path.write_bytes(before)

    def make(rng: Random) -> tuple[Path, bytes]:
        path = rng.choice(order)
        return path, json_text(rng, documents[path])

    return Target(name, make, feed)


CODECS: dict[str, Any] = {
    "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4", typesize=1)},
    "zstd": {"compressors": zarr.codecs.ZstdCodec()},
    "gzip": {"compressors": zarr.codecs.GzipCodec()},
    "raw": {"compressors": None},
    "sharded": {"compressors": zarr.codecs.ZstdCodec(), "shards": (16, 24, 24)},
    "lz4": {"compressors": numcodecs.LZ4(), "zarr_format": 2},
    "bz2": {"compressors": numcodecs.BZ2(), "zarr_format": 2},
    "lzma": {"compressors": numcodecs.LZMA(), "zarr_format": 2},
}


def zarr_chunks(folder: Path) -> Target:
    """One chunk (or shard) of an array is broken, for each codec."""
    data, chunks = np.sort(image().levels[0].array, axis=None).reshape(16, 24, 24), []
    for name, how in CODECS.items():
        stored = zarr.create_array(
            str(folder / name), shape=data.shape, chunks=(8, 24, 24), dtype="u1", **{"zarr_format": 3, **how}
        )
        stored[:] = data
        chunks.append(next(p for p in sorted((folder / name).rglob("*")) if p.is_file() and p.name not in DOCUMENTS))
    return _files({path: folder / path.relative_to(folder).parts[0] for path in chunks}, "zarr chunks", 32)


def _files(files: dict[Path, Path], name: str, head: int) -> Target:
    """Broken bytes of each file; what is opened for it."""
    whole = {path: path.read_bytes() for path in files}

    def feed(made: tuple[Path, bytes]) -> None:
        path, data = made
        try:
            path.unlink()  # HDF5 knows a file that is still open somewhere by its inode
            path.write_bytes(data)
            look(files[path])
        finally:
            path.write_bytes(whole[path])

    def make(rng: Random) -> tuple[Path, bytes]:
        path = rng.choice(sorted(files))
        return path, bytes_faults(rng, whole[path], head)

    return Target(name, make, feed)


def tiffs(folder: Path) -> Target:
    """TIFF, ImageJ and OME-TIFF with broken headers."""
    data = image().levels[0].array
    tifffile.imwrite(folder / "plain.tif", data)
    tifffile.imwrite(folder / "imagej.tif", data, imagej=True, metadata={"spacing": 0.04, "unit": "um", "axes": "ZYX"})
    tifffile.imwrite(folder / "zlib.tif", data, compression="zlib", tile=(16, 16))
    sizes = {"axes": "ZYX", "PhysicalSizeX": 0.008, "PhysicalSizeZ": 0.04}
    tifffile.imwrite(folder / "ome.ome.tif", data, ome=True, metadata=sizes)
    for k, section in enumerate(data[:4]):
        tifffile.imwrite(folder / "sections.tif", section, append=k > 0)
    return _files({path: path for path in folder.glob("*.tif")}, "TIFF files", 600)


def hdf5s(folder: Path) -> Target:
    """HDF5 with broken headers. Text is of fixed length: from some broken heaps of other text libhdf5 never returns."""
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("raw", data=image().levels[0].array, chunks=(8, 24, 24), compression="gzip")
        file["raw"].attrs["element_size_um"] = [0.04, 0.008, 0.008]
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("raw", data=image().levels[0].array)
        tags = json.dumps({"axes": [{"key": key, "resolution": 1.0} for key in "zyx"]})
        file["raw"].attrs.update({"axistags": np.bytes_(tags), "units": np.bytes_("nm")})
        file["raw"].attrs.update(
            {"resolution": [40, 8, 8], "offset": [80, 8, 8], "axis_names": np.array(list("zyx"), "S1")}
        )
    return _files({path: path for path in folder.glob("*.h5")}, "HDF5 files", 3000)


def pictures(folder: Path) -> Target:
    """PNG, JPEG and BMP with broken headers."""
    picture = Image.fromarray(np.asarray(image().levels[0].array[0]))
    for kind in ("png", "jpeg", "bmp"):
        stream = BytesIO()
        picture.save(stream, kind)
        (folder / f"a.{kind}").write_bytes(stream.getvalue())
    return _files({path: path for path in folder.iterdir()}, "PNG, JPEG, BMP", 60)
