"""Networks converted to OpenVINO: about twice as fast on CPUs, at a difference of about 1e-6."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.inference.device import cores
from napari_connecto.models.inference.kept import keep, kept
from napari_connecto.models.inference.origin import Origin
from napari_connecto.models.inference.predictor import TorchPredictor

log = logging.getLogger("napari_connecto")

TOLERANCE = 1e-4


def installed() -> bool:
    """Whether the extra ``openvino`` is there."""
    return find_spec("openvino") is not None


def torch_model(model: Predictor) -> TorchPredictor:
    """The network behind a predictor, which can be trained, looked into and saved.

    Raises
    ------
    ModelError
        If it is not a native model.
    """
    if isinstance(model, OpenVinoPredictor):
        return model.model
    if isinstance(model, TorchPredictor):
        return model
    raise ModelError(
        f"got a {type(model).__name__}, which cannot be trained; start from a domain, not from an imported model"
    )


def accelerated(model: TorchPredictor) -> Predictor:
    """``model`` converted to OpenVINO if that gives the same output, else ``model`` itself and a log message why."""
    if not installed():
        log.warning("openvino is not installed (extra 'openvino'); continuing with torch")
        return model
    try:
        fast = OpenVinoPredictor(model)
        batch, worst = _noise(model.card), 0.0
        expected, got = model(batch, [0]), fast(batch, [0])
        worst = max(float(np.abs(expected[o.name] - got[o.name]).max()) for o in model.card.outputs)
    except RuntimeError as error:  # what OpenVINO and torch's tracer raise for what they cannot convert
        log.warning("openvino cannot run '%s' (%s); continuing with torch", model.card.name, str(error).split("\n")[0])
        return model
    if not worst <= TOLERANCE:
        log.warning("openvino differs from torch by %.1e for '%s'; continuing with torch", worst, model.card.name)
        return model
    return fast


class OpenVinoPredictor:
    """A `TorchPredictor`'s network, compiled by OpenVINO for the CPU, one thread per call.

    The conversion is kept in the user's cache folder, see `cache_folder`.

    Raises
    ------
    RuntimeError
        If the network cannot be converted.
    """

    def __init__(self, model: TorchPredictor) -> None:
        self.model = model
        self.calls = cores()
        self._probability = model.card.network.get("activation", "sigmoid") == "sigmoid"
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._requests = threading.local()  # one request per thread and batch size
        self._compile(1)

    @property
    def card(self) -> ModelCard:
        """That of the network."""
        return self.model.card

    @property
    def origin(self) -> Origin | None:
        """That of the network."""
        return self.model.origin

    def with_tile(self, tile: Vec3) -> OpenVinoPredictor:
        """The same model with another tile in its card; see `TorchPredictor.with_tile`."""
        return OpenVinoPredictor(self.model.with_tile(tile))

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (self.model,)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        size = len(batch)
        requests = self._requests.__dict__
        if str(size) not in requests:
            requests[str(size)] = self._compile(size).create_infer_request()
        answer = requests[str(size)].infer(np.ascontiguousarray(batch, np.float32), share_inputs=True)
        logits = np.array(next(iter(answer.values())))
        return {output.name: self._activate(logits[:, i]) for i, output in enumerate(self.card.outputs)}

    def _activate(self, logits: np.ndarray) -> np.ndarray:
        return torch.from_numpy(logits).sigmoid().numpy() if self._probability else logits

    def _compile(self, size: int) -> Any:
        with self._lock:
            if size not in self._compiled:
                self._compiled[size] = _convert(self.model, size, self.calls)
            return self._compiled[size]


def revive(model: TorchPredictor) -> Predictor:
    """A predictor from its pickled part; the network itself where that has got a GPU."""
    return accelerated(model) if model.device.type == "cpu" else model


def _library() -> Any:
    """OpenVINO, imported with its telemetry off: its converter would otherwise report every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def _core() -> Any:
    """One for as long as the process lives: with the last one the CPU plugin goes, and with it the stack that it gave
    this thread for signals, on which the next Ctrl-C would be a segmentation fault."""
    return _library().Core()


def _convert(model: TorchPredictor, size: int, streams: int) -> Any:
    core, key = _core(), _key(model.card, size, _library().__version__)
    parts = kept(key)
    if parts is None:
        parts = _converted(model, _shape(model.card, size))
        keep(key, *parts)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": streams,
        "NUM_STREAMS": streams,
    }
    return core.compile_model(core.read_model(*parts), "CPU", settings)


def _converted(model: TorchPredictor, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """OpenVINO's description and weights of a network."""
    openvino = _library()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch.jit says that it grows old, the tracer that shapes are constants
        graph = openvino.convert_model(model.net, example_input=torch.zeros(shape), input=[shape])
    with TemporaryDirectory() as folder:
        openvino.save_model(graph, Path(folder) / "net.xml", compress_to_fp16=False)
        return (Path(folder) / "net.xml").read_bytes(), (Path(folder) / "net.bin").read_bytes()


def _key(card: ModelCard, size: int, version: str) -> str:
    """Equal only where the converted network is: the digest tells weights, not how they are put together."""
    told = json.dumps([card.digest, dict(card.network), _shape(card, size), version], sort_keys=True)
    return f"{card.digest[:12]}-{hashlib.sha256(told.encode()).hexdigest()[:20]}"


def _shape(card: ModelCard, size: int) -> tuple[int, ...]:
    return (size, card.channels, *(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)))


def _noise(card: ModelCard) -> np.ndarray:
    return np.random.default_rng(0).random(_shape(card, 1), np.float32)
