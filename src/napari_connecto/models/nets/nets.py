"""Networks from the JSON of a card: (n, c, z, y, x) in, one logit map per output out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError, out_of_memory
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import ModelCard
from napari_connecto.models.nets.blur import Blur, blurred
from napari_connecto.models.nets.bounds import encoder_name, few_weights
from napari_connecto.models.nets.dropout import seeded_dropout
from napari_connecto.models.nets.narrow import KEY as NARROW
from napari_connecto.models.nets.narrow import narrowed
from napari_connecto.models.nets.routed import KEY as EXPERTS
from napari_connecto.models.nets.routed import routed
from napari_connecto.models.nets.subpixel import KEY as FOLD
from napari_connecto.models.nets.subpixel import Exact, SubPixel, fold_of

KINDS = ("scorer", "unet", "smp")
BOUNDS = {"width": (1, 4096), "depth": (1, 8), "residual": (0, 8), "stride": (1, 256), "strides": (1, 256)}
BOUNDS[FOLD] = (1, 8)
"""Allowed range of the integers that define a network."""


def build(network: Mapping[str, Any], channels: int, n_outputs: int, *, context: int = 0) -> nn.Module:
    """A freshly initialised network (torch's global seed decides the values).

    Parameters
    ----------
    network
        ``{"kind": "scorer", "dims", "width", "stride"}``: strided convolutions and a 1x1 head, one score per
        ``stride`` voxels; ``{"kind": "unet", "dims", "width", "depth", "strides"}``: MONAI's U-Net with batch norm,
        ``strides`` one (z, y, x) per step down, ``dropout`` a share of channels, ``blur`` see `Blur`, ``fold`` (3-D)
        voxels per cell on which it computes, see `SubPixel`;
        ``{"kind": "smp", "encoder", "depth", "width"}``: a 2-D segmentation_models_pytorch U-Net without pretrained
        weights and without the layers beyond its depth.
        ``"half": true`` of any kind: the weights are numbers of half precision, see `to_bytes`; ``"narrow"``: layers
        with fewer channels, see `narrowed`; ``"experts"``: layers with several sets of weights, see `routed`.
    channels, n_outputs
        Of the image, and maps wanted.
    context
        2-D networks only: sections on each side that become channels (2.5-D).

    Raises
    ------
    ModelError
        If the kind is unknown, a value is missing or the network cannot be made of them.
    """
    _check(network)
    kind, dims = network["kind"], dimensions(network)
    if dims == 3 and context:
        raise ModelError(f"got {context} sections of context for a 3-D network; context is for dims=2")
    inputs = channels * (2 * context + 1)
    make = {"scorer": _scorer, "unet": _unet, "smp": _smp}[kind]
    try:
        with few_weights():
            net = make(network, dims, inputs, n_outputs)
            net = routed(narrowed(net, network.get(NARROW, {})), network.get(EXPERTS, {}))
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, AssertionError) as error:
        if out_of_memory(error):
            raise
        raise ModelError(f"got network {dict(network)}, which cannot be built: {error}; correct the card") from error
    return Sections(net, context) if dims == 2 else net


def _check(network: Mapping[str, Any]) -> None:
    if network.get("kind") not in KINDS:
        raise ModelError(f"got network kind {network.get('kind')!r}; known: {', '.join(KINDS)}")
    for key, (low, high) in BOUNDS.items():
        numbers = list(_flat(network.get(key) or []))
        if len(numbers) > 3 * BOUNDS["depth"][1] or not all(isinstance(n, int) and low <= n <= high for n in numbers):
            raise ModelError(f"got a network of {key} {network[key]!r}; allowed: {low} to {high}: correct the card")


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value


def dimensions(network: Mapping[str, Any]) -> int:
    """2 or 3."""
    dims = 2 if network.get("kind") == "smp" else network.get("dims", 3)
    if dims not in (2, 3):
        raise ModelError(f"got a network of {dims!r} dimensions; allowed: 2, 3")
    return int(dims)


def output_stride(network: Mapping[str, Any]) -> Vec3:
    """Input voxels per output voxel, (z, y, x)."""
    return vec3(network["stride"]) if network.get("kind") == "scorer" else (1, 1, 1)


def divisor(network: Mapping[str, Any]) -> Vec3:
    """Input extents must be multiples of this, and tiles too, so that every tile sees the same grid."""
    if network.get("kind") == "scorer":
        return vec3(network["stride"])
    if network.get("kind") == "smp":
        step = 2 ** int(network.get("depth", 3))
        return (1, step, step)
    steps = [*_unet_strides(network, 3), fold_of(network)]
    return vec3([prod(s[axis] for s in steps) for axis in range(3)])


def check_card(card: ModelCard) -> None:
    """Raise `ModelError` unless tile, halo, stride and trim of a card fit its network."""
    network = card.network
    _check(network)
    try:
        step, stride = divisor(network), output_stride(network)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"got network {dict(network)}: {error!r}; correct the card") from error
    flat = dimensions(network) == 2
    trimmed = (card.halo[0], 0, 0) if flat else (0, 0, 0)
    for output in card.outputs:
        if output.stride != stride or output.trimmed != trimmed:
            raise ModelError(
                f"output '{output.name}' says stride {output.stride}, trimmed {output.trimmed}; "
                f"this network gives {stride} and {trimmed}"
            )
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    for axis in (1, 2) if flat else (0, 1, 2):
        if card.tile[axis] % step[axis] or read[axis] % step[axis] or card.halo[axis] % stride[axis]:
            raise ModelError(
                f"got tile {card.tile} and halo {card.halo}; tile and tile + 2 halo must be multiples of {step}, "
                f"the halo of {stride} (z, y, x)"
            )


class Sections(nn.Module):
    """A 2-D network on every section of a volume, with ``context`` neighbours on each side as channels."""

    def __init__(self, net: nn.Module, context: int) -> None:
        super().__init__()
        self.net = net
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, z, y, x) to (n, k, z - 2 * context, y, x)."""
        n, c, z, height, width = x.shape
        own = z - 2 * self.context
        shifted = [x[:, :, i : i + own] for i in range(2 * self.context + 1)]
        flat = torch.stack(shifted, dim=2).permute(0, 3, 1, 2, 4, 5)
        flat = flat.reshape(n * own, c * len(shifted), height, width)
        y = self.net(flat.contiguous(memory_format=torch.channels_last))
        return y.reshape(n, own, *y.shape[1:]).transpose(1, 2)


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(dims, width, width, 1), *_conv(dims, width, width, 1)[:2])
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.act(x + self.body(x))


