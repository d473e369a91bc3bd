"""Write something new beside its place, and move it there when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.io.disk import lock, storing

NEW, OLD = "new.zarr", "old.zarr"
IMAGES = (".tif", ".tiff", ".btf", ".h5", ".hdf5", ".hdf", ".png", ".jpg", ".jpeg", ".bmp", ".mrc", ".nii", ".nrrd")
OTHERS = (".zip", ".tar", ".gz", ".n5", ".npy", ".npz", ".precomputed", ".csv", ".parquet", ".xml", ".json", ".yaml")
"""Ends of names that promise something else than a zarr store."""


def check_zarr_name(path: str) -> None:
    """Raise `InputError` for a name that promises another format; other dots are part of the name."""
    suffix = os.path.splitext(path.rstrip("/"))[1].lower()
    if suffix in IMAGES + OTHERS:
        raise InputError(
            f"got '{path}', and a zarr store is not a {suffix}; allowed: a name that ends in .zarr, or no suffix"
        )


@contextmanager
def whole_folder(target: Path, overwrite: bool, kind: str, is_one: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder to write into; it gets the name ``target`` when the block ends well, and goes when it does not.

    What it replaces is put aside first and brought back where the second move fails, or, after a process was killed
    between the two, when the same place is written again.

    Parameters
    ----------
    target
        Its name in the end.
    overwrite
        Replace what is there: an empty folder, or what ``is_one``.
    kind, is_one
        What is written ("zarr store"), and whether a folder is one.

    Raises
    ------
    StoreError
        If something is at ``target`` that is not to be replaced, another process writes there, or it cannot be made.
    """
    partial = _partial(target)
    with storing(target):
        if not (partial / OLD).exists():
            _refuse_existing(target, overwrite, kind, is_one)
    with ExitStack() as stack:
        with storing(target):
            partial.mkdir(parents=True, exist_ok=True)
        held = lock(partial / ".lock", target)
        stack.callback(_tidy, partial, target)
        stack.callback(held.release)
        with storing(target):
            _bring_back(partial, target)
            _refuse_existing(target, overwrite, kind, is_one)
            for leftover in partial.glob("*.zarr"):
                shutil.rmtree(leftover)
        yield partial / NEW
        with storing(target):
            _refuse_existing(target, overwrite, kind, is_one)  # something else may have come meanwhile
            if target.exists():
                target.rename(partial / OLD)
            (partial / NEW).rename(target)


def there(target: Path) -> Path:
    """Where to read what `whole_folder` wrote: ``target``, or what a killed process had put aside to replace it."""
    aside = _partial(target) / OLD
    return aside if not target.exists() and aside.exists() else target


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _bring_back(partial: Path, target: Path) -> None:
    if (partial / OLD).exists() and not target.exists():
        (partial / OLD).rename(target)


def _tidy(partial: Path, target: Path) -> None:
    with suppress(OSError):  # what cannot be brought back now stays where it is
        _bring_back(partial, target)
    if target.exists() or not (partial / OLD).exists():
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_existing(target: Path, overwrite: bool, kind: str, is_one: Callable[[Path], bool]) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise StoreError(f"'{target}' exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    if not is_one(target) and not (target.is_dir() and not any(target.iterdir())):
        raise StoreError(f"'{target}' is not a {kind} and will not be overwritten; choose another name")
