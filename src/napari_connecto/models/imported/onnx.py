"""ONNX networks by onnxruntime (extra "onnx"), checked before they are loaded; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError, ModelError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Sets of operators that onnxruntime brings itself."""


class OnnxNetwork(nn.Module):
    """A network of one image in and one out, on the processor; called by one thread at a time per session run."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self._session, self._input = session, session.get_inputs()[0].name

    def forward(self, x: Tensor) -> Tensor:
        """Run it.

        Raises
        ------
        RuntimeError
            With onnxruntime's first line, if it fails.
        """
        try:
            (answer,) = self._session.run(None, {self._input: np.ascontiguousarray(x.cpu().numpy())})
        except Exception as error:
            raise RuntimeError(str(error).split("\n")[0]) from error
        return torch.from_numpy(np.asarray(answer))


def load_onnx(weights: bytes, where: str) -> OnnxNetwork:
    """A network from the bytes of an ``.onnx`` file.

    Parameters
    ----------
    weights, where
        The file, and what it is called in messages.

    Raises
    ------
    InputError
        If the extra ``onnx`` is not installed.
    ModelError
        If the file is damaged, keeps weights in other files, has operators of others, or takes or gives more than one
        image.
    """
    onnx, runtime = _libraries()
    try:
        model = onnx.load_model_from_string(weights)
    except Exception as error:  # of protobuf, whatever its version calls it
        raise ModelError(f"{where} is not an ONNX file ({str(error)[:100]}); download the package again") from error
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location:
            raise ModelError(
                f"{where} stores its weights in external files, which are not read; save it as one .onnx file"
            )
    foreign = sorted({entry.domain for entry in model.opset_import} - set(DOMAINS))
    if foreign:
        raise ModelError(f"{where} needs operators of {', '.join(foreign)}, which onnxruntime does not provide")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # tiles run side by side, and bits stay the same
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"onnxruntime cannot load {where}: {' '.join(str(error).split())[:200]}") from error
    count = len(session.get_inputs()), len(session.get_outputs())
    if count != (1, 1):
        raise ModelError(f"{where} has {count[0]} inputs and {count[1]} outputs; supported is one image in, one out")
    return OnnxNetwork(session)


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError("ONNX networks need the extra 'onnx': pip install 'napari-connecto[onnx]'") from error
    return onnx, onnxruntime


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a model, wherever it is: of graphs, of those inside operators, and of functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "__len__") and not hasattr(value, "DESCRIPTOR") else (value,):
                yield from _tensors(inner)