def _conv(dims: int, n_in: int, n_out: int, stride: int | Sequence[int]) -> list[nn.Module]:
    """Convolution, batch norm, ReLU; cell i of the answer is centred on its own input voxels.

    Even strides take a kernel of stride + 2 (MONAI's and ResNet's kernel of 3 is off by half a voxel per step).
    """
    strides = [stride] * dims if isinstance(stride, int) else list(stride)
    kernel = [s + 2 if s in (1, 2) else s for s in strides]
    padding = [1 if s in (1, 2) else 0 for s in strides]
    conv: type[nn.Module] = nn.Conv2d if dims == 2 else nn.Conv3d
    norm: type[nn.Module] = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    return [conv(n_in, n_out, kernel, stride=strides, padding=padding, bias=False), norm(n_out), nn.ReLU()]


def _scorer(network: Mapping[str, Any], dims: int, inputs: int, outputs: int) -> nn.Module:
    width = int(network.get("width", 8))
    factors = [_factors(s) for s in vec3(network["stride"])[-dims:]]
    if dims == 2 and vec3(network["stride"])[0] != 1:
        raise ValueError("a 2-D scorer has stride 1 in z")
    depth = max(1, *(len(f) for f in factors))
    # axes of small stride wait: thick z sections are merged last, once y and x are as coarse
    steps = zip(*([1] * (depth - len(f)) + f for f in factors), strict=True)
    layers: list[nn.Module] = []
    before = inputs
    for i, step in enumerate(steps):
        after = width * 2 ** min(i, 3)
        layers += _conv(dims, before, after, step)
        before = after
    head = (nn.Conv2d if dims == 2 else nn.Conv3d)(before, outputs, 1)
    if head.bias is not None:
        nn.init.constant_(head.bias, -2.0)  # objects are rare: start from a low score (Lin et al., arXiv 1708.02002)
    return nn.Sequential(*layers, Residual(dims, before), head)


