"""Models in folders: ``card.json`` beside ``weights.safetensors``; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import torch

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.whole import whole_file
from napari_connecto.models.detectors import chosen
from napari_connecto.models.detectors.chosen import ChosenOutput
from napari_connecto.models.detectors.registered import KIND as REGISTERED
from napari_connecto.models.detectors.registered import RegisteredPredictor
from napari_connecto.models.imported.predictor import FILES, KIND, ImportedPredictor
from napari_connecto.models.inference.device import pick_device
from napari_connecto.models.inference.openvino import accelerated, installed, torch_model
from napari_connecto.models.inference.origin import Backend, Origin
from napari_connecto.models.inference.predictor import TorchPredictor, skeleton
from napari_connecto.models.inspect import probe
from napari_connecto.models.inspect.probe import ProbePredictor
from napari_connecto.models.nets.weights import fill_weights
from napari_connecto.models.transfer.adapter import load_adapter, merge

log = logging.getLogger("napari_connecto")

CARD, WEIGHTS = "card.json", "weights.safetensors"
INNER = "model"
"""Folder of the model of which one output, or the activations, are used, beside the card that says so."""
ON_TOP = (chosen.KIND, probe.KIND)
"""Kinds that lie beside the folder of another model."""
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


def new_model(card: ModelCard, seed: int, *, device: str = "auto") -> TorchPredictor:
    """The card's network with fresh weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = skeleton(card)
    return TorchPredictor(card, net, device)


def save_model(model: Predictor, folder: str | Path, *, overwrite: bool = False) -> ModelCard:
    """Write a model; the card comes last, so that a folder with a card is whole.

    Returns
    -------
    ModelCard
        As written, with the digest of the weights file.

    Raises
    ------
    StoreError
        If the folder holds a model already and ``overwrite`` is False, or cannot be written.
    """
    folder = Path(folder)
    if (folder / CARD).exists() and not overwrite:
        raise StoreError(f"'{folder}' holds a model already; choose another folder or overwrite=True")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
        if isinstance(model, ChosenOutput | ProbePredictor):
            save_model(model.model, folder / INNER, overwrite=overwrite)
        if not isinstance(model, ChosenOutput | RegisteredPredictor):  # their cards say all
            own = model if isinstance(model, ImportedPredictor | ProbePredictor) else torch_model(model)
            _write(folder / weights_file(model.card), own.weights)
        _write(folder / CARD, json_text(model.card.to_json(), indent=1).encode())
    except OSError as error:
        raise StoreError(f"cannot write the model to '{folder}': {error}; choose another place") from error
    return model.card


