"""Adapt a model's batch-norm statistics to other images, without labels (AdaBN)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import Predictor
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor, one_thread
from napari_connecto.models.nets.fold import NORMS


def adabn(model: Predictor, batches: Iterable[np.ndarray]) -> TorchPredictor:
    """AdaBN: the model with batch-norm statistics of unlabelled target tiles; all else stays.

    After Li et al. (arXiv 1603.04779): means and variances are the plain average over the batches, each weighing the
    same. The model given is unchanged, so going back is to go on with it.

    Parameters
    ----------
    model
        A native model.
    batches
        Each (n, c, z, y, x) float32, scaled as the card says; a few batches of 8 or more varied tiles.

    Returns
    -------
    TorchPredictor
        Its card's ``parent`` is the model, ``training`` and ``metrics["adabn"]`` say what was done; the model's own
        metrics, measured on other images and statistics, are left out.

    Raises
    ------
    ModelError
        If the model has no batch norm.
    InputError
        If there is no batch, or one of another shape, or too small to have a variance.
    """
    start = torch_model(model)
    net = deepcopy(start.net).to(start.device).eval()
    norms = [module for module in net.modules() if isinstance(module, NORMS) and module.track_running_stats]
    if not norms:
        raise ModelError(f"'{start.card.name}' has no batch norm to adapt; use it without AdaBN")
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the cumulative average
        module.train()
    count, tiles = 0, 0
    for batch in batches:
        _look(net, batch, start)
        count, tiles = count + 1, tiles + len(batch)
    if not count:
        raise InputError("got no batch for AdaBN; give at least one of target tiles")
    note = f"{start.card.training}; AdaBN on {tiles} unlabelled tiles".lstrip("; ")
    metrics = {"adabn": {"batches": count, "tiles": tiles}}
    card = replace(start.card, parent=start.card.digest, training=note, metrics=metrics)
    return TorchPredictor(card, _plain(net, start), str(start.device))


def _look(net: torch.nn.Module, batch: np.ndarray, model: TorchPredictor) -> None:
    if batch.ndim != 5 or batch.shape[1] != model.card.channels or not len(batch):
        raise InputError(f"got a batch of shape {batch.shape}; need (n, {model.card.channels}, z, y, x), n at least 1")
    if not np.isfinite(batch).all():
        raise InputError("got a batch with values that are not finite; leave such tiles out")
    x = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(model.device)
    with one_thread() if model.device.type == "cpu" else nullcontext(), torch.no_grad():
        try:
            net(x)
        except ValueError as error:  # torch: one value per channel has no variance
            raise InputError(f"got a batch of shape {batch.shape}, too small for batch norm ({error})") from error


def _plain(net: torch.nn.Module, model: TorchPredictor) -> torch.nn.Module:
    """The model's network with the statistics of ``net``, whose batch norms learn otherwise and count batches."""
    plain = deepcopy(model.net)
    own = plain.state_dict()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            own[name].copy_(tensor)
    return plain
