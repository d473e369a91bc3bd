"""Native networks as TorchScript, which runs wherever torch does, without this package."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets import nets
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE

TOLERANCE = 1e-5
"""How far the traced network may be off the untraced one at another size, to pass for one of any size."""
LEFT = 32


@dataclass(frozen=True)
class Scripted:
    """An exported network.

    Parameters
    ----------
    weights
        What ``torch.jit.save`` wrote: (b, c, y, x) of a model of single sections, else (b, c, z, y, x), scaled as its
        card says, to the same axes with one channel per output of the card.
    any_size
        Whether it takes any extents that are multiples of what its levels divide by, not only the card's.
    """

    weights: bytes
    any_size: bool


class Answer(nn.Module):
    """What a predictor answers, as one tensor."""

    def __init__(self, model: TorchPredictor) -> None:
        super().__init__()
        self.net = model.net
        self.flat = is_flat(model.card)
        self.probability = model.card.network.get("activation", "sigmoid") == "sigmoid"

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities, or values where the card's network has no activation."""
        y = self.net(x.unsqueeze(2) if self.flat else x)
        y = y.sigmoid() if self.probability else y
        return y.squeeze(2) if self.flat else y


class Ensemble(nn.Module):
    """Mean, aleatoric and epistemic standard deviation of members that give mean and log-variance; see `Mixture`."""

    stated: Tensor
    right: Tensor

    def __init__(self, members: Sequence[nn.Module], knots: tuple[Sequence[float], Sequence[float]] | None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.calibrated = knots is not None
        stated, right = knots or ((1.0,), (1.0,))
        self.register_buffer("stated", torch.tensor(stated, dtype=torch.float32))
        self.register_buffer("right", torch.tensor(right, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1, z, y, x) to (b, 3, z, y, x)."""
        answers = torch.stack([member(x) for member in self.members])
        means, logs = answers[:, :, 0], answers[:, :, 1].clamp(*LOG_VARIANCE_RANGE)
        aleatoric = logs.exp().mean(0).sqrt()
        epistemic = means.var(0, unbiased=False).sqrt()
        factor = self._factor(torch.hypot(aleatoric, epistemic)) if self.calibrated else torch.ones_like(aleatoric)
        return torch.stack([means.mean(0), aleatoric * factor, epistemic * factor], 1)

    def _factor(self, total: Tensor) -> Tensor:
        """By what the total is multiplied: linear between the knots, in proportion beyond them."""
        x, y = self.stated, self.right
        if len(x) == 1:
            return torch.ones_like(total) * (y[0] / x[0])
        after = torch.bucketize(total, x).clamp(1, len(x) - 1)
        share = (total - x[after - 1]) / (x[after] - x[after - 1]).clamp_min(1e-12)
        inside = y[after - 1] + share * (y[after] - y[after - 1])
        right = torch.where(total < x[0], total * (y[0] / x[0]), inside)
        right = torch.where(total > x[-1], total * (y[-1] / x[-1]), right)
        return torch.where(total > 0, right / total.clamp_min(1e-12), torch.ones_like(total))


def scripted(model: Predictor) -> Scripted:
    """A native model as TorchScript.

    Raises
    ------
    ModelError
        If it came from elsewhere, or cannot be traced.
    """
    torch_side = torch_model(model)
    return _traced(Answer(torch_side), torch_side.card)


def scripted_ensemble(
    members: Sequence[Predictor], knots: tuple[Sequence[float], Sequence[float]] | None = None
) -> Scripted:
    """Members with outputs "mean" and "log_variance" as one network that gives mean, aleatoric and epistemic.

    Parameters
    ----------
    members
        At least one, of one card.
    knots
        Stated and right standard deviations of the total, both rising; None leaves it as it is.
    """
    models = [torch_model(member) for member in members]
    return _traced(Ensemble([Answer(model) for model in models], knots), models[0].card)


def is_flat(card: ModelCard) -> bool:
    """Whether it is a model of single sections."""
    return nets.dimensions(card.network) == 2 and card.tile[0] == 1 and card.halo[0] == 0


def _traced(module: nn.Module, card: ModelCard) -> Scripted:
    module = module.cpu().float().eval()
    x, larger = _noise(card, 0), _noise(card, 1)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a trace cannot follow is found by the comparison
        try:
            traced = torch.jit.trace(module, x, check_trace=False)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"the network of '{card.name}' cannot be written as TorchScript: {error!s:.200}"
            ) from error
        data = BytesIO()
        torch.jit.save(traced, data)
        return Scripted(data.getvalue(), _alike(module, traced, larger))


def _alike(module: nn.Module, traced: nn.Module, x: Tensor) -> bool:
    try:
        got = traced(x)
    except RuntimeError:
        return False
    want = module(x)
    return got.shape == want.shape and bool(torch.allclose(got, want, atol=TOLERANCE))


def _noise(card: ModelCard, more: int) -> Tensor:
    z, y, x = extents_of(card)
    steps = steps_of(card)
    read = (z + more * steps.get("z", 0), y + more * steps["y"], x + more * steps["x"])
    shape = read[1:] if is_flat(card) else read
    return torch.rand((1, card.channels, *shape), generator=torch.Generator().manual_seed(0))


def extents_of(card: ModelCard) -> Vec3:
    """(z, y, x) of the image that a network is traced and tested with: what a call reads, or so much less that ``LEFT``
    voxels are left within the halo."""
    steps = steps_of(card)
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    few = [-(-(LEFT + 2 * h) // steps.get(a, 1)) * steps.get(a, 1) for a, h in zip("zyx", card.halo, strict=True)]
    return vec3([min(r, f) if a in steps else r for a, r, f in zip("zyx", read, few, strict=True)])


def steps_of(card: ModelCard) -> dict[str, int]:
    """Of what extents along z, y and x must be multiples; z lacks where a network has one section and its context."""
    steps = dict(zip("zyx", nets.divisor(card.network), strict=True))
    return {a: s for a, s in steps.items() if a != "z" or nets.dimensions(card.network) == 3}


def torch_version() -> str:
    """Of the torch that writes."""
    return str(torch.__version__)
