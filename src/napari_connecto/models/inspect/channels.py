"""Which channels of a network belong together: what one convolution gives, norms scale and others read.

Followed in one forward pass: each tensor carries the names of its channels, sums and products join names, and
concatenation chains them. What is not known to keep channels apart holds its channels: they are never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_connecto.models.nets.fold import CONVS, NORMS

Side: TypeAlias = Literal["in", "out", "norm"]
Place: TypeAlias = tuple[str, Side, int]
"""Layer, side and number of a channel."""
SUMS = (
    "add",
    "add_",
    "__add__",
    "__radd__",
    "__iadd__",
    "sub",
    "__sub__",
    "mul",
    "mul_",
    "__mul__",
    "__rmul__",
    "__imul__",
)
ACTIVATIONS = (
    "relu",
    "relu_",
    "relu6",
    "silu",
    "gelu",
    "elu",
    "leaky_relu",
    "hardswish",
    "hardtanh",
    "mish",
    "sigmoid",
    "tanh",
)
POOLS = ("max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
OTHERS = ("interpolate", "upsample", "dropout", "dropout2d", "dropout3d", "contiguous", "clone", "float")
KEEPS = frozenset((*SUMS, *ACTIVATIONS, *POOLS, *OTHERS))
"""Functions whose channel i depends on channel i of their inputs alone."""


@dataclass(frozen=True)
class Channel:
    """A channel that can be removed, wherever it appears.

    Parameters
    ----------
    places
        Every layer, side and number it has.
    """

    places: tuple[Place, ...]

    @property
    def makers(self) -> tuple[Place, ...]:
        """Where it comes from: outputs of convolutions."""
        return tuple(p for p in self.places if p[1] == "out")


def removable(net: nn.Module, x: Tensor) -> list[list[Channel]]:
    """Channels that may be removed, in bundles made by the same convolutions.

    Parameters
    ----------
    net
        Any network of convolutions; in evaluation mode it is run once.
    x
        An input of it, (n, c, [z,] y, x).

    Returns
    -------
    list of list of Channel
        Bundles in the order of the network. Channels of its input and output are in none.
    """
    trace = _Trace(net)
    was = net.training
    with torch.inference_mode(), trace:
        trace.name(x, trace.hold(x.shape[1]))
        out = net.eval()(x)
    net.train(was)
    for tensor in _tensors(out):
        trace.fix(tensor)
    bundles: dict[tuple[str, ...], list[Channel]] = {}
    for places in trace.groups():
        channel = Channel(tuple(places))
        key = tuple(dict.fromkeys(name for name, _, _ in channel.makers))
        bundles.setdefault(key, []).append(channel)
    return list(bundles.values())


class _Trace(TorchFunctionMode):
    """Names of channels by tensor; names that must stay together are joined."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        layers = [(n, m) for n, m in net.named_modules() if isinstance(m, CONVS + NORMS)]
        self.layers = {id(m.weight): (n, m) for n, m in layers if m.weight is not None}
        self.parent: list[int] = []
        self.held: set[int] = set()
        self.names: dict[int, tuple[Tensor, list[int]]] = {}  # holding the tensor keeps its id from being used again
        self.places: dict[Place, int] = {}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [t for t in _tensors([*args, *kwargs.values()]) if id(t) in self.names]
        made = [t for t in _tensors(out) if t.dim() >= 1]
        if given and made:
            self._see(func, args, kwargs, given, made)
        return out

    def _see(self, func: Any, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor]) -> None:
        layer = next((self.layers[id(t)] for t in _tensors([*args, *kwargs.values()]) if id(t) in self.layers), None)
        what = getattr(func, "__name__", "")
        if len(made) == 1 and layer is not None and len(given) == 1:
            self._through(*layer, given[0], made[0])
        elif len(made) == 1 and what in ("cat", "concat") and _axis(args, kwargs, made[0].dim()) == 1:
            parts = [self._own(t) for t in _tensors(args[0] if args else kwargs["tensors"])]
            self.name(made[0], [name for part in parts for name in part])
        elif len(made) == 1 and what in KEEPS | {"cat", "concat"} and self._alike(given, made[0]):
            self.name(made[0], self._joined([self._own(t) for t in given]))
        else:
            for tensor in given:
                self.fix(tensor)
            for tensor in made:
                self.name(tensor, self.hold(tensor.shape[1] if tensor.dim() > 1 else 1))

    def _through(self, name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        """Of a convolution or norm."""
        if isinstance(layer, NORMS):
            self.name(y, self._placed(name, "norm", self._own(x)))
            return
        self._placed(name, "in", self._own(x))
        self.name(y, self._placed(name, "out", self._fresh(y.shape[1])))
        if getattr(layer, "groups", 1) != 1:
            self.fix(x)
            self.fix(y)

    def _alike(self, given: list[Tensor], made: Tensor) -> bool:
        return all(t.dim() == made.dim() and t.shape[1] == made.shape[1] for t in given)

    def _placed(self, name: str, side: Side, channels: list[int]) -> list[int]:
        for i, channel in enumerate(channels):
            before = self.places.setdefault((name, side, i), channel)
            self._join(before, channel)
        return channels

    def _joined(self, parts: list[list[int]]) -> list[int]:
        for part in parts[1:]:
            for a, b in zip(parts[0], part, strict=True):
                self._join(a, b)
        return parts[0]

    def _own(self, tensor: Tensor) -> list[int]:
        """Names of a tensor; of one that comes from nowhere, held ones."""
        if id(tensor) not in self.names:
            self.name(tensor, self.hold(tensor.shape[1]))
        return self.names[id(tensor)][1]

    def name(self, tensor: Tensor, channels: list[int]) -> None:
        """Say what a tensor's channels are called."""
        self.names[id(tensor)] = (tensor, channels)

    def fix(self, tensor: Tensor) -> None:
        """Its channels stay."""
        self.held.update(self.names[id(tensor)][1] if id(tensor) in self.names else ())

    def hold(self, count: int) -> list[int]:
        """New names that stay."""
        channels = self._fresh(count)
        self.held.update(channels)
        return channels

    def _fresh(self, count: int) -> list[int]:
        self.parent.extend(range(len(self.parent), len(self.parent) + count))
        return list(range(len(self.parent) - count, len(self.parent)))

    def _root(self, channel: int) -> int:
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = self.parent[channel]
        return channel

    def _join(self, a: int, b: int) -> None:
        self.parent[self._root(b)] = self._root(a)

    def groups(self) -> list[list[Place]]:
        """Places of each channel that may be removed."""
        held, found = {self._root(c) for c in self.held}, dict[int, list[Place]]()
        for place, channel in self.places.items():
            root = self._root(channel)
            if root not in held:
                found.setdefault(root, []).append(place)
        return list(found.values())


def _tensors(values: Any) -> list[Tensor]:
    return list(_walk(values))


def _walk(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _walk(list(values.values()))
    elif isinstance(values, Sequence) and not isinstance(values, str | torch.Size):
        for value in values:
            yield from _walk(value)


def _axis(args: Sequence[Any], kwargs: Mapping[str, Any], dims: int) -> int:
    axis = int(kwargs.get("dim", args[1] if len(args) > 1 else 0))
    return axis % dims
