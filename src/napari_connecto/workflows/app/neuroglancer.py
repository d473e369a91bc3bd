"""State of a neuroglancer page: layers of served folders, and the view, in metres as neuroglancer counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3, fvec3
from napari_connecto.core.volume import Kind, Volume
from napari_connecto.io.volumes.read import open_volume

HOSTED = "https://neuroglancer-demo.appspot.com"
"""Neuroglancer's public page; it runs in the browser and fetches the data from here."""
_SHADER = "#uicontrol invlerp normalized\nvoid main() {\n  emitGrayscale(normalized());\n}\n"


@dataclass(frozen=True)
class Shown:
    """A folder that neuroglancer can read, OME-Zarr or precomputed.

    Parameters
    ----------
    folder
        The store that is served.
    inside
        Path from there to the image, "" or ending in a slash.
    voxel_nm, centre_nm, extent_nm
        Of the finest level: voxel size, centre, and extent; nm, (z, y, x).
    window
        Black and white of an image.
    shader
        Of an image; default: grey between black and white.
    properties
        Folder of a segmentation's precomputed segment properties, which is served, too.
    """

    name: str
    kind: Kind
    folder: Path
    format: str
    voxel_nm: FVec3
    centre_nm: FVec3
    extent_nm: FVec3
    inside: str = ""
    window: tuple[float, float] | None = None
    shader: str = _SHADER
    properties: Path | None = None

    def layer(self, url: str, properties: str = "") -> dict[str, Any]:
        """Neuroglancer's description of the layer, whose folder is at ``url``, its segments' properties at another."""
        source = f"{self.format}://{url}{self.inside}"
        if self.kind == "labels":
            sources = [source, f"precomputed://{properties.rstrip('/')}"] if properties else source
            return {"type": "segmentation", "source": sources, "name": self.name, "tab": "segments"}
        layer: dict[str, Any] = {"type": "image", "source": source, "name": self.name, "shader": self.shader}
        if self.window is not None and "invlerp" in self.shader:
            layer["shaderControls"] = {"normalized": {"range": list(self.window)}}
        return layer


def shown(path: str | Path, array: str | None = None) -> Shown:
    """The layer in a local folder.

    Raises
    ------
    InputError
        If it is neither OME-Zarr nor precomputed, not on this machine, or states no voxel size.
    """
    folder = Path(path)
    if (folder / "info").is_file():
        return _precomputed(folder)
    volume = open_volume(folder, array=array)
    is_zarr = any((folder / mark).is_file() for mark in ("zarr.json", ".zattrs", ".zgroup"))
    if not is_zarr or not volume.calibrated:
        raise InputError(
            f"'{path}' is not an OME-Zarr or precomputed folder with a voxel size, which neuroglancer needs; "
            "make one with `napari-connecto convert` or `napari-connecto export labels`"
        )
    level = volume.levels[0]
    extent = np.multiply(level.shape, level.voxel_nm)
    return Shown(
        volume.name,
        volume.kind,
        folder,
        "zarr",
        level.voxel_nm,
        fvec3((extent / 2 + level.origin_nm).tolist()),
        fvec3(extent.tolist()),
        f"{array.strip('/')}/" if array else "",
        _window(volume) if volume.kind == "image" else None,
    )


def _window(volume: Volume) -> tuple[float, float]:
    """Black and white: all but the extremes of the coarsest level."""
    level = volume.levels[-1]
    step = max(1, round((level.nbytes / 2**24) ** (1 / 3)))
    middle = level.box.grow([-(n * (step - 1) // (2 * step)) for n in level.shape])
    low, high = (float(v) for v in np.percentile(level.read(middle), [0.5, 99.8]))
    return low, high if high > low else low + 1


def _precomputed(folder: Path) -> Shown:
    told = parse_json((folder / "info").read_bytes(), f"'{folder / 'info'}'")
    try:
        first = told["scales"][0]
        voxel, size, start = (np.array(first[key], float)[::-1] for key in ("resolution", "size", "voxel_offset"))
        kind: Kind = "labels" if told["type"] == "segmentation" else "image"
        middle = fvec3(((start + size / 2) * voxel).tolist())
        return Shown(
            folder.name, kind, folder, "precomputed", fvec3(voxel.tolist()), middle, fvec3((size * voxel).tolist())
        )
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"'{folder}' is not a precomputed volume ({error!r}); write it again") from error


def state(
    layers: Sequence[Shown],
    urls: Sequence[str],
    *,
    properties: Mapping[int, str] = MappingProxyType({}),
    points: Sequence[Point] = (),
) -> dict[str, Any]:
    """Neuroglancer's state: these layers on top of each other, with all of the first in view.

    ``properties`` are the addresses of segment properties by layer; ``points`` make a layer of annotations.

    Returns
    -------
    dict
        JSON. ``dimensions`` are the first layer's voxels in metres, ``position`` is in those voxels, (x, y, z).
    """
    first = layers[0]
    voxel = np.array(first.voxel_nm)
    names: list[str] = []
    told = []
    for k, (layer, url) in enumerate(zip(layers, urls, strict=True)):
        entry = layer.layer(url, properties.get(k, ""))
        entry["name"] = next(
            name for n in range(len(layers)) if (name := f"{layer.name} {n + 1}" if n else layer.name) not in names
        )
        names.append(entry["name"])
        told.append(entry)
    dimensions = {axis: [float(f"{v * 1e-9:.12g}"), "m"] for axis, v in zip("xyz", voxel[::-1], strict=True)}
    if points:
        told.append(_annotations(points, dimensions, voxel))
    return {
        "dimensions": dimensions,
        "position": [float(v) for v in (np.array(first.centre_nm) / voxel)[::-1]],
        "crossSectionScale": max(1.0, float(max(first.extent_nm[1:]) / voxel.min() / 350)),
        "projectionScale": float(max(first.extent_nm) / voxel.min() * 1.5),
        "layers": told,
        "selectedLayer": {"layer": names[-1], "visible": True},
        "layout": "4panel",
    }


@dataclass(frozen=True)
class Point:
    """A place with a few words: ``centre_nm`` (z, y, x)."""

    centre_nm: FVec3
    words: str


def _annotations(points: Sequence[Point], dimensions: Mapping[str, Any], voxel: np.ndarray) -> dict[str, Any]:
    listed = [
        {
            "type": "point",
            "id": str(k),
            "point": [float(v) for v in (np.array(point.centre_nm) / voxel)[::-1]],
            "description": point.words,
        }
        for k, point in enumerate(points, start=1)
    ]
    source = {"url": "local://annotations", "transform": {"outputDimensions": dict(dimensions)}}
    return {"type": "annotation", "source": source, "name": "uncertain decisions", "annotations": listed}


def link(page: str, shown_state: dict[str, Any]) -> str:
    """URL of a neuroglancer page that opens in this state."""
    return f"{page.rstrip('/')}/#!{quote(json.dumps(shown_state, separators=(',', ':')), safe=',:')}"
