"""What names a volume in a file: the same in a recipe, a command and a dock; loads no reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.params import REQUIRED, check, from_mapping, param


@dataclass(frozen=True)
class VolumeSpec:
    """A path or URL, and how it is opened; see `open_volume`."""

    path: str = param(REQUIRED, "Any readable volume: a file, a folder or a URL.", role="input")
    array: str | None = param(None, "Array inside an HDF5 file or a zarr group.")
    voxel_nm: FVec3 | None = param(None, "Voxel size in nm; supplies or corrects the file's own.")
    origin_nm: FVec3 | None = param(
        None, "Position of the corner of voxel 0 in nm; supplies or corrects the file's own."
    )
    channel: int | str | None = param(None, "Channel number, or 'all', where there are several.")
    time: int | None = param(None, "Time point, where there are several.")
    axes: str | None = param(None, "Order of the stored axes, as in 'zyxc', where the file names none.")
    invert: bool = param(False, "Invert intensities on read; no file is changed.")

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, source: str | os.PathLike[str] | Mapping[str, Any] | VolumeSpec) -> VolumeSpec:
        """From a path, or from a mapping with ``path`` and any of the other fields.

        Raises
        ------
        InputError
            If it is neither, or has an unknown or unsuitable entry.
        """
        if isinstance(source, VolumeSpec):
            return source
        if isinstance(source, str | os.PathLike):
            return cls(os.fspath(source))
        if not isinstance(source, Mapping):
            raise InputError(f"got volume {source!r}; it is a path, or a mapping with 'path'")
        known = set(cls.__dataclass_fields__)
        if "path" not in source or set(source) - known:
            raise InputError(
                f"got volume {dict(source)}; it needs 'path' and may have {', '.join(sorted(known - {'path'}))}"
            )
        return from_mapping(cls, {key: value for key, value in source.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Plain types; what is not given is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None and value is not False}
