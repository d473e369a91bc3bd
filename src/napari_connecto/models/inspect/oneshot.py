"""A network with single weights set to zero, layer by layer, each under the inputs that the layers before now give.

Sparse Expansion (Sawmya et al., arXiv 2405.15756): inputs of a layer are clustered (PCA and k-means) and each cluster
gets its own pruned copy. Its controls: weights pruned by magnitude, one copy, and as many copies for inputs split at
random. The first convolution and those that give the output stay whole.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.models.inference.predictor import TorchPredictor, one_thread
from napari_connecto.models.inspect.obs import can_be_rows, layer_error, magnitude_prune, obs_prune, rows_of
from napari_connecto.models.nets.nets import Sections
from napari_connecto.models.nets.routed import KEY, RandomlyRouted, Routed

Way = Literal["magnitude", "obs", "clusters", "random"]
FEWEST, MOST, PER_INPUT = 4096, 16384, 4
"""Rows that a layer is calibrated on: this many per input of a unit, within these bounds."""
TESTED = 4
"""One row in so many measures the error and calibrates nothing."""
COMPONENTS = 16


@dataclass(frozen=True)
class OneShot:
    """A network pruned in one pass.

    Parameters
    ----------
    net
        As that of the model.
    network
        What its card says of it.
    errors
        Relative squared error of each layer's output on rows that calibrated nothing, by layer, in order.
    """

    net: nn.Module
    network: dict[str, Any]
    errors: dict[str, float]

    @property
    def mean_error(self) -> float:
        """Over layers; 0 where none was pruned."""
        return float(np.mean(list(self.errors.values()))) if self.errors else 0.0

    def model(self, original: TorchPredictor) -> TorchPredictor:
        """Ready to be used and saved; randomly routed ones cannot be."""
        card = replace(original.card, network=self.network, parent=original.card.digest, metrics={})
        return TorchPredictor(card, self.net, str(original.device))

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Answers before the activation, (n, outputs, z, y, x)."""
        with one_thread(), torch.inference_mode():
            return self.net.eval()(torch.from_numpy(np.ascontiguousarray(batch, np.float32))).numpy()


def one_shot(
    model: TorchPredictor, batch: np.ndarray, sparsity: float, way: Way, *, experts: int = 1, seed: int = 0
) -> Job[OneShot]:
    """Prune a model's weights in one pass.

    Parameters
    ----------
    model
        Native, with convolutions without groups.
    batch
        Scaled tiles (n, c, z, y, x) to calibrate on.
    sparsity
        Share of zeros in each pruned layer; 0 changes nothing.
    way
        "obs" or "magnitude": one copy. "clusters" or "random": ``experts`` copies by OBS, for inputs that are alike or
        for any.
    experts
        Number of copies.
    seed
        Of the rows, clusters and splits.

    Yields
    ------
    Progress
        One per layer.

    Raises
    ------
    ModelError
        If no layer can be pruned.
    """
    whole = deepcopy(model.net).cpu().eval()
    net = whole.net if isinstance(whole, Sections) else whole
    x = torch.from_numpy(np.ascontiguousarray(batch, np.float32))
    names = prunable(whole, net, x[:1]) if sparsity > 0 else []
    if sparsity > 0 and not names:
        raise ModelError(f"'{model.card.name}' has no layer whose weights can be pruned; allowed: convolutions")
    network, errors = dict(model.card.network), dict[str, float]()
    generator = torch.Generator().manual_seed(seed)
    for done, name in enumerate(names):
        yield Progress(done, len(names), f"pruning ({way})")
        with one_thread(), torch.inference_mode():
            layer, rows = net.get_submodule(name), _inputs(whole, net, name, x, generator)
            new, errors[name] = _pruned(layer, rows, sparsity, way, experts, seed)
        net.set_submodule(name, new)
        if isinstance(new, Routed):
            network[KEY] = {**network.get(KEY, {}), name: experts}
    yield Progress(len(names), len(names), f"pruning ({way})")
    return OneShot(whole, network, errors)


