"""Keep two copies of LLVM apart: the one in napari's OpenGL driver and the one inside triton."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from napari_connecto.core.jobs import Job, loading


def load_triton_apart() -> None:
    """Load triton, which torch loads sooner or later, in a way that does not crash the viewer.

    Mesa's OpenGL drivers (software, AMD) bring libLLVM into the process; triton carries another LLVM, and its symbols
    would be bound to the driver's: a segmentation fault on import (seen with Mesa 22 and triton 3.8). Bound deeply,
    triton finds its own. Call it in the job that is about to load networks. Does nothing on other systems.
    """
    if not sys.platform.startswith("linux") or "triton" in sys.modules or not _driver_has_llvm():
        return
    if importlib.util.find_spec("triton") is None:
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton")
    finally:
        sys.setdlopenflags(flags)


def torch_job() -> Job[None]:
    """Load torch after reporting it, for the first import takes seconds.

    And pandas, which napari loads with the first layer of points, in the viewer's thread.
    """
    if "torch" not in sys.modules:
        yield loading("torch")
    load_triton_apart()
    from napari_connecto.models import files  # noqa: F401 - the home of torch

    importlib.import_module("pandas")


def _driver_has_llvm() -> bool:
    try:
        return "libLLVM" in Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return False
