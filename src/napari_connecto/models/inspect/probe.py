"""A pixel classifier on a network's own activations: 1 x 1 convolutions of its stages, enlarged and added."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor, nn

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.models.inspect.features import answered, unfolded
from napari_connecto.models.inspect.taps import capture, network
from napari_connecto.models.nets.weights import read_tensors

KIND = "probe"
BIAS = "bias"


class ProbePredictor:
    """A model whose outputs are linear classifiers of another model's activations.

    Parameters
    ----------
    model
        Whose stages can be reached, see `napari_connecto.models.inspect.taps.taps`.
    names
        Of the outputs.
    weights
        By stage (outputs, channels) float32, of activations as they are.
    bias
        (outputs,).
    metrics
        Of the card: how it was measured.

    Attributes
    ----------
    card : ModelCard
        The model's, with these outputs; ``digest`` is that of the weights and the model.
    weights : bytes
        A safetensors file of weights and bias.
    calls : int
        One: hooks on a network serve a single thread.

    Raises
    ------
    ModelError
        If the model's layers cannot be reached, or the weights do not fit its stages.
    """

    calls = 1

    def __init__(
        self,
        model: Predictor,
        names: Sequence[str],
        weights: Mapping[str, np.ndarray],
        bias: np.ndarray,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self._opened = model, network(model)
        for stage, matrix in weights.items():
            tap = self._opened.taps.get(stage)
            if tap is None or matrix.shape != (len(names), tap.channels):
                raise ModelError(
                    f"got weights {matrix.shape} of stage '{stage}'; '{model.card.name}' has "
                    f"{', '.join(f'{t.name} ({t.channels})' for t in self._opened.taps.values())}: make the probe again"
                )
        if bias.shape != (len(names),):
            raise ModelError(f"got {bias.shape} biases for {len(names)} outputs; make the probe again")
        tensors = {stage: np.ascontiguousarray(matrix, np.float32) for stage, matrix in weights.items()}
        tensors[BIAS] = np.ascontiguousarray(bias, np.float32)
        self.weights = bytes(safetensors.numpy.save(tensors))
        self._matrices = {stage: torch.from_numpy(tensors[stage]) for stage in weights}
        self._bias = torch.from_numpy(tensors[BIAS])
        trimmed = model.card.outputs[0].trimmed
        self.card: ModelCard = replace(
            model.card,
            name=f"{model.card.name} probe",
            task="detect",
            outputs=tuple(Output(name, (1, 1, 1), trimmed) for name in names),
            network={"kind": KIND, "stages": list(weights)},
            digest=hashlib.sha256(self.weights).hexdigest(),
            parent=model.card.digest,
            training="a linear classifier of its parent's activations, from scribbles",
            metrics=dict(metrics or {}),
        )

    @classmethod
    def read(cls, model: Predictor, card: ModelCard, weights: bytes) -> ProbePredictor:
        """A probe from its card and its safetensors file.

        Raises
        ------
        ModelError
            If they are damaged or belong to another model.
        """
        if card.parent != model.card.digest:
            raise ModelError(f"the probe '{card.name}' was made for another model than that beside it; copy both again")
        tensors = {name: tensor.float().numpy() for name, tensor in read_tensors(weights).items()}
        if BIAS not in tensors:
            raise ModelError(f"the weights of probe '{card.name}' have no bias; make the probe again")
        bias = tensors.pop(BIAS)
        stages = card.network.get("stages")
        if not isinstance(stages, list) or sorted(map(str, stages)) != sorted(tensors):
            raise ModelError(f"the card of probe '{card.name}' names other stages than its weights; make it again")
        names = [output.name for output in card.outputs]
        return cls(model, names, {str(stage): tensors[str(stage)] for stage in stages}, bias, card.metrics)

    def __reduce__(self) -> tuple[Any, ...]:
        return ProbePredictor.read, (self.model, self.card, self.weights)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        with torch.no_grad():
            score = torch.cat([self._score(patch) for patch in batch]).sigmoid_().cpu().numpy()
        return {output.name: np.ascontiguousarray(score[:, i]) for i, output in enumerate(self.card.outputs)}

    def _score(self, patch: np.ndarray) -> Tensor:
        """(1, outputs, z, y, x) logits; coarse stages are weighted before they are enlarged: the same, and cheaper."""
        with capture(self._opened, self._matrices) as seen:
            self._opened.logits(patch[None])
        shape = answered(self.model.card)
        total = self._bias.reshape(1, -1, 1, 1, 1).to(self._opened.device)
        for stage, matrix in self._matrices.items():
            maps = torch.einsum("oc,nczyx->nozyx", matrix.to(self._opened.device), unfolded(seen[stage], 1).float())
            if tuple(maps.shape[2:]) != shape:
                maps = nn.functional.interpolate(maps, shape, mode="trilinear", align_corners=False)
            total = total + maps
        return total