def prunable(whole: nn.Module, net: nn.Module, x: Tensor) -> list[str]:
    """Convolutions in the order in which they run, without the first, the last and those of other kinds."""
    order: list[str] = []
    hooks = [
        m.register_forward_pre_hook(lambda _m, _i, n=n: order.append(n))
        for n, m in net.named_modules()
        if isinstance(m, nn.Conv2d | nn.Conv3d)
    ]
    try:
        with torch.inference_mode():
            whole(x)
    finally:
        for hook in hooks:
            hook.remove()
    inner = list(dict.fromkeys(order))[1:-1]
    return [name for name in inner if can_be_rows(net.get_submodule(name))]


class _Enough(Exception):
    pass


def _inputs(whole: nn.Module, net: nn.Module, name: str, x: Tensor, generator: torch.Generator) -> Tensor:
    """Rows of a layer's inputs under the network as it is now."""
    layer, found = net.get_submodule(name), list[Tensor]()
    assert isinstance(layer, nn.Conv2d | nn.Conv3d)
    wanted = min(MOST, max(FEWEST, PER_INPUT * layer.weight[0].numel()))

    def hook(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        found.append(rows_of(layer, inputs[0], -(-wanted // len(x)), generator))
        raise _Enough

    handle = layer.register_forward_pre_hook(hook)
    try:
        for tile in x:
            try:
                whole(tile[None])
            except _Enough:
                continue
    finally:
        handle.remove()
    rows = torch.cat(found)
    return rows[torch.randperm(len(rows), generator=generator)]


def _pruned(
    layer: nn.Module, rows: Tensor, sparsity: float, way: Way, experts: int, seed: int
) -> tuple[nn.Module, float]:
    assert isinstance(layer, nn.Conv2d | nn.Conv3d)
    weight, spared, learnt = layer.weight.flatten(1), rows[::TESTED], rows[torch.arange(len(rows)) % TESTED != 0]
    if way in ("magnitude", "obs"):
        new = magnitude_prune(weight, sparsity) if way == "magnitude" else obs_prune(weight, learnt, sparsity)
        other = deepcopy(layer)
        other.weight.copy_(new.reshape(layer.weight.shape))
        return other, layer_error(weight, new, spared)
    centres = centroids(learnt, experts, seed)
    kind = Routed if way == "clusters" else RandomlyRouted
    made = kind(layer, experts)
    made.router.weight.copy_(centres.reshape(made.router.weight.shape))
    made.router.bias.copy_(-centres.square().sum(1) / 2)  # type: ignore[union-attr]
    mine, theirs = (_owners(part, centres, way, seed) for part in (learnt, spared))
    wrong = right = 0.0
    for k in range(experts):
        own, shown = learnt[mine == k], spared[theirs == k]
        new = obs_prune(weight, own if len(own) else learnt, sparsity)
        made.experts.weight[k * len(weight) : (k + 1) * len(weight)] = new.reshape(layer.weight.shape)
        wrong += float((shown @ (new - weight).T).square().sum())
        right += float((shown @ weight.T).square().sum())
    if layer.bias is not None:
        made.experts.bias.copy_(layer.bias.repeat(experts))  # type: ignore[union-attr]
    return made, wrong / max(right, 1e-30)


def _owners(rows: Tensor, centres: Tensor, way: Way, seed: int) -> Tensor:
    if way == "random":
        return torch.randint(len(centres), (len(rows),), generator=torch.Generator().manual_seed(seed))
    return torch.argmax(rows @ centres.T - centres.square().sum(1) / 2, dim=1)


def centroids(rows: Tensor, count: int, seed: int) -> Tensor:
    """Centres (count, inputs) of k-means on the rows' principal components, at most 16 and an eighth of the inputs."""
    mean = rows.mean(0)
    few = max(1, min(COMPONENTS, rows.shape[1] // 8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        directions = torch.pca_lowrank(rows, few)[2]
    points = ((rows - mean) @ directions).double().numpy()
    tries = [kmeans2(points, count, minit="++", seed=seed + i, missing="warn") for i in range(3)]
    found = min(tries, key=lambda t: float(((points - t[0][t[1]]) ** 2).sum()))[0]
    return mean + torch.from_numpy(found).to(rows) @ directions.T
