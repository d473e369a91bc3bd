"""Files from a web server: bounded, checked, and continued where an earlier download broke off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError
from time import monotonic
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from napari_connecto import __version__
from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.jobs import Job, Progress

TIMEOUT_S = 20.0
PIECE, EVERY_S = 2**18, 0.25
"""A report comes after so many bytes, or so many seconds."""
UNFINISHED, VERSION = ".part", ".version"
"""Suffixes of a file that is not whole yet, and of what its server said of which version of it that is."""
SCHEMES = ("https://", "http://")


class MissingError(ModelError):
    """The server has no such thing."""


def read_small(address: str, limit: int) -> bytes:
    """What a server answers, of at most ``limit`` bytes.

    Raises
    ------
    MissingError
        If there is nothing at the address.
    ModelError
        If the answer is longer, or the server refuses.
    InputError
        If the address is not of the web, or the server cannot be reached.
    """
    with _opened(address) as answer:
        found = answer.read(limit + 1)
    if len(found) > limit:
        raise ModelError(f"'{address}' holds more than the {limit} bytes that are allowed here; check the address")
    return found


def remote_size(address: str) -> int:
    """Bytes of the file at an address; 0 if the server does not say, or its certificate is not valid.

    Raises
    ------
    InputError
        If the address is not of the web, or the server cannot be reached.
    """
    try:
        with _opened(address, method="HEAD") as answer:
            return int(answer.headers.get("Content-Length") or 0)
    except ModelError:
        return 0
    except InputError as error:
        if isinstance(getattr(error.__cause__, "reason", None), SSLCertVerificationError):
            return 0
        raise


def download_job(address: str, path: Path, *, size: int, sha256: str = "", what: str = "") -> Job[Path]:
    """Download a file, with reports; one that is there with the right size and checksum is kept.

    Parameters
    ----------
    address
        ``https://`` or ``http://``.
    path
        Where it is written. Until it is whole, its beginning lies beside it and is continued by the next call.
    size
        Bytes that it must have.
    sha256
        Checksum that it must have, hexadecimal; "" for none: then a download is continued only if the server says that
        the file has not changed since (If-Range, RFC 9110).
    what
        Name for progress.

    Raises
    ------
    ModelError
        If the file has another size or checksum; it is deleted then.
    InputError
        If the server cannot be reached, or the connection breaks.
    StoreError
        If it cannot be written.
    """
    if path.is_file() and path.stat().st_size == size and (not sha256 or _digest(path) == sha256):
        return path
    part = path.with_name(path.name + UNFINISHED)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        there = part.stat().st_size if part.is_file() else 0
        if there > size:
            there = 0
        if there < size:
            version = "" if sha256 else _version(part)
            if not (sha256 or version):
                there = 0
            with _opened(address, there, version=version) as answer:
                if not _continues(answer, there):
                    there = 0
                    _note_version(part, answer)
                with part.open("ab" if there else "wb") as out:
                    told, at = there, monotonic()
                    while piece := answer.read1(PIECE):  # what has come: a slow server delays neither report nor cancel
                        there += len(piece)
                        if there > size:
                            break
                        out.write(piece)
                        if there - told >= PIECE or there == size or monotonic() - at > EVERY_S:
                            yield Progress(there, size, f"downloading {what or path.name}")
                            told, at = there, monotonic()
        if there < size:
            raise InputError(
                f"the download of '{address}' broke off after {there} of {size} bytes; run the command again to resume"
            )
        if there > size or (sha256 and _digest(part) != sha256):
            part.unlink()
            _with_version(part).unlink(missing_ok=True)
            wrong = f"has more than the {size} bytes stated" if there > size else "has another SHA-256 than stated"
            raise ModelError(f"'{address}' {wrong}; it was deleted: run the command again, or tell its authors")
        part.replace(path)
        _with_version(part).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror or error}") from error
    return path


@contextmanager
def _opened(address: str, start: int = 0, method: str = "GET", version: str = "") -> Iterator[HTTPResponse]:
    """The answer of a server, from byte ``start`` on if it can; every fault of the connection in one line.

    With ``version`` all of the file comes if that is no longer its version.
    """
    if not address.startswith(SCHEMES):
        raise InputError(f"got the address '{address:.200}'; allowed are https:// and http://")
    request = Request(address, headers={"User-Agent": f"napari-connecto/{__version__}"}, method=method)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if version:
            request.add_header("If-Range", version)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            yield answer
    except HTTPError as error:
        error.close()
        if error.code == 404:
            raise MissingError(f"there is nothing at '{address}'") from error
        raise ModelError(f"'{address}' answers with status {error.code}; try again later") from error
    except (URLError, TimeoutError, ConnectionError, SSLError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", "") or error or type(error).__name__).split())
        raise InputError(f"cannot reach '{address}' ({reason:.200}); check the connection and try again") from error


def _continues(answer: HTTPResponse, start: int) -> bool:
    """Whether an answer begins at byte ``start``, as asked; a server may send all of it instead."""
    stated = str(answer.headers.get("Content-Range", ""))
    return bool(start) and answer.status == 206 and stated.startswith(f"bytes {start}-")


def _note_version(part: Path, answer: HTTPResponse) -> None:
    """Keep what tells this version of a file from another: a strong entity tag, or the date of its last change."""
    tag = str(answer.headers.get("ETag") or "")
    told = tag if tag.startswith('"') else str(answer.headers.get("Last-Modified") or "")
    _with_version(part).write_text(told, encoding="utf-8")


def _version(part: Path) -> str:
    """What was kept; "" if nothing was, or it is no header's line."""
    try:
        told = _with_version(part).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return told if told.isascii() and told.isprintable() else ""


def _with_version(part: Path) -> Path:
    return part.with_name(part.name + VERSION)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
