"""A new model whose encoder begins from published weights."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import replace

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import ModelCard
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.pretrained.fill import Colours, fill_encoder
from napari_connecto.models.pretrained.read import read_weights
from napari_connecto.models.pretrained.sources import find
from napari_connecto.models.transfer.encoder import encoder_parts

log = logging.getLogger("napari_connecto")


def pretrained_model(card: ModelCard, seed: int, wanted: str, *, device: str = "auto") -> TorchPredictor:
    """As `new_model`, but the encoder has published weights; its decoder is random, the same for the same seed.

    Parameters
    ----------
    card
        Of a network of kind "smp". What the encoder began from is added to ``training`` and ``licence``.
    seed
        Of the other weights.
    wanted
        "imagenet", or the path of a file; see `napari_connecto.models.pretrained.sources.find`. Nothing is downloaded.
    device
        Where it computes.

    Raises
    ------
    InputError
        If the network has no such encoder, or the weights are not on this machine.
    ModelError
        If the file is damaged or of another encoder.
    """
    if card.network.get("kind") != "smp":
        raise InputError(
            f"got encoder weights '{wanted}' for the small network, for which none are published; "
            "choose an encoder such as tu-tf_efficientnet_lite0, or leave them out"
        )
    encoder = str(card.network.get("encoder"))
    source = find(encoder, wanted)
    net = deepcopy(new_model(card, seed, device="cpu").net)
    colours = Colours(source.mean, source.std, rgb=card.channels == 3)
    (part,) = encoder_parts(net, card.network)
    missing = fill_encoder(part, read_weights(source.path), colours, f"'{source.path.name}'")
    told = f"encoder {encoder} began from {source.about}"
    if missing:
        told += f" but for {len(missing)} of its tensors ({', '.join(missing[:3])})"
        log.warning("%s, which it does not hold", told)
    licence = f"encoder: {source.licence or 'licence not stated'}"
    card = replace(card, training=_joined(card.training, told), licence=_joined(card.licence, licence))
    return TorchPredictor(card, net, device)


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
