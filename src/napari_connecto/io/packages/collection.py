"""The collection of bioimage.io: what a model is, before anything large is downloaded, and its files.

The collection keeps a folder of files per model, whose address ``bioimageio.spec`` knows as
``collection_http_pattern``; a folder's address ending in "/" gives a JSON list of its files with their sizes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing
from napari_connecto.io.packages.bioimage import described, weights_of
from napari_connecto.io.packages.bioimage_axes import letters_of, output_names, space_of
from napari_connecto.io.packages.package_files import MAX_BYTES, MAX_YAML, check_name
from napari_connecto.io.packages.plain_data import safe_yaml
from napari_connecto.io.packages.resumable import MissingError, download_job, read_small

VARIABLE = "BIOIMAGEIO_COLLECTION_HTTP_PATTERN"
"""Where ``bioimageio.spec`` reads another address of the collection from; so do we."""
PATTERN = "https://hypha.aicell.io/bioimage-io/artifacts/{bioimageio_id}/files/rdf.yaml"
DOCUMENT = "rdf.yaml"
MAX_LIST = 2**21
IDENT = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model: name in its package, bytes, and SHA-256 ("" if the description states none)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """A model of the collection.

    Parameters
    ----------
    ident
        "affable-shark".
    base
        Address of its files, ending in "/".
    description
        Content of its ``rdf.yaml``.
    citations
        One per work to be cited, with its DOI if there is one.
    outputs
        Name of each channel that it gives.
    voxel_stated
        Whether it states its voxel size.
    files
        Those that an import needs: one form of its weights and the test tensors.
    """

    ident: str
    name: str
    version: str
    about: str
    licence: str
    citations: tuple[str, ...]
    outputs: tuple[str, ...]
    voxel_stated: bool
    files: tuple[RemoteFile, ...]
    base: str
    description: bytes

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)

    def lines(self) -> list[str]:
        """What to know before a download."""
        version = f", version {self.version}" if self.version else ""
        unchecked = sum(not file.sha256 for file in self.files)
        told = [
            f"{self.name} (bioimage.io: {self.ident}{version})",
            *([f"  {self.about}"] if self.about else []),
            f"  download: {bytes_text(self.size)}" + (f"; {unchecked} files state no SHA-256" if unchecked else ""),
            f"  licence: {self.licence or 'not stated'}",
            f"  outputs: {', '.join(self.outputs)}",
            *(f"  cite: {citation}" for citation in self.citations),
        ]
        return ["".join(c for c in line if c.isprintable()) for line in told]  # a terminal obeys the others


def look_up(ident: str) -> Listed:
    """Ask the collection about a model; a few kilobytes are read.

    Parameters
    ----------
    ident
        Its name in the collection, "affable-shark".

    Raises
    ------
    InputError
        If there is none of this name, the collection cannot be reached, or the extra ``bioimageio`` is not installed.
    ModelError
        If it is no model, not valid, of a kind that cannot be imported, or larger than 2 GiB.
    """
    if not IDENT.fullmatch(ident):
        raise InputError(f"got '{ident:.100}'; give the name of a model on bioimage.io, such as affable-shark")
    address = os.environ.get(VARIABLE, PATTERN).replace("{bioimageio_id}", ident)
    base = address.rpartition("/")[0] + "/"
    try:
        data = read_small(address, MAX_YAML)
    except MissingError as error:
        raise InputError(f"bioimage.io has no model '{ident}'; see https://bioimage.io for the names") from error
    where = f"'{DOCUMENT}' of '{ident}'"
    raw = safe_yaml(data, where, advice="choose another model")
    model = described(raw, where)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"'{ident}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; supported are models of one "
            "image in, one out"
        )
    letters_of(model.inputs[0].axes)
    space = space_of(model.inputs[0], model.outputs[0])
    form, _ = weights_of(model.weights, where)
    wanted = dict(_wanted(raw, form))
    sizes = _sizes(base, wanted)
    files = tuple(RemoteFile(name, sizes[name], sha256) for name, sha256 in wanted.items())
    listed = Listed(
        ident=ident,
        name=str(model.name),
        version=str(model.version or ""),
        about=" ".join(str(model.description or "").split())[:300],
        licence=str(model.license or ""),
        citations=tuple(_citation(entry) for entry in model.cite),
        outputs=output_names(model.outputs[0]),
        voxel_stated=all(axis.nm is not None for axis in space.values()),
        files=files,
        base=base,
        description=data,
    )
    if listed.size > MAX_BYTES:
        raise ModelError(f"'{ident}' takes {bytes_text(listed.size)}; allowed are {bytes_text(MAX_BYTES)}")
    return listed


def collect_job(listed: Listed, folder: Path) -> Job[Path]:
    """Download a model's files into a folder, which is then its package; an interrupted download is continued.

    Raises
    ------
    InputError, ModelError, StoreError
        As `napari_connecto.io.packages.resumable.download_job`.
    """
    phases = Phases({f"downloading {file.name}": max(1, file.size) for file in listed.files})
    for file in listed.files:
        job = download_job(
            listed.base + quote(file.name), folder / file.name, size=file.size, sha256=file.sha256, what=file.name
        )
        yield from phases.run(f"downloading {file.name}", job)
    with storing(folder), whole_file(folder / DOCUMENT) as partial:
        partial.write_bytes(listed.description)
    return folder


def _wanted(raw: Mapping[str, Any], form: str) -> Iterator[tuple[str, str]]:
    """Files that an import needs, by what a valid description says: name and SHA-256 ("" if not stated)."""
    entries = [raw["weights"][form]]
    if str(raw["format_version"]).startswith("0.4"):
        entries += [*raw["test_inputs"], *raw["test_outputs"]]
    else:
        entries += [tensor.get("test_tensor") for tensor in (*raw["inputs"], *raw["outputs"])]
    for entry in entries:
        told = entry if isinstance(entry, Mapping) else {"source": entry}
        if told.get("source") is None:
            raise ModelError("the model has no test tensors, so an import cannot be checked; choose another model")
        name = str(told["source"])
        check_name(name, "the description")
        yield str(PurePosixPath(name)), str(told.get("sha256") or "").lower()


def _sizes(base: str, names: Mapping[str, str]) -> dict[str, int]:
    """Bytes of the files, by the collection's lists of their folders.

    Raises
    ------
    ModelError
        If one is not listed.
    """
    found: dict[str, int] = {}
    for parent in {PurePosixPath(name).parent for name in names}:
        inner = "" if str(parent) == "." else f"{parent}/"
        try:
            listed = json.loads(read_small(base + quote(inner), MAX_LIST))
            found |= {inner + str(entry["name"]): int(entry["size"]) for entry in listed if entry["type"] == "file"}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ModelError(f"'{base}{inner}' does not list files as the collection does; try again later") from error
    missing = sorted(name for name in names if found.get(name, -1) < 0)
    if missing:
        raise ModelError(f"the collection has no file '{missing[0]}' of this model; tell its authors")
    return found


def _citation(entry: Any) -> str:
    text = " ".join(str(entry.text).split())
    link = f"https://doi.org/{entry.doi}" if entry.doi else str(entry.url or "")
    return f"{text} {link}".strip()
