"""Which weights are trained, and how a model is made from them."""

from __future__ import annotations

from copy import deepcopy
from math import prod
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_connecto.models.inference.predictor import TorchPredictor, skeleton
from napari_connecto.models.nets.fold import CONVS, NORMS
from napari_connecto.models.nets.nets import dimensions
from napari_connecto.models.nets.weights import fill_weights
from napari_connecto.models.transfer.adapter import Adapter, merge, parse_adapter
from napari_connecto.models.transfer.encoder import encoder_parts

Part = Literal["all", "decoder", "adapter"]


class Learner(Protocol):
    """A network in training."""

    net: nn.Module

    def model(self) -> TorchPredictor:
        """The trained weights, as they will be saved."""

    def pack(self, model: TorchPredictor) -> bytes:
        """One of its models as bytes."""

    def unpack(self, data: bytes) -> TorchPredictor:
        """The inverse of `pack`."""


def learner(model: TorchPredictor, part: Part, *, rank: int, seed: int) -> Learner:
    """A copy of a model's network of which this part learns."""
    return (
        LowRankLearner(model, rank, seed) if part == "adapter" else WholeLearner(model, decoder_only=part == "decoder")
    )


class WholeLearner:
    """All weights are trained; with ``decoder_only`` those of the encoder and its batch norm are frozen."""

    def __init__(self, model: TorchPredictor, *, decoder_only: bool = False) -> None:
        self.start = model
        self.net = _copy(model).train()
        for part in encoder_parts(self.net, model.card.network) if decoder_only else []:
            part.eval().requires_grad_(False)

    def model(self) -> TorchPredictor:
        """See `Learner`."""
        return TorchPredictor(self.start.card, self.net, str(self.start.device))

    def pack(self, model: TorchPredictor) -> bytes:
        """See `Learner`."""
        return model.weights

    def unpack(self, data: bytes) -> TorchPredictor:
        """See `Learner`."""
        net = skeleton(self.start.card)
        fill_weights(net, data)
        return TorchPredictor(self.start.card, net, str(self.start.device))


class LowRankLearner:
    """Low-rank changes of all convolutions are trained, with biases and batch norm's factors, not its statistics."""

    scale = 1.0

    def __init__(self, model: TorchPredictor, rank: int, seed: int) -> None:
        self.start = model
        self.net = _copy(model).train()
        generator = torch.Generator().manual_seed(seed)
        for module in [m for m in self.net.modules() if isinstance(m, CONVS)]:
            module.weight.requires_grad_(False)
            change = LowRank(module.weight, rank, self.scale, generator)
            parametrize.register_parametrization(module, "weight", change, unsafe=True)
        for norm in [m for m in self.net.modules() if isinstance(m, NORMS)]:
            norm.eval()

    def adapter(self) -> Adapter:
        """What has been learnt."""
        up, down, new, old = {}, {}, {}, {}
        for name, module in self.net.named_modules():
            if isinstance(module, LowRank):
                weight = name.replace(".parametrizations.weight.0", ".weight")
                up[weight], down[weight] = (t.detach().cpu().half() for t in (module.up, module.down))
        learnt = self.net.state_dict()
        for name, before in self.start.net.state_dict().items():
            if before.is_floating_point() and before.dim() < 2 and not torch.equal(learnt[name].cpu(), before):
                new[name], old[name] = learnt[name].detach().cpu().clone(), before.clone()
        return Adapter(self.start.card, self.scale, up, down, new, old)

    def model(self) -> TorchPredictor:
        """See `Learner`."""
        return merge(self.start, self.adapter())

    def pack(self, model: TorchPredictor) -> bytes:
        """See `Learner`."""
        assert model.adapter is not None
        return model.adapter.to_bytes()

    def unpack(self, data: bytes) -> TorchPredictor:
        """See `Learner`."""
        return merge(self.start, parse_adapter(data))


class LowRank(nn.Module):
    """A weight plus ``scale * up @ down``, nothing at first; a rank beyond the weight's own would be of no use."""

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape[0], prod(weight.shape[1:])
        rank = min(rank, rows, columns)
        down = (2 * torch.rand(rank, columns, generator=generator) - 1) / columns**0.5
        self.scale = scale
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Same shape."""
        return weight + self.scale * (self.up @ self.down).reshape(weight.shape)


def _copy(model: TorchPredictor) -> nn.Module:
    layout = torch.channels_last if dimensions(model.card.network) == 2 else torch.channels_last_3d
    return deepcopy(model.net).to(model.device).to(memory_format=layout)
