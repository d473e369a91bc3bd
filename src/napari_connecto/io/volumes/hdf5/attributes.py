"""Attributes of an HDF5 dataset and of its group, and the labels and scales of its dimensions.

h5py reads labels and scales through HDF5's own functions, which end the process where these attributes have another
type than HDF5 itself writes; here their types are looked at first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import h5py
import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.attribute_names import AXES, CENTRES, CORNERS, SIZES, UNITS
from napari_connecto.io.volumes.levels import Request

_KEYS = (*AXES, "axistags", *SIZES, *CORNERS, *CENTRES, *UNITS, "pixelResolution", "downsamplingFactors")


def attributes_of(dataset: h5py.Dataset, request: Request, where: str) -> Mapping[str, Any]:
    """What a dataset states of axes and geometry; where it states nothing, what its group states of its only array.

    Raises
    ------
    InputError
        If the group states something and holds more, and the caller gave no voxel size.
    """
    own = {key: dataset.attrs[key] for key in _KEYS if key in dataset.attrs}
    group = dataset.parent
    stated = {key: group.attrs[key] for key in _KEYS if key in group.attrs}
    if own or not stated:
        return own
    if sum(1 for _ in islice(group, 2)) == 1:
        return stated
    if request.voxel_nm is None:
        raise InputError(
            f"the group of {where} states {', '.join(stated)}, but not of which of its arrays; "
            "give the voxel size in nm, (z, y, x): voxel_nm= (--voxel-nm Z Y X)"
        )
    return own


def dimension_names(dataset: h5py.Dataset) -> list[object]:
    """The label of each dimension, else the name of its scale, else ""; or labels of another number."""
    labels = words(dataset.attrs["DIMENSION_LABELS"], dataset.ndim) if "DIMENSION_LABELS" in dataset.attrs else []
    names = [name for name, _ in dimension_scales(dataset)]
    if labels and len(labels) != len(names):
        return labels
    return [label or name for label, name in zip(labels or names, names, strict=True)]


def dimension_scales(dataset: h5py.Dataset) -> list[tuple[str, h5py.Dataset | None]]:
    """Name of the first scale of each dimension, and the scale; "" and None where it has none."""
    none: list[tuple[str, h5py.Dataset | None]] = [("", None)] * dataset.ndim
    if "DIMENSION_LIST" not in dataset.attrs:
        return none
    stored = dataset.attrs.get_id("DIMENSION_LIST")
    element = h5py.check_vlen_dtype(stored.dtype)
    if stored.shape != (dataset.ndim,) or element is None or h5py.check_ref_dtype(element) is not h5py.Reference:
        return none
    found = [next(iter(dim.items()), ("", None)) for dim in dataset.dims]
    return [(_scale_name(name, scale), scale) for name, scale in found]


def _scale_name(name: str, scale: h5py.Dataset | None) -> str:
    """What a scale is called; netCDF calls one without coordinates by a sentence, its dataset by the name."""
    unnamed = scale is not None and (not name or name.startswith("This is a netCDF dimension"))
    return (str(scale.name) if scale is not None and unnamed else name).split("/")[-1]


def words(value: Any, ndim: int) -> list[object]:
    """Names of axes; one word of as many letters as axes is a letter for each."""
    found = texts(value)
    return list(str(found[0])) if len(found) == 1 and len(str(found[0])) == ndim else found


def texts(value: Any) -> list[object]:
    """One or several values, text decoded."""
    value = from_json(value)
    items = list(value) if isinstance(value, np.ndarray | list | tuple) else [value]
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]


def from_json(value: Any) -> Any:
    """Text that is JSON as what it says; anything else as it is."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
