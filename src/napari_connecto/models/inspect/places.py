"""Where a network's activations can be taken: encoder stages, skip inputs of the decoder, decoder blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.models.nets.nets import Residual, Sections

Kind: TypeAlias = Literal["encoder", "skip", "decoder"]
Found: TypeAlias = tuple[str, Kind, str, int | None]
"""Name, kind, path of the module that is hooked, and which of its inputs (None: its output)."""


@dataclass(frozen=True)
class Tap:
    """A named place in a network.

    Parameters
    ----------
    name
        "encoder.1" (finest) to "encoder.n" (deepest); "skip.i" is what the decoder reads of stage i, so a change there
        does not reach deeper stages; "decoder.1" (deepest) to "decoder.n" (finest).
    kind
        "encoder", "skip" or "decoder".
    channels
        Of its activations (n, channels, [z,] y, x).
    stride
        Input voxels per value, (z, y, x).
    module
        Path of the module whose output, or input, this is.
    entry
        Of a skip: its index in the decoder's list of features, or -1 where a module joins it to what comes from below.
        None for outputs.
    """

    name: str
    kind: Kind
    channels: int
    stride: Vec3
    module: str
    entry: int | None = None


def find_taps(net: nn.Module, example: Tensor) -> dict[str, Tap]:
    """The places of a network by name, in the order of computation.

    Parameters
    ----------
    net
        Of `napari_connecto.models.nets.nets.build`, an smp U-Net or a MONAI U-Net, in evaluation mode.
    example
        Small input that it accepts, (n, c, [z,] y, x).

    Raises
    ------
    ModelError
        If it is a network of another kind.
    """
    prefix, inner = ("net.", net.net) if isinstance(net, Sections) else ("", net)
    found = [(name, kind, prefix + path, entry) for name, kind, path, entry in _places(net, inner, example)]
    shapes: dict[str, tuple[int, ...]] = {}
    with _shapes(net, found, shapes), torch.no_grad():
        net(example)
    size = tuple(example.shape[2:])
    return {place[0]: _tap(place, shapes[place[0]], size) for place in found}


def _places(net: nn.Module, inner: nn.Module, example: Tensor) -> list[Found]:
    if isinstance(getattr(inner, "encoder", None), nn.Module) and hasattr(getattr(inner, "decoder", None), "blocks"):
        return _of_smp(net, inner, example)
    if isinstance(inner, nn.Sequential) and _nested(inner[0]):
        return list(_of_monai(inner.get_submodule("0.model"), "0.model"))
    if _nested(inner):
        return list(_of_monai(inner.get_submodule("model"), "model"))
    if isinstance(inner, nn.Sequential) and any(isinstance(part, Residual) for part in inner):
        ends = [i for i, part in enumerate(inner) if isinstance(part, nn.ReLU | Residual)]
        return [(f"encoder.{n}", "encoder", str(i), None) for n, i in enumerate(ends, 1)]
    raise ModelError(
        f"got a {type(inner).__name__}, whose stages are unknown; networks that can be inspected: native models, "
        "U-Nets of segmentation_models_pytorch and MONAI"
    )


def _nested(module: nn.Module) -> bool:
    """Whether this is MONAI's U-Net: down, what is below it, up."""
    body = getattr(module, "model", None)
    return isinstance(body, nn.Sequential) and len(body) == 3 and hasattr(body[1], "submodule")


def _of_monai(body: nn.Module, path: str, depth: int = 1) -> Iterator[Found]:
    if not (isinstance(body, nn.Sequential) and len(body) == 3 and hasattr(body[1], "submodule")):
        yield f"encoder.{depth}", "encoder", path, None
        return
    yield f"encoder.{depth}", "encoder", f"{path}.0", None
    below = list(_of_monai(body[1].get_submodule("submodule"), f"{path}.1.submodule", depth + 1))
    yield from below
    yield f"skip.{depth}", "skip", f"{path}.1", -1
    blocks = sum(kind == "decoder" for _, kind, *_ in below)
    yield f"decoder.{blocks + 1}", "decoder", f"{path}.2", None


def _of_smp(net: nn.Module, inner: nn.Module, example: Tensor) -> list[Found]:
    """Encoder stages where a module gives that very tensor; what the decoder does not read is left out."""
    encoder, decoder = inner.get_submodule("encoder"), inner.get_submodule("decoder")
    makers: dict[int, str] = {}
    features: list[Tensor] = []
    kept: list[Tensor] = []  # an id is reused once its tensor is gone

    def made(name: str) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not isinstance(module, nn.Identity):
                makers[id(output)] = name
                kept.append(output)

        return hook

    hooks = [module.register_forward_hook(made(f"encoder.{name}")) for name, module in encoder.named_modules() if name]
    hooks.append(encoder.register_forward_hook(lambda _m, _i, output: features.extend(output)))
    try:
        with torch.no_grad():
            net(example)
    finally:
        for handle in hooks:
            handle.remove()
    stages = [i for i, feature in enumerate(features) if i > 0 and feature.shape[1] > 0]
    found: list[Found] = [
        (f"encoder.{i}", "encoder", makers[id(features[i])], None) for i in stages if id(features[i]) in makers
    ]
    found += [(f"skip.{i}", "skip", "decoder", i) for i in stages[:-1]]
    blocks = range(len(decoder.get_submodule("blocks")))  # type: ignore[arg-type]
    return found + [(f"decoder.{i + 1}", "decoder", f"decoder.blocks.{i}", None) for i in blocks]


@contextmanager
def _shapes(net: nn.Module, found: list[Found], shapes: dict[str, tuple[int, ...]]) -> Iterator[None]:
    hooks = []
    for name, _, path, entry in found:
        module = net.get_submodule(path)

        def output(_m: Any, _i: Any, y: Tensor, name: str = name) -> None:
            shapes[name] = tuple(y.shape)

        def inputs(_m: Any, given: Any, name: str = name, entry: int | None = entry) -> None:
            shapes[name] = tuple(given[0].shape if entry == -1 else given[0][entry].shape)

        take = module.register_forward_hook(output) if entry is None else module.register_forward_pre_hook(inputs)
        hooks.append(take)
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _tap(place: Found, shape: tuple[int, ...], size: tuple[int, ...]) -> Tap:
    name, kind, path, entry = place
    spatial = shape[2:]
    size = size[-len(spatial) :]  # a network of sections has no z
    stride = [round(n / m) for n, m in zip(size, spatial, strict=True)]
    return Tap(name, kind, shape[1], vec3([1] * (3 - len(stride)) + stride), path, entry)