def load_model(
    folder: str | Path,
    *,
    device: str = "auto",
    backend: Backend = "auto",
    tile: Vec3 | None = None,
    adapter: str | Path | None = None,
) -> Predictor:
    """Read a model and check that its weights are those the card speaks of.

    Parameters
    ----------
    folder
        Holds ``card.json`` and ``weights.safetensors`` (of an imported TorchScript network ``weights.torchscript``). A
        registered detector has a card alone; an output of a model, or a probe of it, lies beside that model's folder.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    backend
        "torch", "openvino" (CPU only; falls back to torch with one line of explanation), or "auto": openvino where it
        is installed and the device is the CPU.
    tile
        Instead of the card's (z, y, x), to fit into memory.
    adapter
        The file ``adapter.safetensors`` of a fine-tuning of this model: what is loaded is the fine-tuned one.

    Raises
    ------
    ModelError
        If something is missing, pickled, damaged, of another digest or does not fit the card's network, or the adapter
        belongs to another model.
    InputError
        If the backend is unknown or does not run there, or the model takes no other tile or no adapter.
    """
    if backend not in ("auto", "torch", "openvino"):
        raise InputError(f"got backend {backend!r}; allowed: auto, torch, openvino")
    folder = Path(folder)
    card = read_card(folder)
    kind = _kind(card)
    if kind in (REGISTERED, *ON_TOP):
        if tile is not None or adapter is not None:
            raise InputError(f"got a tile or an adapter; '{card.name}' takes none: leave it out")
        return _checked(_without_weights(card, folder, device, backend), card, folder)
    weights = (folder / weights_file(card)).read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    if digest != card.digest:
        raise ModelError(
            f"the weights in '{folder}' have digest {digest[:12]}, the card says {card.digest[:12] or 'none'}; "
            "they are damaged or belong to another card: copy the model again"
        )
    if tile is not None and _imported(card):
        raise InputError(f"got tile {tile}; the imported model '{card.name}' takes {card.tile} only: leave it out")
    if adapter is not None and _imported(card):
        raise InputError(f"got an adapter; the imported model '{card.name}' takes none: leave it out")
    card = replace(card, tile=tile or card.tile)
    if _imported(card):
        if backend == "openvino":
            log.warning("openvino does not run imported networks; continuing with torch")
        imported = ImportedPredictor(card, weights, device)
        imported.origin = Origin(folder, device, backend)
        return imported
    net = skeleton(card)
    fill_weights(net, weights)
    model = TorchPredictor(card, net, device)
    if adapter is None:
        model.origin = Origin(folder, device, backend)
    else:
        model = merge(model, load_adapter(adapter))
    cpu = pick_device(device).type == "cpu"
    if backend == "openvino" and not cpu:
        raise InputError(f"got backend 'openvino' on device {device!r}; it runs on cpu")
    return accelerated(model) if backend == "openvino" or (backend == "auto" and cpu and installed()) else model


def _without_weights(card: ModelCard, folder: Path, device: str, backend: Backend) -> Predictor:
    """A registered detector, or one output or a probe of the model in the folder within."""
    if _kind(card) == REGISTERED:
        return RegisteredPredictor(card)
    if _kind(read_card(folder / INNER)) in ON_TOP:
        raise ModelError(f"'{folder}' holds an output of an output; save the model again")
    inner = load_model(folder / INNER, device=device, backend=backend)
    if _kind(card) == probe.KIND:
        return ProbePredictor.read(inner, card, (folder / WEIGHTS).read_bytes())
    return ChosenOutput(inner, str(card.network.get("output")), card.network.get("shown"))  # type: ignore[arg-type]


def _checked(model: Predictor, card: ModelCard, folder: Path) -> Predictor:
    if model.card != card:
        raise ModelError(f"the card in '{folder}' is not that of its model; it was changed: save the model again")
    return model


def read_card(folder: Path) -> ModelCard:
    """The card of a complete model folder."""
    if folder.suffix.lower() in PICKLES or _only_pickles(folder):
        raise ModelError(
            f"'{folder}' holds pickled weights, which can run any code when opened; "
            "only a folder with card.json and weights.safetensors is accepted: convert them with safetensors"
        )
    _there(folder, CARD)
    data = parse_json((folder / CARD).read_bytes(), f"the card in '{folder}'", ModelError, "copy the model again")
    if not isinstance(data, dict):
        raise ModelError(f"the card in '{folder}' is damaged: got {type(data).__name__}; copy the model again")
    card = ModelCard.from_json(data)
    if _kind(card) in ON_TOP:
        _there(folder, f"{INNER}/{CARD}")
    if _kind(card) not in (REGISTERED, chosen.KIND):
        _there(folder, weights_file(card))
    return card


def weights_file(card: ModelCard) -> str:
    """What the weights are called beside the card of a network."""
    return FILES.get(str(card.network.get("format")), WEIGHTS) if _imported(card) else WEIGHTS


def _imported(card: ModelCard) -> bool:
    return _kind(card) == KIND


def _kind(card: ModelCard) -> str:
    return str(card.network.get("kind"))


def _there(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise ModelError(f"'{folder}' has no {name}; give the folder that `save_model` wrote")
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{name} in '{folder}' is a link to a file outside of it; put the file itself there")


def _only_pickles(folder: Path) -> bool:
    if not folder.is_dir() or (folder / WEIGHTS).exists():
        return False
    return any(path.suffix.lower() in PICKLES for path in folder.iterdir())


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(data)
