"""Weights of networks as safetensors bytes, whole or in half precision."""

from __future__ import annotations

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError

PLAIN = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
MOST_AXES = 8


def to_bytes(net: nn.Module, *, half: bool = False) -> bytes:
    """The weights of a network as a safetensors file.

    ``half`` stores floats of two or more dimensions in half precision (IEEE binary16): convolutions, not biases nor
    batch norm, which are small and whose statistics may be large.
    """
    tensors = {name: t.detach().contiguous() for name, t in net.state_dict().items()}
    if half:
        tensors = {name: t.half() if _halved(t) else t for name, t in tensors.items()}
    return bytes(safetensors.torch.save(tensors))


def _halved(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dim() >= 2


def round_to_half(net: nn.Module) -> None:
    """Round, in place, what `to_bytes` stores in half precision.

    Raises
    ------
    ModelError
        If a value is too large for it.
    """
    for name, tensor in net.state_dict().items():
        if _halved(tensor):
            rounded = tensor.half().float() + 0.0  # and -0 becomes 0, which arithmetic can give back
            if bool(rounded.isinf().any()):
                raise ModelError(f"tensor '{name}' holds values beyond half precision's 65504; set half to false")
            tensor.copy_(rounded)


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file: real numbers in formats that any network can take.

    Raises
    ------
    ModelError
        If it is damaged, holds other numbers, NaN or infinity.
    """
    try:
        tensors = dict(safetensors.torch.load(data))
    except (SafetensorError, LookupError, ValueError, RuntimeError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"this is not a valid safetensors file ({reason:.200}); export it again") from error
    for name, tensor in tensors.items():
        if tensor.dim() > MOST_AXES:
            raise ModelError(
                f"tensor '{name}' has {tensor.dim()} axes; allowed are {MOST_AXES}: export the model again"
            )
        if tensor.dtype not in PLAIN:
            raise ModelError(f"tensor '{name}' is of type {tensor.dtype}; allowed are real numbers of 16 bits and more")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(f"tensor '{name}' holds NaN or infinity; export the model again from a sound training")
    return tensors


def fill_weights(net: nn.Module, weights: bytes) -> None:
    """Put the tensors of a safetensors file into a network.

    Raises
    ------
    ModelError
        If the bytes are no safetensors file, or names or shapes are not the network's.
    """
    tensors = read_tensors(weights)
    own = net.state_dict()
    if set(own) != set(tensors):
        odd = sorted(set(own) ^ set(tensors))
        raise ModelError(f"the weights do not belong to the card's network: tensors {odd[:3]} are only in one of them")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            got, want = tuple(tensor.shape), tuple(own[name].shape)
            raise ModelError(f"tensor '{name}' has shape {got}, the card's network needs {want}; export it again")
    net.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})
