"""The model that the training of a stage begins with."""

from __future__ import annotations

from napari_connecto.core.model import ModelCard
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.pretrained.start import pretrained_model
from napari_connecto.workflows.cascade.params import TrainParams


def new_stage(card: ModelCard, params: TrainParams, k: int) -> TorchPredictor:
    """Random weights; of the finest stage, the encoder's published ones if ``params`` ask for them."""
    if k == 0 and params.encoder_weights:
        return pretrained_model(card, params.seed, params.encoder_weights, device=params.device)
    return new_model(card, params.seed, device=params.device)
