"""Read untrusted YAML and numpy files for plain values only."""

from __future__ import annotations

import math
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import yaml

from napari_connecto.core.errors import ConnectoError, ModelError

MAX_DEPTH = 30
GROWTH = 10
"""How many times as long a document may become with all its aliases written out."""
_ENDLESS = 2**40
MAX_ARRAYS = 2**30


def safe_yaml(
    data: bytes, where: str, kind: type[ConnectoError] = ModelError, advice: str = "download the package again"
) -> Any:
    """A YAML document of plain values.

    Parameters
    ----------
    data
        UTF-8.
    where
        What the document is called in messages.
    kind, advice
        Of the error: its type, and what to do.

    Raises
    ------
    ConnectoError
        If it has tags (which could name any type), aliases that would make it more than ten times as long, or
        hold themselves, more than 30 levels, or is not YAML.
    """
    try:
        text = data.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            tag = getattr(event, "tag", None)
            if tag is not None:
                raise kind(f"{where} has the YAML tag '{tag}'; only plain values are allowed: remove it")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise kind(f"{where} has more than {MAX_DEPTH} levels; {advice}")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        size, deep = _extent(node, {}) if node is not None else (0, 0)
        if size > GROWTH * (len(text) + 1000) or deep > MAX_DEPTH:
            raise kind(f"{where} has YAML aliases that grow to more than is allowed; write the values out")
        return yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ConnectoError):
            raise
        raise kind(f"{where} is not YAML ({' '.join(str(error).split()):.200}); {advice}") from error


def _extent(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Letters and values of a node with all aliases written out, and its levels; no bound is passed on the way."""
    if id(node) not in known:
        known[id(node)] = (_ENDLESS, MAX_DEPTH + 1)  # until it is known: of a node that holds itself
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        extents = [_extent(part, known) for part in parts]
        own = 1 if isinstance(node, yaml.CollectionNode) else len(str(node.value)) + 1
        size = min(_ENDLESS, own + sum(size for size, _ in extents))
        known[id(node)] = size, max((deep for _, deep in extents), default=0) + isinstance(node, yaml.CollectionNode)
    return known[id(node)]


def safe_array(data: bytes, where: str) -> np.ndarray:
    """The numbers of a ``.npy`` file; its declared shape is checked against its bytes before anything is allocated.

    Raises
    ------
    ModelError
        If it is damaged or holds pickled objects.
    """
    stream = BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = read(stream)
        if dtype.kind not in "biuf":
            raise ValueError(f"values of type {dtype}")
        if min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError(f"shape {shape} does not fit {len(data)} bytes")
        flat = np.frombuffer(data, dtype, offset=stream.tell())
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError, OverflowError) as error:
        first = str(error).split("\n")[0]
        raise ModelError(f"{where} is not an array of numbers ({first}); download the package again") from error


def safe_arrays(path: Path, most: int = MAX_ARRAYS) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name, in all at most ``most`` bytes by what the file declares.

    Raises
    ------
    ModelError
        If it is absent, damaged or larger, or holds anything but numbers.
    """
    try:
        with ZipFile(path) as packed:
            size = sum(item.file_size for item in packed.infolist())
            if size > most:
                raise ModelError(
                    f"the arrays of '{path}' take {size} bytes, allowed are {most}; this is not a valid file"
                )
            found = {item.filename: packed.read(item) for item in packed.infolist()}
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"'{path}' cannot be read ({error}); copy it again") from error
    return {name.removesuffix(".npy"): safe_array(data, f"'{name}' in '{path}'").copy() for name, data in found.items()}
