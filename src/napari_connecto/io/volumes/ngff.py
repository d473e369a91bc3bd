"""Writing OME-Zarr: groups with valid metadata of version 0.4 or 0.5, and empty arrays for the levels.

The metadata are models of ome-zarr-models, so that what is written has been validated. The ome-zarr library itself
writes dask arrays only and takes no translations, so it cannot stream a pyramid that starts off the origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import zarr
from numcodecs import Blosc
from ome_zarr_models.common.coordinate_transformations import VectorScale, VectorTranslation
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.multiscales import Dataset, Multiscale
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.volume import Kind
from napari_connecto.io.volumes.pyramid import Grid

Version = Literal["0.4", "0.5"]
OURS = "napari-connecto"
"""Name of our attribute beside the OME ones; it marks images that are simulated or predicted, not measured."""
_OWN_SYSTEM = "intrinsic"
COMPRESSOR = ZstdCodec(level=0, checksum=True)
"""Of what we write in zarr 3; without its checksum a flipped bit would mostly be read as good."""
MADE_UP = ("synthetic", "phantom", "seed", "simulated", "simulated_from")
"""What of a volume's metadata is kept there."""


@dataclass(frozen=True)
class Image:
    """What is written: the levels' geometry, and what is the same for all of them.

    Parameters
    ----------
    grids
        Finest first.
    channels
        Extent of a leading channel axis; None for (z, y, x).
    calibrated
        False leaves the unit out of the metadata.
    metadata
        A volume's; of these, `MADE_UP` is written. JSON.
    """

    name: str
    grids: Sequence[Grid]
    dtype: np.dtype
    kind: Kind = "image"
    channels: int | None = None
    calibrated: bool = True
    version: Version = "0.5"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version not in ("0.4", "0.5"):
            raise InputError(f"got OME-Zarr version '{self.version}'; allowed: 0.4, 0.5")
        if self.kind == "labels":
            check_labels(self.dtype)

    @property
    def zarr_format(self) -> Literal[2, 3]:
        """2 under OME-Zarr 0.4, 3 under 0.5."""
        return 2 if self.version == "0.4" else 3

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the stored axes."""
        return ("z", "y", "x") if self.channels is None else ("c", "z", "y", "x")

    def attributes(self) -> dict[str, Any]:
        """The group's attributes. OME-Zarr translates the centre of voxel 0, our origins are its corner."""
        unit = "nanometer" if self.calibrated else None
        lead = [] if self.channels is None else [0.0]
        centres = [np.add(grid.origin_nm, np.divide(grid.voxel_nm, 2)) for grid in self.grids]
        multiscale = Multiscale(
            axes=tuple(
                Axis(name="c", type="channel") if name == "c" else Axis(name=name, type="space", unit=unit)
                for name in self.axes
            ),
            datasets=tuple(
                Dataset.build(
                    path=str(k),
                    scale=[*(1.0 for _ in lead), *grid.voxel_nm],
                    translation=[*lead, *(centre - centres[0]).tolist()],
                )
                for k, (grid, centre) in enumerate(zip(self.grids, centres, strict=True))
            ),
            coordinateTransformations=_build_shift([*lead, *centres[0].tolist()]),
            name=self.name,
            type="mode" if self.kind == "labels" else "mean",
        )
        label: dict[str, Any] = {"image-label": {}} if self.kind == "labels" else {}
        told = made_up(self.metadata)
        ours = {OURS: told} if told else {}
        if self.version == "0.5":
            return {"ome": {"version": "0.5", "multiscales": [_dump(multiscale)], **label}, **ours}
        return {"multiscales": [{"version": "0.4", **_dump(multiscale.to_version("0.4"))}], **label, **ours}


def _build_shift(centre: list[float]) -> tuple[VectorScale, VectorTranslation]:
    """What is applied to all levels: the format wants a scale first."""
    return VectorScale.build([1.0] * len(centre)), VectorTranslation.build(centre)


def check_labels(dtype: np.dtype) -> None:
    """Raise `InputError` for a type that labels do not have."""
    if dtype.kind not in "iub":
        raise InputError(
            f"got labels of type {dtype}; labels are integers: save it as an image (kind='image', --kind image), or "
            "convert it"
        )


def made_up(metadata: Any) -> dict[str, Any]:
    """The entries of a volume's metadata, or of a file's attribute `OURS`, that mark it as not measured."""
    return {key: metadata[key] for key in MADE_UP if key in metadata} if isinstance(metadata, Mapping) else {}


def _dump(model: Any) -> dict[str, Any]:
    """JSON, with coordinate systems named as 0.6 does it, which 0.4 and 0.5 allow.

    napari-ome-zarr takes the first transformation of level 0, then the first of all levels' that starts from where that
    one leads. So where level 0 is counts in napari, too, if the names lead from its scale to the shift of all levels.
    """
    found = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    for dataset in found["datasets"]:
        dataset["coordinateTransformations"][0]["output"] = {"name": _OWN_SYSTEM}
    found["coordinateTransformations"][1]["input"] = {"name": _OWN_SYSTEM}
    return found


def create_group(store: Store, image: Image, path: str = "") -> None:
    """Make the group without its OME metadata: until `finish_group` it is no image for any reader."""
    zarr.create_group(store, path=path, zarr_format=image.zarr_format, overwrite=False)


def finish_group(store: Store, image: Image, path: str = "") -> None:
    """Write the OME metadata, which makes it an image."""
    zarr.open_group(store, path=path, mode="r+", zarr_format=image.zarr_format).attrs.update(image.attributes())


def create_level(store: Store, image: Image, level: int, chunk: Vec3, shard: Vec3 | None = None) -> zarr.Array:
    """Make the empty array of one level, chunked (and, in 0.5, sharded) as told, channels one by one."""
    lead = () if image.channels is None else (image.channels,)
    one = () if image.channels is None else (1,)
    grid = image.grids[level]
    old = image.version == "0.4"
    return zarr.create_array(
        store,
        name=str(level),
        shape=(*lead, *grid.shape),
        dtype=image.dtype,
        chunks=(*one, *chunk),
        shards=None if shard is None or old else (*one, *shard),
        fill_value=0,
        zarr_format=image.zarr_format,
        chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
        compressors=Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE) if old else COMPRESSOR,
        dimension_names=None if old else image.axes,
    )
