"""Low-rank adapters: the change of a model by training, in a file of kilobytes that is tied to that model.

After ConvLoRA (Aleem et al., arXiv 2402.04964): a convolution's weights W become W + scale * up @ down of a small
rank, and W itself stays. Different from theirs: one (out, rank) and one (rank, in * kernel) factor per convolution (a
kernel of few filters and a 1x1 one after it) instead of rank * kernel of them; the decoder's convolutions too; biases
and batch norm's values, small as they are, are replaced by new ones; factors in half precision, sums in double, so
that merging gives the same bits everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.model import ModelCard
from napari_connecto.core.whole import whole_file
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets.weights import read_tensors

FORMAT = "napari-connecto adapter 1"


@dataclass(frozen=True)
class Adapter:
    """The change from one model to another.

    Parameters
    ----------
    card
        Of the model it belongs to, its base; ``card.digest`` ties them.
    scale
        Factor before ``up @ down``.
    up, down
        By name of a convolution's weights: (out, rank) and (rank, in * kernel) in half precision.
    new, old
        By name of a bias or a batch norm's tensor: its values with the adapter and in the base.
    """

    card: ModelCard
    scale: float
    up: Mapping[str, Tensor]
    down: Mapping[str, Tensor]
    new: Mapping[str, Tensor]
    old: Mapping[str, Tensor]

    @property
    def rank(self) -> int:
        """The largest rank of a convolution's change."""
        return max((int(up.shape[1]) for up in self.up.values()), default=0)

    def change(self, name: str, shape: torch.Size) -> Tensor:
        """What is added to a convolution's weights, in double precision, where it is exact."""
        return self.scale * (self.up[name].double() @ self.down[name].double()).reshape(shape)

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        kinds = {"up": self.up, "down": self.down, "new": self.new, "old": self.old}
        tensors = {f"{kind}/{name}": t.contiguous() for kind, of in kinds.items() for name, t in of.items()}
        header = {"format": FORMAT, "base": self.card.digest, "scale": self.scale, "card": self.card.to_json()}
        return bytes(safetensors.torch.save(tensors, {"adapter": json.dumps(header)}))  # of two keys, any may be first


def save_adapter(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter to one safetensors file.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(adapter.to_bytes())
    except OSError as error:
        raise StoreError(f"cannot write the adapter to '{path}': {error}; choose another place") from error


def load_adapter(path: str | Path) -> Adapter:
    """Read what `save_adapter` wrote; nothing is unpickled.

    Raises
    ------
    ModelError
        If it is no such file or damaged.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the adapter '{path}': {error}; give a file of `save_adapter`") from error
    return parse_adapter(data)


def parse_adapter(data: bytes) -> Adapter:
    """The inverse of `Adapter.to_bytes`.

    Raises
    ------
    ModelError
        If these are other bytes.
    """
    kinds: dict[str, dict[str, Tensor]] = {"up": {}, "down": {}, "new": {}, "old": {}}
    try:
        tensors = read_tensors(data)
    except ModelError as error:
        raise ModelError(f"the adapter is damaged ({error})") from error
    try:
        size = int.from_bytes(data[:8], "little")
        told = json.loads(data[8 : 8 + size]).get("__metadata__", {}).get("adapter", "{}")
        header = parse_json(told, "the adapter's header", ModelError)
        found = header.get("format") if isinstance(header, dict) else None
        if found != FORMAT:
            raise ModelError(f"got a file of format {found!r}, not {FORMAT!r}; give an adapter's")
        card = ModelCard.from_json(header["card"])
        for name, tensor in tensors.items():
            kind, _, inner = name.partition("/")
            kinds[kind][inner] = tensor
        adapter = Adapter(card, float(header["scale"]), **kinds)
        if not isfinite(adapter.scale):
            raise ValueError(f"scale {adapter.scale}")
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the adapter is damaged ({error!r}); copy it again") from error
    whole = set(adapter.up) == set(adapter.down) and set(adapter.new) == set(adapter.old)
    if header.get("base") != card.digest or not whole:
        raise ModelError("the adapter is damaged (its parts do not belong together); copy it again")
    return adapter


def merge(base: TorchPredictor, adapter: Adapter) -> TorchPredictor:
    """The adapted model: the base with the adapter's changes in its weights, which are of full precision then.

    Returns
    -------
    TorchPredictor
        Its ``adapter`` is the one given, its card's ``parent`` the base; the base's metrics no longer hold and go.

    Raises
    ------
    ModelError
        If the adapter belongs to another base.
    """
    if base.card.digest != adapter.card.digest:
        raise ModelError(
            f"the adapter belongs to the model of digest {adapter.card.digest[:12]} ('{adapter.card.name}'), got "
            f"{base.card.digest[:12]} ('{base.card.name}'); load that model"
        )
    net = _changed(base.net, adapter)
    network = dict(base.card.network)
    if network.get("half"):
        network["half"] = False
    note = f"{base.card.training}; adapter of rank {adapter.rank}".lstrip("; ")
    card = replace(base.card, network=network, parent=base.card.digest, training=note, metrics={})
    merged = TorchPredictor(card, net, str(base.device))
    merged.adapter = adapter
    return merged


def _changed(net: nn.Module, adapter: Adapter) -> nn.Module:
    net = deepcopy(net)
    own = net.state_dict()
    try:
        for name in adapter.up:
            own[name].copy_(own[name].double() + adapter.change(name, own[name].shape))
        for name, tensor in adapter.new.items():
            own[name].copy_(tensor)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the adapter is damaged ({error!r}); copy it again") from error
    return net
