"""Where something new is written: beside its place, and moved there when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from napari_connecto.core.errors import StoreError
from napari_connecto.io.disk import lock, storing


@contextmanager
def whole_folder(target: Path, overwrite: bool, kind: str, marks: Sequence[str]) -> Iterator[Path]:
    """A folder to write into; it gets the name ``target`` when the block ends well, and goes when it does not.

    Parameters
    ----------
    target
        Its name in the end.
    overwrite
        Replace what is there: an empty folder, or one that has a file of ``marks``.
    kind, marks
        What is written ("zarr store"), and the files that tell one.

    Raises
    ------
    StoreError
        If something is at ``target`` that is not to be replaced, another process writes there, or it cannot be made.
    """
    with storing(target):
        _refuse_existing(target, overwrite, kind, marks)
    partial = target.with_name(f".{target.name}.partial")
    with ExitStack() as stack:
        with storing(target):
            partial.mkdir(parents=True, exist_ok=True)
        held = lock(partial / ".lock", target)
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        stack.callback(held.release)
        with storing(target):
            for leftover in partial.glob("*.zarr"):
                shutil.rmtree(leftover)
        yield partial / "new.zarr"
        with storing(target):
            if target.exists():
                target.rename(partial / "old.zarr")
            (partial / "new.zarr").rename(target)


def _refuse_existing(target: Path, overwrite: bool, kind: str, marks: Sequence[str]) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise StoreError(f"'{target}' exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    ours = any((target / name).is_file() for name in marks)
    if not ours and not (target.is_dir() and not any(target.iterdir())):
        raise StoreError(f"'{target}' is no {kind} and will not be overwritten; choose another name")
