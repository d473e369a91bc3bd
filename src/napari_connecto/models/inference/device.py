"""The device that runs the networks, and its free memory."""

from __future__ import annotations

import os

import psutil
import torch

from napari_connecto.core.errors import InputError
from napari_connecto.core.settings import PREFIX, settings


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" takes the one of the settings, else CUDA, then Apple's GPU, then the CPU.

    Raises
    ------
    InputError
        If the name is unknown or that device is not there.
    """
    chosen = f"{PREFIX}DEVICE or the settings say" if name == "auto" else "got"
    name = settings().device if name == "auto" else name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"{chosen} device {name!r}; allowed: auto, cpu, cuda, cuda:N, mps") from error
    cuda_there = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    there = {"cpu": True, "cuda": cuda_there, "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise InputError(f"{chosen} device {name!r}, which this machine does not have; use auto or cpu")
    return device


def cores() -> int:
    """Processor cores that this process may use, at most those of the settings."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, settings().threads or there)


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AVX-512 or AMX): convolutions are then three times as fast."""
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(ask is not None and ask() for ask in asked)


def describe_device(device: torch.device | str = "auto") -> str:
    """In words a user reads: "CPU, 8 cores", "NVIDIA RTX A4000, 16 GB"."""
    device = pick_device(device) if isinstance(device, str) else device
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
    if device.type == "mps":
        return "Apple GPU"
    return f"CPU, {cores()} core{'s' if cores() > 1 else ''}"


def free_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that can still be taken on a device."""
    device = pick_device(device) if isinstance(device, str) else device
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def list_devices() -> list[str]:
    """Names of the devices that are here, for `pick_device`."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
