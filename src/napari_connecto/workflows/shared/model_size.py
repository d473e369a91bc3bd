"""How large a model is: what its folder takes on disk, and its parameters, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_connecto.core.amounts import bytes_text
from napari_connecto.models.nets.parameters import parameters_in

WEIGHTS, WITHIN = "weights.safetensors", ("", "model", "volumetric")
"""A network's file, and the places in a model's folder of those that compute its answer."""


@dataclass(frozen=True)
class ModelSize:
    """Size of a model.

    Parameters
    ----------
    disk_bytes
        All files in its folder, including samples of its training data.
    parameters
        Of all networks that compute its answer; None if a format does not say.
    """

    disk_bytes: int
    parameters: int | None

    @classmethod
    def of(cls, folder: Path) -> ModelSize:
        """Of the model in a folder; raises `OSError` if it cannot be read."""
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        files = [file for inner in WITHIN if (file := folder / inner / WEIGHTS).is_file()]
        counts = [parameters_in(file) for file in files]
        known = [count for count in counts if count is not None]
        return cls(disk, sum(known) if known and len(known) == len(counts) else None)

    def text(self) -> str:
        """In words: "2.1 M parameters, 4.9 MB"."""
        disk = bytes_text(self.disk_bytes)
        return disk if self.parameters is None else f"{_count_text(self.parameters)} parameters, {disk}"


def _count_text(n: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n)
