"""OME-Zarr 0.1 to 0.5 as others write it, and plain zarr arrays: from metadata to a `Description`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from napari_connecto.core.documents import check_plain
from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import FARTHEST_NM, Volume
from napari_connecto.io.levels import Description, Request, Stored, ratio_scales, unit_nm, volume_of
from napari_connecto.io.ngff import OURS, made_up
from napari_connecto.io.views import guess_axes
from napari_connecto.io.zarr_arrays import ZarrSource, open_node, store_revision


def open_zarr(request: Request) -> Volume:
    """The image, labels or plain array at ``request.path`` (and below it at ``request.array``)."""
    node = open_node(request.path, request.array or "")
    if isinstance(node, zarr.Array):
        return volume_of(request, _plain(request, node))
    return volume_of(request, _image(request, *_find_image(request, node)))


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
        child = _child(group, "0")
        if isinstance(child, zarr.Group):
            return _find_image(request, child, "0")
        raise InputError(f"'{where}' has a bioformats2raw layout but no series '0'; check that it is complete")
    names = ome.get("labels")
    if isinstance(names, list) and len(names) == 1 and not below:
        child = _child(group, str(names[0]))
        if isinstance(child, zarr.Group):
            return _find_image(request, child, str(names[0]))
    raise InputError(f"no multiscale metadata in '{where}'; {_choices(ome, group)}")


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


def _plain(request: Request, array: zarr.Array) -> Description:
    label = f"'{request.path}'" + (f" array '{request.array}'" if request.array else "")
    source = ZarrSource(array, label, request.missing)
    stated = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    names = [str(name).lower() for name in stated] if isinstance(stated, list | tuple) else []
    known = len(names) == array.ndim and len(set(names)) == array.ndim and set(names) <= set("tczyx")
    axes = names if known and {"y", "x"} <= set(names) else list(guess_axes(array.shape))
    revision = store_revision(request.path, [array], array.attrs.asdict())
    metadata = {"format": f"zarr {array.metadata.zarr_format}"}
    return Description([Stored(source, [1.0] * array.ndim)], axes, [None] * array.ndim, revision, metadata=metadata)


def _image(request: Request, group: zarr.Group, ome: Mapping[str, Any]) -> Description:
    where = f"{request.path.rstrip('/')}/{group.path}".rstrip("/")
    multiscale = ome["multiscales"][0] if isinstance(ome["multiscales"], list) and ome["multiscales"] else None
    datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
    if not isinstance(multiscale, dict) or not isinstance(datasets, list) or not datasets:
        raise InputError(f"'{where}' names no datasets in its multiscales metadata; write the store again")
    arrays = [_dataset(request, group, dataset, where) for dataset in datasets]
    axes, units = _axes(multiscale.get("axes"), arrays[0].ndim, where)
    for array in arrays:
        if array.ndim != len(axes):
            raise InputError(f"'{where}' states axes {axes} but array '{array.path}' has shape {array.shape}")
    scales, corners = _geometry(multiscale, datasets, arrays, where)
    levels = [
        Stored(ZarrSource(array, f"level {k} of '{where}'", request.missing), scale, corner)
        for k, (array, scale, corner) in enumerate(zip(arrays, scales, corners, strict=True))
    ]
    version = str(ome.get("version", multiscale.get("version", "")))
    name = str(multiscale.get("name") or "").rstrip("/").split("/")[-1]
    return Description(
        levels,
        axes,
        units,
        store_revision(request.path, arrays, ome),
        kind="labels" if "image-label" in ome else "image",
        name=name,
        metadata={
            "format": f"OME-Zarr {version}".strip(),
            **_channel_names(ome),
            **made_up(group.attrs.asdict().get(OURS)),
        },
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


def _axes(stated: Any, ndim: int, where: str) -> tuple[list[str], list[float | None]]:
    """Names of "t", "c", "z", "y", "x", and nm per unit, of each stored axis."""
    if stated is None:  # 0.1 and 0.2
        stated = list("tczyx")[-ndim:] if ndim != 5 else list("tczyx")
    entries = [{"name": a} if isinstance(a, str) else a for a in stated] if isinstance(stated, list) else []
    if len(entries) != ndim or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"'{where}' states axes {stated!r} for an array of {ndim} axes; write its metadata again")
    names = [str(entry.get("name", "")).lower() for entry in entries]
    types = [entry.get("type") for entry in entries]
    space = [i for i, kind in enumerate(types) if kind == "space"]
    if len(space) in (2, 3) and not {names[i] for i in space} & set("zyx"):
        for i, name in zip(space, "zyx"[-len(space) :], strict=True):
            names[i] = name
    for i, kind in enumerate(types):
        if kind in ("channel", "time"):
            names[i] = str(kind)[0]
    return names, [unit_nm(entry.get("unit")) for entry in entries]


def _geometry(
    multiscale: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]], arrays: Sequence[zarr.Array], where: str
) -> tuple[list[list[float]], list[list[float]]]:
    """Scale, and world position of the corner of voxel 0, of each level along the stored axes.

    OME-Zarr places the *centre* of voxel 0. Where no level states a translation, all share level 0's corner.
    """
    shared = _list(multiscale.get("coordinateTransformations"), where)
    ratios = ratio_scales([array.shape for array in arrays])
    scales, centres, stated = [], [], False
    for dataset, ratio in zip(datasets, ratios, strict=True):
        own = _list(dataset.get("coordinateTransformations"), where)
        scale, centre = list(ratio) if not own else [1.0] * len(ratio), [0.0] * len(ratio)
        for transform in [*own, *shared]:
            kind = transform.get("type") if isinstance(transform, dict) else None
            if kind in ("scale", "translation"):
                values = _numbers(transform.get(kind), len(ratio), where)
                if kind == "scale":
                    scale = [a * b for a, b in zip(scale, values, strict=True)]
                    centre = [a * b for a, b in zip(centre, values, strict=True)]
                else:
                    centre, stated = [a + b for a, b in zip(centre, values, strict=True)], True
        scales.append(scale)
        centres.append(centre)
    halves = scales if stated else [scales[0]] * len(scales)
    corners = [
        [c - s / 2 for c, s in zip(centre, half, strict=True)] for centre, half in zip(centres, halves, strict=True)
    ]
    return scales, corners


def _list(value: Any, where: str) -> list[Any]:
    if not (value is None or isinstance(value, list)):
        raise InputError(
            f"'{where}' states coordinateTransformations {value!r}; it is a list: write its metadata again"
        )
    return value or []


def _numbers(values: Any, n: int, where: str) -> list[float]:
    good = isinstance(values, list) and len(values) == n
    if not good or not all(isinstance(v, int | float) and abs(v) <= FARTHEST_NM for v in values):
        raise InputError(f"'{where}' states {values!r} where {n} numbers are needed; write its metadata again")
    return [float(v) for v in values]
