"""Batch norm folded into the convolution before it: the same function, about a tenth faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

CONVS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def folded(net: nn.Module, example: Tensor) -> nn.Module:
    """A copy of ``net`` in evaluation mode whose batch norms are part of the convolutions they follow.

    Which norm follows which convolution is seen in one pass over ``example``, so any network will do. The copy is
    kept only if it gives the same answer (within 1e-4 of the largest value).
    """
    plain = deepcopy(net).eval()
    pairs: list[tuple[str, str]] = []
    with torch.inference_mode(), _watch(plain, pairs):
        expected = plain(example)
    copy = deepcopy(plain)
    for conv_name, norm_name in pairs:
        conv, norm = copy.get_submodule(conv_name), copy.get_submodule(norm_name)
        weight, bias = fuse_conv_bn_weights(
            conv.weight,  # type: ignore[arg-type]
            conv.bias,  # type: ignore[arg-type]
            norm.running_mean,  # type: ignore[arg-type]
            norm.running_var,  # type: ignore[arg-type]
            norm.eps,  # type: ignore[arg-type]
            norm.weight,  # type: ignore[arg-type]
            norm.bias,  # type: ignore[arg-type]
            transpose=isinstance(conv, nn.ConvTranspose2d | nn.ConvTranspose3d),
        )
        conv.weight, conv.bias = weight, bias
        copy.set_submodule(norm_name, nn.Identity())
    with torch.inference_mode():
        close = torch.allclose(copy(example), expected, atol=1e-4 * float(expected.abs().max()) + 1e-6, rtol=0)
    return copy if close else plain


@contextmanager
def _watch(net: nn.Module, pairs: list[tuple[str, str]]) -> Iterator[None]:
    """Collect (convolution, norm) names whenever a norm gets the very tensor that a convolution gave."""
    given: dict[int, tuple[str, Tensor]] = {}
    uses: dict[str, int] = {}
    hooks = []

    def after_conv(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            given[id(output)] = (name, output)  # holding the tensor keeps its id from being used again
            uses[name] = uses.get(name, 0) + 1

        return hook

    def before_norm(name: str) -> Any:
        def hook(_module: nn.Module, inputs: Any) -> None:
            if id(inputs[0]) in given:
                pairs.append((given[id(inputs[0])][0], name))

        return hook

    for name, module in net.named_modules():
        if isinstance(module, CONVS):
            hooks.append(module.register_forward_hook(after_conv(name)))
        elif isinstance(module, NORMS) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before_norm(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        pairs[:] = [pair for pair in pairs if uses[pair[0]] == 1 and [p[1] for p in pairs].count(pair[1]) == 1]
