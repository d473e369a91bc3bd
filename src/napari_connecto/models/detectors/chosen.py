"""One output of a model as the dense map of objects that a search stores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import expit

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import ModelCard, Output, Predictor

KIND = "chosen"
OUTPUT = "object"
Shown = Literal["as it is", "inverse", "sigmoid"]


class ChosenOutput:
    """A model whose only output is one of another model's, at stride 1.

    Parameters
    ----------
    model
        Any.
    output
        Name of its output.
    shown
        "as it is", "inverse" (1 minus it: the inside of what a boundary surrounds) or "sigmoid" (of logits).

    Raises
    ------
    ModelError
        If the model has no such output.
    """

    def __init__(self, model: Predictor, output: str, shown: Shown = "as it is") -> None:
        if shown not in get_args(Shown):
            raise ModelError(f"got {shown!r:.40}; allowed: {', '.join(get_args(Shown))}")
        self.model, self._output, self._shown = model, model.card.output(output), shown
        self.calls = int(getattr(model, "calls", 1))
        digest = hashlib.sha256(f"{model.card.digest}:{output}:{shown}".encode()).hexdigest()
        self.card: ModelCard = replace(
            model.card,
            outputs=(Output(OUTPUT, (1, 1, 1), self._output.trimmed),),
            network={"kind": KIND, "output": output, "shown": shown},
            digest=digest,
            parent=model.card.digest,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ChosenOutput, (self.model, self._output.name, self._shown)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`.

        Raises
        ------
        ModelError
            If the values are no probabilities.
        """
        found = np.asarray(self.model(batch, seeds)[self._output.name], np.float32)
        if self._shown == "sigmoid":
            found = expit(found)
        if not np.isfinite(found).all() or found.min() < -0.01 or found.max() > 1.01:
            raise ModelError(
                f"output '{self._output.name}' of '{self.card.name}' has values from {found.min():.3g} to "
                f"{found.max():.3g}, which are not probabilities; choose 'sigmoid' for logits, or another output"
            )
        if self._shown == "inverse":
            found = 1 - found
        for axis, step in enumerate(self._output.stride, start=1):
            found = found.repeat(step, axis) if step > 1 else found
        return {OUTPUT: np.ascontiguousarray(found)}
