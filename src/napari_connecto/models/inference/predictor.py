"""A torch network behind the `Predictor` protocol."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import out_of_memory
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard
from napari_connecto.models.inference.device import cores, cpu_has_bfloat16, pick_device
from napari_connecto.models.inference.origin import Origin
from napari_connecto.models.nets import nets
from napari_connecto.models.nets.dropout import dropping
from napari_connecto.models.nets.fold import folded
from napari_connecto.models.nets.subpixel import exact_end
from napari_connecto.models.nets.weights import fill_weights, round_to_half, to_bytes

if TYPE_CHECKING:
    from napari_connecto.models.transfer.adapter import Adapter

log = logging.getLogger("napari_connecto")

LARGE = 100_000
"""Networks with at least this many weights run in bfloat16 on CPUs; smaller ones gain little."""


class TorchPredictor:
    """A network in evaluation mode, ready to be called from several threads and sent to other processes.

    Parameters
    ----------
    card
        Its ``digest`` is set to that of the weights.
    net
        (n, c, z, y, x) to logits (n, outputs, ...); copied, so later training of ``net`` changes nothing here.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".

    Attributes
    ----------
    net : torch.nn.Module
        The network as it can be trained further, on the CPU. Where the card's network says ``"half": true`` its
        convolutions' weights are rounded to half precision, so that what is saved answers as what is in memory.
    weights : bytes
        The same as a safetensors file.
    adapter : Adapter or None
        What `merge` put into a base to make this model, as long as it is not sent or saved.
    origin : Origin or None
        Where it was loaded from; kept by `with_tile`, not when it is sent to another process.
    dropout : bool
        Whether its dropout drops channels, by the seeds of the tiles; see `with_dropout`.
    any_tile : bool
        It takes tiles of any shape that its network does, not only the card's.
    calls : int
        How many calls at once serve best: on the CPU one per core, for each call computes on one thread alone (on two
        cores 1.3-1.5 times as fast as one call on two threads, and the answer does not depend on the machine's
        cores); on a GPU two, of which one computes while the other prepares.

    Notes
    -----
    Running out of memory halves the batch within the call, for good, and is logged. On CUDA from compute capability
    8.0 on convolutions run in bfloat16. The last layer of a regression computes in full precision, where 8 bits of
    mantissa would be seen; a regression whose last layer is not known (see `exact_end`) does so throughout. On CPUs
    that have instructions for bfloat16 the same holds for networks of `LARGE` weights or more: CPUs with and without
    these instructions give slightly different answers.
    `pickle` takes the card and the safetensors bytes, never the module; a device
    that was "auto" is picked anew where it is unpickled, so that workers use the GPU which their client lacks.
    """

    def __init__(self, card: ModelCard, net: nn.Module, device: str = "auto") -> None:
        nets.check_card(card)
        self.net = deepcopy(net).cpu().eval().requires_grad_(True)  # what was held still once may learn later
        half = bool(card.network.get("half", False))
        if half:
            round_to_half(self.net)
        self.weights = to_bytes(self.net, half=half)
        self.card = replace(card, digest=hashlib.sha256(self.weights).hexdigest())
        self.adapter: Adapter | None = None
        self.origin: Origin | None = None
        self.device, self._wanted = pick_device(device), device
        self.calls = cores() if self.device.type == "cpu" else 2
        self.dropout = False
        self.any_tile = True
        self._probability = card.network.get("activation", "sigmoid") == "sigmoid"
        self._limit: int | None = None
        self._lock = threading.Lock()
        self._ready: Callable[[Tensor], Tensor] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (json.dumps(self.card.to_json()), self.weights, self._wanted, self.dropout)

    def with_dropout(self) -> TorchPredictor:
        """The same model, whose answers to a tile are drawn by the tile's seed."""
        other = TorchPredictor(self.card, self.net, self._wanted)
        other.dropout = True
        return other

    def with_tile(self, tile: Vec3) -> TorchPredictor:
        """The same model with another tile in its card; raises `ModelError` if its network takes no such tile."""
        other = TorchPredictor(replace(self.card, tile=tile), self.net, self._wanted)
        other.dropout, other.origin = self.dropout, self.origin
        return other

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`.

        Raises
        ------
        TooBigError
            If not even one tile fits in memory.
        """
        answer = self._halving(np.ascontiguousarray(batch, np.float32), list(seeds))
        return {output.name: answer[:, i] for i, output in enumerate(self.card.outputs)}

    def _halving(self, batch: np.ndarray, seeds: list[int]) -> np.ndarray:
        limit = min(len(batch), self._limit or len(batch))
        while True:
            try:
                parts = _pieces(batch, seeds, limit)
                return np.concatenate([self._forward(part, drawn)[:count] for part, drawn, count in parts])
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if limit == 1:
                    raise self.card.too_big(self.device, nets.divisor(self.card.network)) from error
            limit = self._limit = -(-limit // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            log.warning("out of memory on %s: continuing with %d tiles at a time", self.device, limit)

    def _forward(self, batch: np.ndarray, seeds: list[int]) -> np.ndarray:
        net = self._prepared()
        x = torch.from_numpy(batch)
        on_cpu = self.device.type == "cpu"
        if self.device.type == "cuda":
            x = x.pin_memory()
        drawn = dropping(seeds if self.dropout else None)
        with one_thread() if on_cpu else self._lock, torch.inference_mode(), drawn:
            y = net(x.to(self.device, non_blocking=True)).float()
            y = y.sigmoid_() if self._probability else y
            if self.device.type != "cuda":
                return y.cpu().contiguous().numpy()
            host = torch.empty(y.shape, dtype=y.dtype, pin_memory=True)
            host.copy_(y, non_blocking=True)
            torch.cuda.current_stream(self.device).synchronize()
        return host.numpy()

    def _prepared(self) -> Callable[[Tensor], Tensor]:
        with self._lock:
            if self._ready is None:
                self._ready = self._prepare()
            return self._ready

    def _prepare(self) -> Callable[[Tensor], Tensor]:
        flat = nets.dimensions(self.card.network) == 2
        layout = torch.channels_last if flat else torch.channels_last_3d
        net = folded(self.net, example(self.card))
        half = self._fast_in_half() and (self._probability or exact_end(net))
        net = net.to(self.device).to(memory_format=layout)

        def run(x: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16) if half and not _SINGLE.get() else nullcontext():
                return net(x if flat else x.contiguous(memory_format=layout))

        return run

    def _fast_in_half(self) -> bool:
        if self.device.type == "cuda":
            return torch.cuda.get_device_capability(self.device) >= (8, 0)
        large = sum(weight.numel() for weight in self.net.parameters()) >= LARGE
        return self.device.type == "cpu" and large and cpu_has_bfloat16()


@lru_cache(maxsize=4)
def revive(card: str, weights: bytes, device: str, dropout: bool = False) -> TorchPredictor:
    """A predictor from its pickled parts; a process makes each only once."""
    parsed = ModelCard.from_json(json.loads(card))
    net = skeleton(parsed)
    fill_weights(net, weights)
    model = TorchPredictor(parsed, net, device)
    model.dropout = dropout
    return model


def skeleton(card: ModelCard) -> nn.Module:
    """The card's network with arbitrary weights."""
    context = card.halo[0] if nets.dimensions(card.network) == 2 else 0
    return nets.build(card.network, card.channels, len(card.outputs), context=context)


def example(card: ModelCard) -> Tensor:
    """A small input (1, c, z, y, x) of noise that the card's network accepts."""
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    small = [min(r, 8 * step) for r, step in zip(read, nets.divisor(card.network), strict=True)]
    if nets.dimensions(card.network) == 2:
        small[0] = 2 * card.halo[0] + 1
    return torch.rand((1, card.channels, *small), generator=torch.Generator().manual_seed(0))


_SINGLE: ContextVar[bool] = ContextVar("single precision", default=False)


@contextmanager
def single_precision() -> Iterator[None]:
    """Models that this thread calls compute in single precision meanwhile: for answers that others compare closely."""
    token = _SINGLE.set(True)
    try:
        yield
    finally:
        _SINGLE.reset(token)


_threads_lock = threading.Lock()
_threads = {"inside": 0, "before": 1}


@contextmanager
def one_thread() -> Iterator[None]:
    """This Python thread computes alone meanwhile; torch's number of threads is as before afterwards."""
    current = torch.get_num_threads()  # and torch will not set this thread's number later, in mid-flight
    with _threads_lock:
        if _threads["inside"] == 0:
            _threads["before"] = current
        _threads["inside"] += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _threads_lock:
            _threads["inside"] -= 1
            torch.set_num_threads(_threads["before"])


def _pieces(batch: np.ndarray, seeds: list[int], limit: int) -> Iterator[tuple[np.ndarray, list[int], int]]:
    """Parts of exactly ``limit`` tiles with their seeds, and how many of them count."""
    seeds = seeds[: len(batch)] + [0] * (len(batch) - len(seeds))
    for start in range(0, len(batch), limit):
        part, drawn = batch[start : start + limit], seeds[start : start + limit]
        count = len(part)
        if count < limit:
            part = np.concatenate([part, np.repeat(part[-1:], limit - count, axis=0)])
            drawn = drawn + drawn[-1:] * (limit - count)
        yield part, drawn, count
