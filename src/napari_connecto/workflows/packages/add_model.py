"""Add a boundary model of bioimage.io to the user's library, so that it can be ranked and chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_connecto.core.errors import Cancelled, InputError, StoreError
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.phases import Phases
from napari_connecto.core.settings import settings
from napari_connecto.io.packages.collection import Listed, collect_job, look_up
from napari_connecto.workflows.packages.import_model import boundary_output, import_model
from napari_connecto.workflows.shared.library import library_models, user_library

PREFIX = "bioimage.io:"
IMPORTING = 20e6
"""Bytes whose download takes about as long as the import, for progress."""


def add_model(
    source: str,
    library: str | Path | None = None,
    *,
    voxel_nm: Sequence[float] | None = None,
    boundary: str = "",
    confirm: Callable[[Listed], bool] | None = None,
) -> Path:
    """Download a model of bioimage.io, check it and put it into a library. Needs the extra ``bioimageio``.

    Parameters
    ----------
    source
        "bioimage.io:NAME", for example "bioimage.io:affable-shark".
    library
        Folder that gets it, in a folder NAME; default: the user's library, which `rank_domains` reads by default.
    voxel_nm
        Voxel size the model was trained at, nm, (z, y, x); needed where the model states none.
    boundary
        Name of the output that is the probability of a boundary; needed where it does not follow from the names.
    confirm
        Called with size, licence and citations before the download; False cancels. Default: no question.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    InputError
        If there is no such model, the collection cannot be reached, or voxel size or output have to be given.
    ModelError
        If the model cannot be imported, is larger than 2 GiB, or a file has another size or checksum than stated.
    StoreError
        If the library has a model of this name already.
    Cancelled
        If ``confirm`` says no.
    """
    listed = offered(source, library, voxel_nm=voxel_nm, boundary=boundary)
    if confirm is not None and not confirm(listed):
        raise Cancelled(f"'{source}' was not downloaded")
    return run(collected_job(listed, library, voxel_nm=voxel_nm, boundary=boundary))


def offered(
    source: str, library: str | Path | None = None, *, voxel_nm: Sequence[float] | None = None, boundary: str = ""
) -> Listed:
    """What there is to download; arguments and errors as in `add_model`. Some kilobytes are read."""
    if not source.startswith(PREFIX):
        raise InputError(f"got '{source:.100}'; give {PREFIX}NAME, such as {PREFIX}affable-shark")
    ident = source.removeprefix(PREFIX)
    known = library_models(library).get(ident)
    if known is not None:
        raise StoreError(f"the library has a model '{ident}' already, in '{known}'; delete that folder to add it again")
    listed = look_up(ident)
    if not boundary_output(listed.outputs, boundary):
        raise InputError(
            f"'{ident}' gives {', '.join(listed.outputs)}; say which is the probability of a boundary: --boundary "
            f"{listed.outputs[0]} (boundary=)"
        )
    if voxel_nm is None and not listed.voxel_stated:
        raise InputError(
            f"'{ident}' states no voxel size; give the one it was trained at, in nm: --voxel-nm Z Y X (voxel_nm=)"
        )
    return listed


def collected_job(
    listed: Listed,
    library: str | Path | None = None,
    *,
    voxel_nm: Sequence[float] | None = None,
    boundary: str = "",
) -> Job[Path]:
    """Download and import what `offered` found; an interrupted download is continued by the next call."""
    package = settings().cache / "packages" / f"{listed.ident}-{listed.version or 'latest'}"
    out = (Path(library) if library is not None else user_library()) / listed.ident
    phases = Phases({"downloading": float(listed.size), "importing": IMPORTING})
    yield from phases.run("downloading", collect_job(listed, package))
    cited = "; ".join(listed.citations)
    told = f"bioimage.io model '{listed.ident}' {listed.version}".rstrip() + (f". Cite: {cited}" if cited else "")
    chosen = boundary_output(listed.outputs, boundary)
    yield from phases.call(
        "importing", lambda: import_model(package, out, voxel_nm=voxel_nm, boundary=chosen, source=told)
    )
    return out
