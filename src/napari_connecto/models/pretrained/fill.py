"""Put published weights into the encoder of a network, whatever its depth and its number of input channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
    constants = []
    for name, convolution, norm in _stems(encoder):
        stem = f"{name}.weight"
        if stem in found and found[stem].shape == _with_colours(own[stem].shape):
            found[stem], constant = _for_channels(found[stem].float(), convolution.in_channels, colours)
            constants.append((convolution, norm, constant))
    for key, tensor in found.items():
        if tensor.shape != own[key].shape:
            raise ModelError(
                f"tensor '{key}' of {where} has shape {tuple(tensor.shape)}, this encoder needs "
                f"{tuple(own[key].shape)}; give the encoder it was made for"
            )
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"tensor '{key}' of {where} holds NaN or infinity; use another file of weights")
    filled = {key: tensor.to(own[key].dtype) for key, tensor in found.items()}
    encoder.load_state_dict({**encoder.state_dict(), **filled})
    for convolution, norm, constant in constants:
        _subtract(convolution, norm, constant)
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


@torch.no_grad()
def _stems(encoder: nn.Module) -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]]:
    """The convolutions that take the image, mostly one, each with its name and the batch norm that follows it.

    Where the image is padded first, none takes it as it is; then it is the one that is called first.
    """
    names = {module: name for name, module in encoder.named_modules()}
    convolutions = [module for module in names if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return []
    norms = [module for module in names if isinstance(module, nn.BatchNorm2d)]
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda called, given, answer: calls.append((called, given[0], answer)))
        for module in (*convolutions, *norms)
    ]
    image, before = torch.zeros(1, convolutions[0].in_channels, 64, 64), encoder.training
    encoder.eval()(image)
    encoder.train(before)
    for hook in hooks:
        hook.remove()
    after = {id(given): called for called, given, _ in calls if isinstance(called, nn.BatchNorm2d)}
    called_first = [call for call in calls if isinstance(call[0], nn.Conv2d)]
    stems = [call for call in called_first if call[1] is image] or called_first[:1]
    return [(names[called], called, after.get(id(answer))) for called, _, answer in stems]  # type: ignore[misc]


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
def _subtract(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, constant: Tensor) -> None:
    """Subtract a constant per channel from what a convolution gives, in its bias or in the batch norm that follows.

    Where neither is there it is left out, as a layer that normalises otherwise does with it anyway.
    """
    if convolution.bias is not None:
        convolution.bias -= constant
    elif norm is not None and norm.running_mean is not None:
        norm.running_mean += constant
