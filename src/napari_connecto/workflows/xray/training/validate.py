"""Score of a translator's member while it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from napari_connecto.core.geometry import vec3
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.training.fit import Sample
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE
from napari_connecto.workflows.xray.training.design import crop_shape
from napari_connecto.workflows.xray.training.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.translate_params import TranslatorParams

CHECKED = 16
"""Crops that select the best checkpoint."""


@dataclass(frozen=True)
class Likelihood:
    """Validation score of a few crops, higher is better: minus the mean negative log likelihood (or absolute error).

    With an output for membranes, their weighted cross entropy is taken off too.
    """

    kind: str
    sample: Sample
    membrane: float = 0.0
    outputs: tuple[str, ...] = ("mean",)

    @classmethod
    def of(cls, kind: str, scene: Scene, params: TranslatorParams, card: ModelCard) -> Likelihood:
        """On `CHECKED` crops of a block, the same for all members."""
        crop = crop_shape(params, card, vec3(scene.em.shape))
        outputs = tuple(output.name for output in card.outputs)
        plain = PairSamples(scene, crop, CHECKED, 0, changed=False, outputs=outputs)
        return cls(kind, plain.at(0), params.membrane, outputs)

    def __call__(self, model: Predictor) -> float:
        """Score a member."""
        xray, _, _ = self.sample
        answer = model(xray, [0] * len(xray))
        return self._brightness(answer["mean"], answer.get("log_variance")) - self._membranes(answer.get("membrane"))

    def _brightness(self, mean: np.ndarray, log_variance: np.ndarray | None) -> float:
        _, target, weight = self.sample
        known = weight[:, 0] > 0
        error = np.abs(mean - target[:, 0])[known]
        if self.kind == "absolute" or log_variance is None:
            return -float(error.mean())
        told = np.clip(log_variance, *LOG_VARIANCE_RANGE)[known]
        if self.kind == "laplace":
            return -float((error * np.exp(0.5 * (np.log(2) - told)) + 0.5 * (told + np.log(2))).mean())
        return -float((0.5 * (error**2 * np.exp(-told) + told)).mean())

    def _membranes(self, logit: np.ndarray | None) -> float:
        if logit is None or self.membrane == 0:
            return 0.0
        at = self.outputs.index("membrane")
        truth, known = self.sample[1][:, at], self.sample[2][:, at] > 0
        if not known.any():
            return 0.0
        p = np.clip(expit(logit), 1e-6, 1 - 1e-6)
        return self.membrane * -float((truth * np.log(p) + (1 - truth) * np.log(1 - p))[known].mean())
