"""A cascade: one detector per level, its measured rates, and how objects are extracted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import ConnectoError, InputError, ModelError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.shown import shown
from napari_connecto.io.disk import storing
from napari_connecto.models.files import Backend, load_model, save_model
from napari_connecto.models.inference.openvino import OpenVinoPredictor
from napari_connecto.workflows.cascade.document import FORMAT, read_document
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import Choice, choose_thresholds
from napari_connecto.workflows.ood.files import load_gate, save_gate
from napari_connecto.workflows.ood.gate import Gate


@shown
@dataclass(frozen=True)
class Cascade:
    """Detectors from fine to coarse, with their scores on labelled blocks held out from training.

    Parameters
    ----------
    name
        Name of the objects ("cells").
    stages
        One model per level, finest first. Each is run at its own card's voxel size; its first output is the
        probability of the object, and a chunk's score is the highest value the chunk owns.
    rule
        How objects are extracted from the finest map.
    calibration
        Scores, truth and seconds per call on the validation blocks; thresholds follow from it for any target recall.
    metadata
        How it was trained: data, licence, parameters, versions. JSON.
    gate
        Out-of-distribution detector of the finest stage. None for cascades of early versions, and where there was
        too little training data to fit one.
    """

    name: str
    stages: tuple[Predictor, ...]
    rule: ObjectRule
    calibration: Calibration
    metadata: Mapping[str, Any] = field(default_factory=dict)
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("got a cascade without stages; at least the finest is needed")

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The stages' cards, finest first."""
        return tuple(stage.card for stage in self.stages)

    @property
    def detector(self) -> str:
        """What the coarse stages learnt from instead of labels; "" for a cascade of labels."""
        told = self.metadata.get("detector")
        return str(told["name"]) if isinstance(told, Mapping) and "name" in told else ""

    def choose(self, target_recall: float = 0.99) -> Choice:
        """Levels and thresholds of lowest expected cost that keep ``target_recall`` of what an exhaustive search
        finds."""
        finder = self.detector or "level 0"
        return choose_thresholds(self.calibration, target_recall, threshold=self.rule.threshold, finder=finder)

    def save(self, folder: str | Path) -> None:
        """Write ``cascade.json``, a folder per stage (card + safetensors) and ``gate.json``/``gate.npz``.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        folder = Path(folder)
        cards = []
        for k, stage in enumerate(self.stages):
            if isinstance(stage, OpenVinoPredictor):
                raise ModelError(f"level {k} runs on another backend; load the cascade with backend='torch' to save it")
            cards.append(save_model(stage, folder / f"level_{k}"))
        if self.gate is not None:
            save_gate(self.gate, folder)
        self.save_document(folder)

    def save_document(self, folder: str | Path) -> None:
        """Write ``cascade.json`` alone, beside existing stages."""
        folder = Path(folder)
        document = {
            "format": FORMAT,
            "name": self.name,
            "digests": [card.digest for card in self.cards],
            "rule": asdict(self.rule),
            "calibration": self.calibration.to_json(),
            "metadata": dict(self.metadata),
        }
        with storing(folder):
            (folder / "cascade.json").write_text(json_text(document), encoding="utf-8")


def load_cascade(folder: str | Path, *, device: str = "auto", backend: Backend = "auto") -> Cascade:
    """Read a cascade that `Cascade.save` wrote.

    Parameters
    ----------
    folder
        With ``cascade.json``.
    device, backend
        As in `load_model`.

    Raises
    ------
    ModelError
        If it is not a cascade, or its weights or a card are damaged or differ from those it was saved with.
    """
    folder = Path(folder)
    document = read_document(folder)
    try:
        stages = tuple(
            load_model(folder / f"level_{k}", device=device, backend=backend) for k in range(len(document["digests"]))
        )
        for stage, digest in zip(stages, document["digests"], strict=True):
            if stage.card.digest != digest:
                raise ModelError(
                    f"'{folder.name}' holds weights ({stage.card.digest[:12]}) other than those it was calibrated with "
                    f"({digest[:12]}); train or export it again"
                )
        return Cascade(
            str(document["name"]),
            stages,
            ObjectRule(**document["rule"]),
            Calibration.from_json(document["calibration"]),
            dict(document["metadata"]),
            load_gate(folder),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConnectoError):
            raise
        raise ModelError(f"{folder / 'cascade.json'} is damaged ({error!r}); train or export it again") from error
