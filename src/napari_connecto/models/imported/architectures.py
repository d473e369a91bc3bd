"""Networks of well-known libraries for imported state dicts: a short list, plain arguments, no downloads."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError
from napari_connecto.models.nets.bounds import encoder_name, few_weights
from napari_connecto.models.nets.weights import read_tensors

MONAI, SMP = "monai.networks.nets.UNet", "segmentation_models_pytorch.Unet"
ALLOWED = {
    MONAI: MONAI,
    "monai.networks.nets.unet.UNet": MONAI,
    SMP: SMP,
    "segmentation_models_pytorch.decoders.unet.Unet": SMP,
}
LARGEST = 8192
MAX_BYTES = 2 * 2**30


def architecture(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """A network of one of the `ALLOWED` callables, with arbitrary weights.

    Raises
    ------
    ModelError
        If the callable is another, or its arguments are not plain, too large or do not make a network.
    """
    if name not in ALLOWED:
        raise ModelError(f"got the architecture '{name:.100}'; allowed: {MONAI}, {SMP}: ask for torchscript weights")
    if not _plain(kwargs):
        raise ModelError(f"got arguments of '{name}' other than numbers to {LARGEST}, words and lists of these")
    try:
        with warnings.catch_warnings(), few_weights():
            warnings.simplefilter("ignore")  # MONAI and smp warn of their own imports
            if ALLOWED[name] == MONAI:
                from monai.networks.nets import UNet  # 5 s the first time: only who needs it pays

                return UNet(**kwargs).eval()
            import segmentation_models_pytorch as smp

            encoder = encoder_name(kwargs.get("encoder_name", "resnet34"))
            own = {"encoder_name": encoder, "encoder_weights": None}  # else they would be downloaded
            return smp.Unet(**{**kwargs, **own}).eval()
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, AssertionError, MemoryError) as error:
        first = " ".join(str(error).split())
        raise ModelError(f"'{name}' cannot be built of the arguments given ({first:.200})") from error


def _plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, Mapping):
        inner = all(isinstance(key, str) for key in value) and all(_plain(v, depth + 1) for v in value.values())
        return inner and depth < 4 and len(value) <= 64
    if isinstance(value, list | tuple):
        return depth < 4 and len(value) <= 64 and all(_plain(v, depth + 1) for v in value)
    if isinstance(value, int | float):
        return abs(value) <= LARGEST
    return value is None or (isinstance(value, str) and len(value) <= 100)


def read_state(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict: safetensors, or torch's format read with ``weights_only=True``.

    Raises
    ------
    ModelError
        If the bytes are damaged, or a pickle of anything else than tensors.
    """
    if data[:2] != b"PK":
        try:
            return read_tensors(data)
        except ModelError as error:
            raise ModelError(
                f"{where} is neither safetensors nor torch's zip format ({error!s:.200}); other pickles are not opened"
            ) from error
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise ModelError(
                    f"{where} would take more than {MAX_BYTES} bytes in memory; it is not a valid state dict"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
    ) as error:
        raise ModelError(f"{where} holds more than tensors or is damaged; it is not opened (weights only)") from error
    except (AttributeError, IndexError, AssertionError, OSError, OverflowError, MemoryError) as error:
        raise ModelError(f"{where} is a damaged state dict ({type(error).__name__}); download it again") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) and isinstance(k, str) for k, t in state.items()):
        raise ModelError(f"{where} holds no plain state dict of names and tensors; save `net.state_dict()`")
    return state
