"""Feature vector of a patch: a network's deepest activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import example, one_thread
from napari_connecto.models.nets.fold import folded
from napari_connecto.models.nets.nets import Sections
from napari_connecto.models.nets.subpixel import SubPixel

BATCH = 16


def encoder_parts(net: nn.Module, network: Mapping[str, Any]) -> list[nn.Module]:
    """The modules of a network's way down, outermost first; applied in turn they give its deepest activations.

    Parameters
    ----------
    net
        As `napari_connecto.models.nets.nets.build` made it.
    network
        Of its card.

    Raises
    ------
    ModelError
        If a network of this kind has no way down.
    """
    if isinstance(net, SubPixel):
        return [net.fold, *encoder_parts(net.net, network)]
    inner = net.net if isinstance(net, Sections) else net
    kind = network.get("kind")
    if kind == "smp":
        return [inner.get_submodule("encoder")]
    if kind == "scorer":
        return list(inner.children())[:-2]
    if kind != "unet":
        raise ModelError(f"got a network of kind {kind!r}, which has no encoder; allowed: smp, unet, scorer")
    parts: list[nn.Module] = []
    here = inner.get_submodule("0.model")  # MONAI nests: down, what is below it, up
    while isinstance(here, nn.Sequential):
        parts.append(here[0])
        here = here[1].get_submodule("submodule")
    return [*parts, here]


class TorchEncoder:
    """Vectors of patches: mean and standard deviation over space of the deepest encoder activations.

    The means alone are the features of Sawmya et al. (arXiv 2503.06196, "the U-Net's last down-projection layer");
    the standard deviations beside them distinguish texture from brightness.

    Parameters
    ----------
    model
        Any native model that can be trained; it computes on the model's device.

    Attributes
    ----------
    card : ModelCard
        The model's.
    dim : int
        Length of a vector: twice the channels of the deepest activations.

    Notes
    -----
    On the CPU every call computes on one thread, and at most 16 patches at a time: the vector of a patch depends
    neither on the machine's cores nor on the patches beside it by more than rounding. `pickle` takes the model.
    """

    def __init__(self, model: Predictor) -> None:
        self.model = torch_model(model)
        self.card: ModelCard = self.model.card
        net = self.model.net
        deepest: nn.Module = _Chain(encoder_parts(net, self.card.network))
        if isinstance(net, Sections):
            deepest = Sections(deepest, net.context)
        small = example(self.card)
        self._net = folded(deepest, small).to(self.model.device)
        with torch.inference_mode():
            self.dim = 2 * int(self._net(small.to(self.model.device)).shape[1])

    def __reduce__(self) -> tuple[Callable[[Predictor], TorchEncoder], tuple[Predictor]]:
        return TorchEncoder, (self.model,)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Vectors (n, dim) float32 of patches (n, c, z, y, x) float32, scaled as the card says.

        Raises
        ------
        InputError
            If the batch has another shape than (n, channels of the card, z, y, x).
        """
        if batch.ndim != 5 or batch.shape[1] != self.card.channels:
            raise InputError(f"got patches of shape {batch.shape}; need (n, {self.card.channels}, z, y, x)")
        parts = [self._vectors(batch[i : i + BATCH]) for i in range(0, len(batch), BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def _vectors(self, batch: np.ndarray) -> np.ndarray:
        device = self.model.device
        x = torch.from_numpy(np.ascontiguousarray(batch, np.float32))
        with one_thread() if device.type == "cpu" else nullcontext(), torch.inference_mode():
            deep = self._net(x.to(device)).float().flatten(2)
            return torch.cat([deep.mean(2), deep.std(2, correction=0)], dim=1).cpu().numpy()


class _Chain(nn.Module):
    """Modules in turn; of one that gives its activations at every depth, the last."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Activations (n, channels, ...)."""
        for part in self.parts:
            y = part(x)
            x = y[-1] if isinstance(y, list | tuple) else y
        return x
