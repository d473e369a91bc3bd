"""Files of an untrusted package: a zip or a folder, read without unpacking anything."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from napari_connecto.core.errors import ModelError
from napari_connecto.io.files import check_path

MAX_BYTES = 2 * 2**30
"""What all files of a package, or one that is read, may hold."""
MAX_FILES = 10_000
MAX_YAML = 256 * 1024


class PackageFiles:
    """Files by name; nothing outside the package is ever read, and nothing is written.

    Use `opened`.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile | None, chosen: str = "") -> None:
        self.path, self.chosen = path, chosen
        self._archive = archive
        self.names = _checked_names(path, archive) if archive else sorted(p.name for p in path.iterdir())

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The bytes of a file.

        Raises
        ------
        ModelError
            If the name is a URL, absolute or leads out of the package (also by a link), the file is absent, damaged or
            larger than ``limit`` bytes.
        """
        check_name(name, f"'{self.path}'")
        name = str(PurePosixPath(name))
        return self._unzipped(self._archive, name, limit) if self._archive else self._from_folder(name, limit)

    def _unzipped(self, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
        try:
            info = archive.getinfo(name)
        except KeyError:
            raise ModelError(f"'{self.path}' has no file '{name}'; download the full package") from None
        _check_size(self.path, name, info.file_size, limit)
        try:
            return archive.read(info)  # never more than the size declared
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise ModelError(f"'{name}' in '{self.path}' is damaged ({error}); download the package again") from error

    def _from_folder(self, name: str, limit: int) -> bytes:
        root = self.path.resolve()
        file = root / name
        try:
            if not file.resolve().is_relative_to(root):
                raise ModelError(f"'{name}' in '{self.path}' is a link that leads out of it; put the file itself there")
            if not file.is_file():
                raise ModelError(f"'{self.path}' has no file '{name}'; download the full package")
            _check_size(self.path, name, file.stat().st_size, limit)
            return file.read_bytes()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"cannot read '{name:.200}' in '{self.path}': {reason}; download it again") from error


@contextmanager
def opened(path: str | Path) -> Iterator[PackageFiles]:
    """A package, open for reading.

    Parameters
    ----------
    path
        A zip file or a folder on this machine, or the description (a YAML file) in such a folder, then ``chosen``.

    Raises
    ------
    ModelError
        If there is none, it is no zip, or the zip holds links, absolute or ``..`` names, encrypted files, more than
        10 000 files or more than 2 GiB (by what it declares, before anything is decompressed).
    """
    if "://" in str(path):
        raise ModelError(f"got the address '{path}'; nothing is downloaded: download the full package, then import it")
    path = Path(check_path(path))
    if path.is_dir():
        yield PackageFiles(path, None)
        return
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        yield PackageFiles(path.parent, None, path.name)
        return
    if not path.is_file():
        raise ModelError(f"there is no package at '{path}'; give a zip file or a folder with rdf.yaml")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"'{path}' is not a zip file ({error}); give a bioimage.io package as zip or folder"
        ) from error
    with archive:
        yield PackageFiles(path, archive)


def _checked_names(path: Path, archive: zipfile.ZipFile) -> list[str]:
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise ModelError(f"'{path}' holds {len(infos)} files; a package has at most {MAX_FILES}")
    for info in infos:
        check_name(info.filename, f"'{path}'")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ModelError(f"'{info.filename}' in '{path}' is a link; a package holds files only")
        if info.flag_bits & 1:
            raise ModelError(f"'{info.filename}' in '{path}' is encrypted; unpack it and give the folder")
    _check_size(path, "all its files", sum(info.file_size for info in infos), MAX_BYTES)
    return sorted(info.filename for info in infos)


def check_name(name: str, where: str) -> None:
    """Raise `ModelError` unless a name stays inside the package."""
    if "://" in name:
        raise ModelError(f"{where} refers to '{name}'; nothing is downloaded: download the full package first")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or not name.isprintable():
        raise ModelError(f"{where} refers to '{name[:200]!s}', outside the package; only names inside it are allowed")


def _check_size(path: Path, name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ModelError(
            f"{name} in '{path}' would take {size} bytes; allowed are {limit}: this is not a valid package"
        )
