"""Put published weights into the encoder of a network, whatever its depth and its number of input channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError

LEAST_SHARE = 0.5
"""Of an encoder's tensors that a file must hold to be taken for that encoder's."""
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Colours:
    """How published weights want their three colours, and whether the image has them.

    Parameters
    ----------
    mean, std
        Subtracted from, then divided into colours in 0..1.
    rgb
        The image has three channels, red, green and blue; else every channel counts as grey.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool = False


def fill_encoder(encoder: nn.Module, tensors: Mapping[str, Tensor], colours: Colours, where: str) -> list[str]:
    """Fill an encoder in place; what a file holds beyond the encoder's depth is not needed.

    The first convolution is made for the encoder's input: a grey image gives the features that the same image as red,
    green and blue gives, whatever the number of its channels. The normalisation of the published weights is folded into
    that convolution, and the constant of it into the batch norm or the bias that follows, so that the encoder takes
    images in 0..1. This is exact but for a rim as wide as the convolution's padding.

    Parameters
    ----------
    encoder
        Of segmentation_models_pytorch, fresh.
    tensors
        By the names of timm, torchvision or segmentation_models_pytorch; a common prefix does not matter.
    colours
        See `Colours`.
    where
        The file, for messages.

    Returns
    -------
    list of str
        Tensors of the encoder that the file lacks; they keep their random values.

    Raises
    ------
    ModelError
        If they are of another encoder or are not finite; nothing is filled then.
    """
    own = {name: t for name, t in encoder.state_dict().items() if not name.endswith(COUNTER)}
    found = _matched(list(own), tensors)
    if len(found) < LEAST_SHARE * len(own):
        raise ModelError(
            f"{where} holds {len(found)} of the {len(own)} tensors of this encoder; "
            "it belongs to another one: give the encoder it was made for"
        )
    name, convolution = _first_convolution(encoder)
    stem, constant = f"{name}.weight", None
    if stem in found and found[stem].shape == _with_colours(own[stem].shape):
        found[stem], constant = _for_channels(found[stem].float(), convolution.in_channels, colours)
    for key, tensor in found.items():
        if tensor.shape != own[key].shape:
            raise ModelError(
                f"tensor '{key}' of {where} has shape {tuple(tensor.shape)}, this encoder needs "
                f"{tuple(own[key].shape)}; give the encoder it was made for"
            )
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"tensor '{key}' of {where} holds NaN or infinity; it is no sound file of weights")
    filled = {key: tensor.to(own[key].dtype) for key, tensor in found.items()}
    encoder.load_state_dict({**encoder.state_dict(), **filled})
    if constant is not None:
        _subtract(encoder, convolution, constant)
    return sorted(set(own) - set(found))


def _matched(own: list[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file by the encoder's names: apart from a prefix, and from points that became underscores."""
    plain = {_plain(name): tensor for name, tensor in tensors.items()}
    wanted = {name: _plain(name).removeprefix("model.") for name in own}
    first = next(iter(wanted.values()))
    prefixes = {name.removesuffix(first) for name in plain if name.endswith(first)}
    found = ({n: plain[p + w] for n, w in wanted.items() if p + w in plain} for p in sorted(prefixes))
    return max(found, key=len, default={})


def _plain(name: str) -> str:
    """timm calls a stage ``stages.0``, and ``stages_0`` in networks that give features."""
    return re.sub(r"_(\d+)(?=\.)", r".\1", name)


def _first_convolution(encoder: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ModelError(f"the encoder '{type(encoder).__name__}' begins with no convolution; choose another one")


def _with_colours(shape: torch.Size) -> tuple[int, ...]:
    return (shape[0], 3, *shape[2:])


def _for_channels(weight: Tensor, channels: int, colours: Colours) -> tuple[Tensor, Tensor]:
    """Weights (o, 3, y, x) of normalised colours as weights (o, channels, y, x) of values in 0..1, and the constant
    (o,) to subtract from what they give."""
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (colours.mean, colours.std))
    weight = weight / std
    constant = (weight * mean).sum((1, 2, 3))
    if colours.rgb:  # channel by channel, each with its neighbouring sections
        return (weight * 3 / channels).repeat_interleave(channels // 3, dim=1), constant
    return weight.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels, constant


@torch.no_grad()
def _subtract(encoder: nn.Module, convolution: nn.Conv2d, constant: Tensor) -> None:
    """Subtract a constant per channel from what a convolution gives, in its bias or in the batch norm that follows.

    Where neither is there it is left out, as a layer that normalises otherwise does with it anyway.
    """
    if convolution.bias is not None:
        convolution.bias -= constant
        return
    norm = _follower(encoder, convolution)
    if norm is not None and norm.running_mean is not None:
        norm.running_mean += constant


def _follower(encoder: nn.Module, convolution: nn.Conv2d) -> nn.BatchNorm2d | None:
    """The batch norm that takes what a convolution gives."""
    given: list[Any] = []
    taken: list[nn.BatchNorm2d] = []
    hooks = [convolution.register_forward_hook(lambda module, inputs, output: given.append(output))]
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            hook = module.register_forward_pre_hook(
                lambda module, inputs: taken.append(module) if given and inputs[0] is given[0] else None
            )
            hooks.append(hook)
    before = encoder.training
    encoder.eval()(torch.zeros(1, convolution.in_channels, 64, 64))
    encoder.train(before)
    for hook in hooks:
        hook.remove()
    return taken[0] if taken else None
