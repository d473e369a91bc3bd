"""Information for a bug report: versions, devices, display, memory, disks, and time per tile."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.settings import config_file, settings

PACKAGES = {
    "needed": ("numpy", "torch", "torchvision", "segmentation-models-pytorch", "monai", "dask", "zarr", "scikit-image"),
    "gui": ("napari", "PyQt6", "PySide6", "qtpy", "magicgui", "superqt", "napari-ome-zarr"),
    "optional": (
        "openvino",
        "pyarrow",
        "bioimage-cpp",
        "s3fs",
        "imagecodecs",
        "hdf5plugin",
        "bioimageio.spec",
        "onnxruntime",
        "tensorstore",
        "neuroglancer",
    ),
}
OPENGL = "napari_connecto.widgets.opengl"
"""Module that prints Qt and OpenGL versions; run in a separate process, which a bad driver may kill."""


def examine(*, tiles: bool = True) -> dict[str, Any]:
    """The whole report as JSON; what cannot be determined has the reason under ``problem`` instead of raising.

    Parameters
    ----------
    tiles
        Also time the prediction of a tile on each device (some seconds).
    """
    parts: dict[str, Callable[[], Any]] = {
        "system": _system,
        "packages": _packages,
        "settings": _settings,
        "devices": _devices,
        "display": _display,
        "memory": _memory,
        "disks": _disks,
        "cache": _cache,
    }
    if tiles:
        parts["tiles"] = _tiles
    return {name: _tried(part) for name, part in parts.items()}


def missing(found: dict[str, Any]) -> list[str]:
    """What is missing or does not work, one sentence each; no feature needs all of it."""
    packages = found["packages"]
    lines = [
        f"{name} is not installed ({group})"
        for group in ("needed", "gui", "optional")
        for name, version in packages.get(group, {}).items()
        if version is None and name not in ("PyQt6", "PySide6")
    ]
    gui = packages.get("gui", {})
    if gui and gui["PyQt6"] is None and gui["PySide6"] is None:
        lines.append("no Qt is installed (gui): pip install 'napari-connecto[all]'")
    told = list(found.items())
    told += [(f"tile on {name}", part) for name, part in found.get("tiles", {}).items() if isinstance(part, dict)]
    lines += [f"{name}: {part['problem']}" for name, part in told if isinstance(part, dict) and "problem" in part]
    return lines


def report(found: dict[str, Any]) -> Iterator[str]:
    """The report in readable lines."""
    for name, part in found.items():
        yield f"{name}:"
        for key, value in part.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{k} {v}" for k, v in value.items() if v is not None)
                yield f"  {key}: {inner or '-'}"
            else:
                yield f"  {key}: {value}"
    lacking = missing(found)
    yield "missing or not working:" if lacking else "nothing is missing"
    yield from (f"  {line}" for line in lacking)


def _tried(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - a problem is reported, and must not end the report
        return {"problem": f"{type(error).__name__}: {' '.join(str(error).split()):.300}"}


def _system() -> dict[str, Any]:
    from napari_connecto.models.inference.device import cores

    return {
        "napari-connecto": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": f"{cores()} used of {os.cpu_count()}",
    }


def _packages() -> dict[str, dict[str, str | None]]:
    return {group: {name: _version(name) for name in names} for group, names in PACKAGES.items()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings() -> dict[str, str]:
    path = config_file()
    told = {name: str(value) for name, value in vars(settings()).items()}
    return {"file": f"{path}{'' if path.is_file() else ' (absent)'}", **told}


def _devices() -> dict[str, str]:
    from napari_connecto.models.inference.device import describe_device, list_devices, pick_device

    return {"chosen by auto": str(pick_device("auto")), **{name: describe_device(name) for name in list_devices()}}


def _display() -> dict[str, Any]:
    if importlib.util.find_spec("napari") is None:
        return {"problem": "napari is not installed: pip install 'napari-connecto[all]'"}
    done = subprocess.run([sys.executable, "-m", OPENGL], capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return {"problem": f"Qt or OpenGL failed ({last:.200}); is there a display (DISPLAY, xvfb-run)?"}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _memory() -> dict[str, str]:
    from napari_connecto.models.inference.device import free_memory, list_devices

    return {f"free on {name}": bytes_text(free_memory(name)) for name in list_devices()}


def _disks() -> dict[str, str]:
    places = {"results": settings().results, "cache": settings().cache, "temporary": Path(tempfile.gettempdir())}
    return {f"free for {name}": f"{bytes_text(shutil.disk_usage(_there(p)).free)} in {p}" for name, p in places.items()}


def _there(path: Path) -> Path:
    """The nearest existing parent folder."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def _cache() -> dict[str, Any]:
    from napari_connecto.models.inference.kept import cache_folder, list_kept

    items = list_kept()
    return {"folder": str(cache_folder()), "files": len(items), "size": bytes_text(sum(size for _, size, _ in items))}


def _tiles() -> dict[str, Any]:
    """Time and speed of one tile of a shipped network, on each available device and backend."""
    from napari_connecto.models.inference import openvino
    from napari_connecto.models.inference.device import list_devices

    ways = [("torch", device) for device in list_devices()]
    if openvino.installed():
        ways.append(("openvino", "cpu"))
    return {f"{device} ({backend})": _tried(partial(_tile, backend, device)) for backend, device in ways}


def _tile(backend: Any, device: str) -> str:
    from napari_connecto.models.files import load_model
    from napari_connecto.sample_data import list_models

    name, folder = next(iter(list_models().items()))
    model = load_model(folder, device=device, backend=backend)
    card = model.card
    shape = (1, card.channels, *(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)))
    batch = np.random.default_rng(0).random(shape, np.float32)
    model(batch, [0])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        model(batch, [0])
        times.append(time.perf_counter() - start)
    voxels = int(np.prod(card.tile))
    return f"{min(times):.3f} s for {voxels / 1e6:.2f} million voxels of '{name}', one call at a time"
