"""A package at an address: a zip, fetched whole into the user's cache once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import fsspec
from aiohttp import ClientError

from napari_connecto.core.errors import ModelError
from napari_connecto.core.settings import settings
from napari_connecto.core.whole import whole_file
from napari_connecto.io.packages.package_files import MAX_BYTES

SCHEMES = ("https", "http")
PART = 2**20


def fetched(address: str) -> Path:
    """The file of a package at a web address; downloaded if it is not in the cache.

    Parameters
    ----------
    address
        Of a zip, ``https://`` or ``http://``.

    Raises
    ------
    ModelError
        If the address is of another kind, cannot be reached, or gives no zip or more than 2 GiB.
    """
    scheme = address.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise ModelError(f"got the address '{address}'; packages are downloaded from https:// or http:// only")
    path = settings().cache / "packages" / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.zip"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, fsspec.open(address, "rb", block_size=0) as source:
            _copy(source, partial, address)
    except (OSError, ValueError, ClientError) as error:  # the last: an answer that breaks off
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"cannot fetch '{address}' ({error!s:.200}); download the package and give its path"
        ) from error
    return path


def _copy(source: Any, path: Path, address: str) -> None:
    size = 0
    with path.open("wb") as out:
        while part := source.read(PART):
            if not size and not part.startswith(b"PK"):
                raise ModelError(
                    f"'{address}' is not a zip file; give the URL of a package's zip, or download it and give its path"
                )
            size += len(part)
            if size > MAX_BYTES:
                raise ModelError(f"'{address}' holds more than {MAX_BYTES / 2**30:.0f} GiB; it is not imported")
            out.write(part)
    if not size:
        raise ModelError(f"'{address}' is empty; give the URL of a package's zip")
