"""All targets, by the word that chooses one on the command line; a module is loaded when one of its own is made."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.fuzzing.target import Target

TARGETS = {
    "ome-zarr-0.4": "volumes.ome_zarr_04",
    "ome-zarr-0.5": "volumes.ome_zarr_05",
    "ome-zarr-0.6": "volumes.ome_zarr_06",
    "zarr-attributes": "volumes.zarr_attributes",
    "zarr-arrays": "volumes.zarr_arrays",
    "zarr-chunks": "volumes.zarr_chunks",
    "tiff": "volumes.tiffs",
    "hdf5": "volumes.hdf5s",
    "pictures": "volumes.pictures",
    "cards": "models.cards",
    "safetensors": "models.weights",
    "adapters": "models.adapters",
    "descriptions": "models.descriptions",
    "archives": "models.archives",
    "folders": "models.folders",
    "recipes": "runs.recipes",
    "sessions": "runs.sessions",
    "labels": "runs.labels",
    "logs": "files.logs",
    "tables": "files.tables",
    "points": "files.points",
    "arguments": "shell.arguments",
}


def make_target(name: str, folder: Path) -> Target:
    """A target, with its files in a folder of its own."""
    module, _, function = TARGETS[name].partition(".")
    made: Target = getattr(import_module(f"tests.fuzzing.{module}"), function)(folder)
    return made