def _factors(number: int) -> list[int]:
    """Prime factors, smallest first: 12 -> [2, 2, 3]."""
    found, p = [], 2
    while number > 1:
        while number % p == 0:
            found.append(p)
            number //= p
        p += 1
    return found


def _unet_strides(network: Mapping[str, Any], dims: int) -> list[tuple[int, ...]]:
    """(z, y, x) of each step down, or (y, x) for ``dims`` 2."""
    depth = int(network.get("depth", 3))
    flat = dimensions(network) == 2
    steps = network.get("strides") or [[1, 2, 2] if flat else [2, 2, 2]] * (depth - 1)
    if len(steps) != depth - 1:
        raise ValueError(f"depth {depth} needs {depth - 1} strides, got {len(steps)}")
    return [tuple(vec3(s))[-dims:] for s in steps]


def _unet(network: Mapping[str, Any], dims: int, inputs: int, outputs: int) -> nn.Module:
    cell = fold_of(network)
    if dims == 2 and prod(cell) > 1:
        raise ValueError("cells of voxels (fold) are for dims=3")
    folded = prod(cell) > 1
    body = _unet_body(network, dims, inputs * prod(cell))
    width = int(network.get("width", 8))
    head: nn.Module = (nn.Conv2d if dims == 2 else nn.Conv3d)(width, outputs * prod(cell), 1)
    net = nn.Sequential(blurred(body) if network.get("blur") else body, nn.ReLU(), Exact(head) if folded else head)
    return SubPixel(net, cell, Blur(cell)) if folded else net


def _unet_body(network: Mapping[str, Any], dims: int, inputs: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of its own imports
        from monai.networks.nets import UNet  # 5 s the first time: only who asks for a U-Net pays

    width, depth = int(network.get("width", 8)), int(network.get("depth", 3))
    net = UNet(
        spatial_dims=dims,
        in_channels=inputs,
        out_channels=width,  # the last step up is as wide as the first down, not as narrow as the answer
        channels=[width * 2**i for i in range(depth)],
        strides=_unet_strides(network, dims),  # type: ignore[arg-type]
        num_res_units=int(network.get("residual", 1)),
        norm="batch",
        act="relu",
        dropout=float(network.get("dropout", 0.0)),
    )
    return seeded_dropout(net)


def _smp(network: Mapping[str, Any], dims: int, inputs: int, outputs: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import segmentation_models_pytorch as smp

    depth, width = int(network.get("depth", 3)), int(network.get("width", 16))
    net = smp.Unet(
        encoder_name=encoder_name(network.get("encoder", "resnet18")),
        encoder_depth=depth,
        encoder_weights=None,
        decoder_channels=[width * 2**i for i in reversed(range(depth))],
        in_channels=inputs,
        classes=outputs,
    )
    return _without_idle(net, torch.ones(1, inputs, 2 * 2**depth, 2 * 2**depth))


@torch.enable_grad()
def _without_idle(net: nn.Module, x: Tensor) -> nn.Module:
    """``net`` less the layers that its answer does not depend on.

    smp makes an encoder whole whatever its depth: of a ResNet-18 of depth 4, 8.4 of 12 million weights do nothing.
    """
    net.eval()(x).sum().backward()
    idle = [name for name, module in net.named_modules() if _idle(module)]
    for name in idle:
        if name.rpartition(".")[0] not in idle:  # its parent goes, and it too
            net.set_submodule(name, nn.Identity())
    net.zero_grad(set_to_none=True)
    return net.train()


def _idle(module: nn.Module) -> bool:
    weights = list(module.parameters())
    return bool(weights) and all(weight.grad is None for weight in weights)
