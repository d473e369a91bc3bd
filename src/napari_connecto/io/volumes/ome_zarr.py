"""Reading OME-Zarr 0.1 to 0.6 written by other programs: from metadata to a `Description`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

import zarr

from napari_connecto.core.documents import check_plain
from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.cosem import as_ome_zarr
from napari_connecto.io.volumes.levels import Description, Request, Stored, volume_of
from napari_connecto.io.volumes.multiscales import check_units, check_version, geometry
from napari_connecto.io.volumes.ngff import OURS, made_up
from napari_connecto.io.volumes.plain_zarr import plain_array
from napari_connecto.io.volumes.zarr_arrays import ZarrSource, above, open_node, store_revision

_MOST_SERIES = 64
_ASIDE = ("label", "label image", "macro", "macro image", "overview", "overview image", "thumbnail", "thumbnail image")
"""What bioformats2raw calls pictures of a slide that are no image of it."""


def open_zarr(request: Request) -> Volume:
    """The image, labels or plain array at ``request.path`` (and below it at ``request.array``)."""
    node = open_node(request.path, request.array or "")
    if isinstance(node, zarr.Array):
        return volume_of(request, _one_level(request, node) or plain_array(request, node))
    return volume_of(request, _image(request, *_find_image(request, node)))


def _one_level(request: Request, array: zarr.Array) -> Description | None:
    """A level of an image that was opened by its own name, where the image says where it lies; else None."""
    for path, inner, name in above(request.path, request.array):
        of_image = replace(request, path=path, array=inner or None)
        try:
            group = open_node(path, inner)
            found = _find_image(of_image, group) if isinstance(group, zarr.Group) else None
        except InputError:
            continue
        if found is None or found[0].path != inner or name not in _dataset_names(found[1]):
            continue
        try:
            return _image(of_image, *found, only=name)
        except InputError:
            if request.voxel_nm is None:
                raise
            return plain_array(request, array)
    return None


def _dataset_names(ome: Mapping[str, Any]) -> list[str]:
    listed = ome["multiscales"]
    return _paths(listed[0], "datasets") if isinstance(listed, list) and listed else []


def _find_image(request: Request, group: zarr.Group, below: str = "") -> tuple[zarr.Group, dict[str, Any]]:
    """The group with multiscales metadata, and those."""
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    check_plain(attributes, f"the attributes of '{request.path}'")
    where = "/".join(part for part in (request.path.rstrip("/"), request.array, below) if part)
    if not isinstance(ome, dict):
        raise InputError(f"'{where}' has damaged OME metadata ({ome!r}); write the store again")
    if "multiscales" in ome:
        return group, ome
    if "bioformats2raw.layout" in ome and not below:
        series = _one_series(group, where)
        child = _child(group, series)
        if isinstance(child, zarr.Group):
            return _find_image(request, child, series)
        raise InputError(f"'{where}' has a bioformats2raw layout but no series '{series}'; check that it is complete")
    names = ome.get("labels")
    if isinstance(names, list) and len(names) == 1 and not below:
        child = _child(group, str(names[0]))
        if isinstance(child, zarr.Group):
            return _find_image(request, child, str(names[0]))
    raise InputError(f"no multiscale metadata in '{where}'; {_choices(ome, group)}")


def _one_series(group: zarr.Group, where: str) -> str:
    """The image of a bioformats2raw layout, where it has one beside labels and overviews of a slide."""
    about = _child(group, "OME")
    attributes = about.attrs.asdict() if isinstance(about, zarr.Group) else {}
    ome = attributes.get("ome", attributes)
    listed = ome.get("series") if isinstance(ome, dict) else None
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    if not names:
        names = list(takewhile(lambda name: isinstance(_child(group, name), zarr.Group), map(str, range(_MOST_SERIES))))
    images = [name for name in names if _title(group, name).lower() not in _ASIDE]
    if len(images) <= 1:
        return images[0] if images else "0"
    lines = [f"{name}: {_title(group, name)}".rstrip(": ") for name in images[:8]]
    listing = ", ".join(map(repr, images[:8])) + (", ..." if len(images) > 8 else "")
    raise ChoiceError(
        f"several images in '{where}'; choose array= one of {listing} (--array NAME)",
        ["several images: choose one with --array", *lines, *(["..."] if len(images) > 8 else [])],
    )


def _title(group: zarr.Group, name: str) -> str:
    """What an image of a bioformats2raw layout is called."""
    child = _child(group, name)
    attributes = child.attrs.asdict() if isinstance(child, zarr.Group) else {}
    ome = attributes.get("ome", attributes)
    listed = ome.get("multiscales") if isinstance(ome, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    return str(first.get("name") or "") if isinstance(first, dict) else ""


def _child(group: zarr.Group, name: str) -> Any:
    try:
        return group[name]
    except KeyError:
        return None


def _choices(ome: Mapping[str, Any], group: zarr.Group) -> str:
    """What the user can open instead."""
    if "plate" in ome:
        wells = [f"{path}/0" for path in _paths(ome["plate"], "wells")]
        return f"it is a plate: choose one of its images, array='{(wells or ['A/1/0'])[0]}' (--array NAME)"
    if "well" in ome:
        images = _paths(ome["well"], "images")
        return f"it is a well: choose one of its images, array='{(images or ['0'])[0]}' (--array NAME)"
    names = ome.get("labels") if isinstance(ome.get("labels"), list) else None
    if not names and group.store.supports_listing:
        names = [name for name, node in group.members(max_depth=3) if _openable(node)]
    if names:
        return f"choose what is in it, array= one of {', '.join(repr(str(n)) for n in names[:8])} (--array NAME)"
    return "choose an array in it with array='name' (--array NAME), or convert it to OME-Zarr"


def _paths(part: Any, key: str) -> list[str]:
    listed = part.get(key) if isinstance(part, dict) else None
    return [str(one.get("path")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _openable(node: Any) -> bool:
    if isinstance(node, zarr.Array):
        return 2 <= node.ndim <= 5
    attributes = node.attrs.asdict()
    ome = attributes.get("ome")
    return "multiscales" in attributes or (isinstance(ome, dict) and "multiscales" in ome)


def _image(request: Request, group: zarr.Group, ome: Mapping[str, Any], only: str | None = None) -> Description:
    """All levels, or the one whose dataset is called ``only``: where it lies among them, if they can be understood."""
    where = f"{request.path.rstrip('/')}/{group.path}".rstrip("/")
    multiscale = ome["multiscales"][0] if isinstance(ome["multiscales"], list) and ome["multiscales"] else None
    multiscale = as_ome_zarr(multiscale, where) if isinstance(multiscale, dict) else None
    datasets = multiscale.get("datasets") if multiscale is not None else None
    if multiscale is None or not isinstance(datasets, list) or not datasets:
        raise InputError(f"'{where}' names no datasets in its multiscales metadata; write the store again")
    version = check_version(ome.get("version", multiscale.get("version")), where)
    if only is not None:
        asked = [dataset for dataset in datasets if isinstance(dataset, dict) and dataset.get("path") == only]
        try:
            whole = _image(request, group, ome)
        except InputError:
            datasets = asked
        else:
            level = whole.levels[datasets.index(asked[0])]
            return replace(
                whole,
                levels=[level],
                revision=store_revision(request.path, [_dataset(request, group, asked[0], where)], ome),
            )
    arrays = [_dataset(request, group, dataset, where) for dataset in datasets]
    found = geometry(
        multiscale,
        datasets,
        [array.shape for array in arrays],
        where,
        version=version,
        names=getattr(arrays[0].metadata, "dimension_names", None),
        given=request.axes,
    )
    if request.voxel_nm is None:
        check_units(found, arrays[0].shape, where)
    levels = [
        Stored(ZarrSource(array, f"level {k} of '{where}'", request.missing), scale, corner)
        for k, (array, scale, corner) in enumerate(zip(arrays, found.scales, found.corners, strict=True))
    ]
    name = str(multiscale.get("name") or "").rstrip("/").split("/")[-1]
    return Description(
        levels,
        found.axes,
        found.unit_nm,
        store_revision(request.path, arrays, ome),
        kind="labels" if _are_labels(where, ome, arrays[0]) else "image",
        name=name,
        metadata={
            "format": f"OME-Zarr {version}".strip(),
            **_channel_names(ome),
            **made_up(group.attrs.asdict().get(OURS)),
        },
    )


def _are_labels(where: str, ome: Mapping[str, Any], array: zarr.Array) -> bool:
    """By "image-label", or, which the format demands, by the name of the group that holds labels."""
    return "image-label" in ome or (
        where.replace("\\", "/").split("/")[-2:-1] == ["labels"] and array.dtype.kind in "iu"
    )


def _channel_names(ome: Mapping[str, Any]) -> dict[str, Any]:
    omero = ome.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return {}
    return {
        "channel_names": [str(c.get("label", i)) if isinstance(c, dict) else str(i) for i, c in enumerate(channels)]
    }


def _dataset(request: Request, group: zarr.Group, dataset: Any, where: str) -> zarr.Array:
    path = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(path, str):
        raise InputError(f"'{where}' has a dataset without a path ({dataset!r}); write the store again")
    inner = f"{group.path}/{path}".strip("/")
    node = open_node(request.path, inner)
    if not isinstance(node, zarr.Array):
        raise InputError(f"'{where}' names level '{path}', which is not an array; check that the store is complete")
    return node
