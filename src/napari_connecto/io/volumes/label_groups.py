"""Labels stored beside their image: ``image.zarr/labels/<name>``, listed where readers look for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.errors import GroupNotFoundError
from zarr.storage import LocalStore

from napari_connecto.core.errors import InputError
from napari_connecto.io.disk import storing
from napari_connecto.io.volumes.ngff import Image


def check_parent(target: Path, image: Image) -> bool:
    """Whether ``target`` lies in the labels of an OME-Zarr image.

    Raises
    ------
    InputError
        If it does, but the image is of another version, or what is to be written is no labels.
    """
    if target.parent.name != "labels":
        return False
    try:
        parent = zarr.open_group(LocalStore(target.parent.parent, read_only=True), mode="r")
    except (GroupNotFoundError, FileNotFoundError):
        return False
    if image.kind != "labels":
        raise InputError(f"got an image for '{target}'; that place is for labels: pass kind='labels'")
    if parent.metadata.zarr_format != image.zarr_format:
        version = "0.4" if parent.metadata.zarr_format == 2 else "0.5"
        raise InputError(f"got version='{image.version}' for labels of an image of version {version}; pass that")
    return True


def register(target: Path, image: Image) -> None:
    """List ``target`` in the labels group around it."""
    with storing(target):
        group = zarr.open_group(LocalStore(target.parent), mode="a", zarr_format=image.zarr_format)
        attributes: dict[str, Any] = group.attrs.asdict()
        known = attributes.get("ome", attributes).get("labels", [])
        listed = {"labels": [*(name for name in known if name != target.name), target.name]}
        group.attrs.update(listed if image.version == "0.4" else {"ome": {"version": "0.5", **listed}})
