"""Shipped data: small synthetic volumes with ground truth, and models trained on them.

They are made by ``sample_data/make_samples.py`` and ``sample_data/train_cascades.py`` of the repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Volume
from napari_connecto.core.whole import new_folder
from napari_connecto.io.disk import storing

SAMPLES = {
    "cells": ("cells",),
    "neuropil": ("mitochondria", "neurons"),
}
"""Samples by name, and the names of their truths; the first is what its cascade finds."""
PAIRS = {
    "xray": ("em", "neurons"),
    "xray-test": ("em", "neurons"),
}
"""Simulated X-ray volumes, the synthetic EM they are made of, and its neurons; the second is of other tissue."""
TRANSLATOR = "translator.json"
"""What makes a folder a translator."""


def shipped_folder() -> Path:
    """Where the samples lie: inside the installed package, or in the checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_shipped", here.parents[1] / "sample_data" / "shipped"):
        if folder.is_dir():
            return folder
    raise InputError("the sample data are not installed; install napari-connecto from a wheel or a full checkout")


def open_sample(name: str, truth: str | None = None) -> Volume:
    """A shipped volume, or a truth that belongs to it.

    Parameters
    ----------
    name
        "cells", "neuropil", "xray" or "xray-test".
    truth
        One of the sample's truths ("cells"; "mitochondria", "neurons"; "em", "neurons").

    Raises
    ------
    InputError
        For a name that does not ship.
    """
    from napari_connecto.io.volumes.read import open_volume  # zarr and ome-zarr-models: keep opening the docks fast

    known = SAMPLES | PAIRS
    if name not in known or (truth is not None and truth not in known[name]):
        there = ", ".join(f"{n} ({', '.join(truths)})" for n, truths in known.items())
        raise InputError(f"got sample '{name}'{f' with truth {truth!r}' if truth else ''}; there are: {there}")
    file = f"{name}.ome.zarr" if truth is None else f"{name}_{truth}.ome.zarr"
    return open_volume(shipped_folder() / file)


def copy_samples(out: Path) -> list[Path]:
    """Copy the volumes that ship into a folder; those that are there already are left alone.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    volumes = sorted(shipped_folder().glob("*.ome.zarr"))
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        for source in volumes:
            if (out / source.name).exists():
                continue
            with new_folder(out / source.name) as partial:
                shutil.copytree(source, partial, dirs_exist_ok=True)
    return [out / source.name for source in volumes]


def list_cascades() -> dict[str, Path]:
    """Shipped cascades: folder by name."""
    return {path.parent.name: path.parent for path in sorted((shipped_folder() / "cascades").glob("*/cascade.json"))}


def list_models() -> dict[str, Path]:
    """Shipped domains (boundary models with what is known of their data): folder by name."""
    return {path.parent.name: path.parent for path in sorted((shipped_folder() / "domains").glob("*/domain.json"))}


def list_translators() -> dict[str, Path]:
    """Shipped translators of X-ray into EM: folder by name."""
    found = sorted((shipped_folder() / "translators").glob(f"*/{TRANSLATOR}"))
    return {path.parent.name: path.parent for path in found}


def cascade_folder(name_or_path: str | Path) -> Path:
    """The folder of a cascade, given as a path or by the name of a shipped one."""
    path = Path(name_or_path)
    if path.is_dir():
        return path
    shipped = list_cascades()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    raise InputError(
        f"got cascade '{name_or_path}'; give a folder made by train-cascade, or one of: {', '.join(shipped)}"
    )
