"""TorchScript files from other sources, checked before they are opened."""

from __future__ import annotations

import re
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import torch
from torch import nn

from napari_connecto.core.errors import ModelError

MAX_BYTES = 2 * 2**30
MAX_CODE = 64 * 2**20
FORBIDDEN = ("from_file", "save", "load", "import", "rpc_async", "rpc_sync", "rpc_remote")
"""Words that the code of a network has no use for: they read and write files or hide a name."""
OPERATORS = ("aten", "prim", "quantized")

_WORDS = re.compile(rf"\b({'|'.join(FORBIDDEN)})\b")
_HIDDEN = re.compile(r"""\bgetattr\s*\([^"]*("[^"]*\\|')""")  # a name of a string with escapes
_SPACES = re.compile(r"\bops\s*\.\s*(\w+)")
_loading = threading.Lock()


def load_torchscript(data: bytes, where: str) -> nn.Module:
    """A network from the bytes of a TorchScript file, on the CPU, in evaluation mode.

    Parameters
    ----------
    data
        What ``torch.jit.save`` wrote.
    where
        The file, for messages.

    Raises
    ------
    ModelError
        If it is a pickle or anything else than TorchScript, damaged, too large, or its code touches files.

    Notes
    -----
    How safe this is: ``torch.jit.load`` does not run Python. Its pickled part is read by a reader in C++ that knows
    tensors, numbers and TorchScript classes only, and the code is TorchScript, a small language without imports. But
    that language has ``torch.from_file`` and ``torch.save``, which read and *write* files, also while loading (by
    ``__setstate__``); so the code is searched for them before, and the compiled graph for operators other than
    aten, prim and quantized after. What is left is what any program can do: take time and memory. And faults in
    torch's own readers are not excluded. Import networks of people you trust.
    """
    _check_archive(data, where)
    try:
        with _loading, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(BytesIO(data), map_location="cpu")
    except (RuntimeError, ValueError, LookupError, MemoryError, OverflowError) as error:
        raise ModelError(f"{where} is damaged TorchScript ({_short(error)}); download the package again") from error
    _check_graph(module, where)
    return module.eval()


def _check_archive(data: bytes, where: str) -> None:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = archive.infolist()
            code = [i for i in infos if "/code/" in i.filename and i.filename.endswith(".py")]
            names = {i.filename.rpartition("/")[2] for i in infos}
            if not code or "constants.pkl" not in names or "model.json" in names:
                raise ModelError(f"{where} is not TorchScript but a pickle, which can run any code; it is not opened")
            if sum(i.file_size for i in infos) > MAX_BYTES or sum(i.file_size for i in code) > MAX_CODE:
                raise ModelError(f"{where} would take more than {MAX_BYTES} bytes in memory; it is not a valid network")
            for info in code:
                _check_code(archive.read(info).decode("utf-8"), where)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, UnicodeDecodeError, NotImplementedError) as error:
        raise ModelError(f"{where} is not TorchScript ({_short(error)}); download the package again") from error
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{where} is not TorchScript ({_short(error)}); download the package again") from error


def _check_code(code: str, where: str) -> None:
    word = _WORDS.search(code)
    if word:
        raise ModelError(f"the network in {where} uses '{word.group(1)}', which can touch files; it is not opened")
    if _HIDDEN.search(code):
        raise ModelError(f"the network in {where} hides a name in its code; it is not opened")
    odd = sorted(set(_SPACES.findall(code)) - set(OPERATORS))
    if odd:
        raise ModelError(f"the network in {where} uses operators of {odd[:3]}; allowed: {', '.join(OPERATORS)}")


def _check_graph(module: Any, where: str) -> None:
    try:
        kinds = {kind for graph in _graphs(module) for kind in _kinds(graph)}
    except (RuntimeError, AttributeError) as error:
        raise ModelError(f"{where} has no network to run ({_short(error)}); export it with torch.jit.trace") from error
    odd = sorted(kind for kind in kinds if kind.split("::")[0] not in OPERATORS or kind.split("::")[-1] in FORBIDDEN)
    if odd:
        raise ModelError(f"the network in {where} uses {odd[:3]}, which is not allowed; it is not run")


def _graphs(module: Any) -> Iterator[Any]:
    yield module.inlined_graph
    for part in module.modules():
        script: Any = getattr(part, "_c", None)
        for name in script._method_names() if script is not None else ():
            yield script._get_method(name).graph


def _kinds(block: Any) -> Iterator[str]:
    for node in block.nodes():
        yield node.kind()
        for inner in node.blocks():
            yield from _kinds(inner)


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return f"{lines[0] if lines else type(error).__name__:.200}"
