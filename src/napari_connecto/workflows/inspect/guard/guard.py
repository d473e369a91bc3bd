"""The guard of a model: a judge of pairs, what is usual, and calibrated limits; and its folder beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import read_json, storing, write_json
from napari_connecto.io.place import there, whole_folder
from napari_connecto.models.files import CARD, load_model, read_card, save_model
from napari_connecto.models.inspect.pair import ERROR, QUALITY
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.truth import AnswerKind
from napari_connecto.workflows.ood.files import load_gate, save_gate
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.judged import FIGURES, GUARD

if TYPE_CHECKING:
    from napari_connecto.workflows.inspect.guard.check import PairCheck

LEAST_DICE, MOST_VI = 0.8, 2.0
"""A tile is bad below this Dice, or above this multiple of the usual variation of information."""
LEAST_VI = 0.1
"""Bits. No tile below it is bad: where the usual one is 0, a multiple would call every flaw bad."""
TINY = 1e-4


@shown
@dataclass(frozen=True)
class Guard:
    """Tells where a model's answer is wrong; made by `fit_guard`.

    Parameters
    ----------
    judge
        Network on (image, answer), with outputs "error" and "quality".
    card
        Of the model it was fitted to.
    output
        Which of the model's outputs it judges.
    kind
        "membranes": a boundary map, in variation of information (bits); "masks": objects, in Dice.
    usual
        Median score of the model's answers on held-out examples.
    by_pair, combined
        Calibrations of the judge alone, and of the judge and the consistency under flips: either may flag a tile.
    by_input
        Calibration of the input check, which is told beside: an unusual image need not have a wrong answer.
    gate
        Input check, fitted to the examples; None, as the two others, for a model without an encoder.
    params
        How membranes become objects.
    metrics
        Held-out figures of the fit, JSON.
    model
        The model; without it the checks of input and output alone are left out.
    """

    judge: Predictor = field(repr=False)
    card: ModelCard
    output: str
    kind: AnswerKind
    usual: float
    by_pair: Calibration
    combined: Calibration | None
    by_input: Calibration | None = None
    gate: Gate | None = field(repr=False, default=None)
    params: SegmentParams = field(default_factory=SegmentParams)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    model: Predictor | None = field(repr=False, default=None)

    @property
    def limit(self) -> float:
        """Score beyond which a tile is bad: Dice below it, or VI above."""
        return limit_of(self.usual, self.kind)

    @property
    def unit(self) -> str:
        """What a tile's score is."""
        return "Dice" if self.kind == "masks" else "VI (bits)"

    def score_of(self, quality: np.ndarray) -> np.ndarray:
        """Predicted Dice or VI from the mean quality of a tile; see `quality_of`."""
        return score_of(quality, self.kind)

    def bad(self, score: np.ndarray) -> np.ndarray:
        """Whether tiles of these scores are bad."""
        return score < self.limit if self.kind == "masks" else score > self.limit

    def lines(self) -> list[str]:
        """What it is and how well it did, in words."""
        alarms = self.combined or self.by_pair
        told = [
            f"guard of '{self.card.name}' ({self.kind}); usual {self.unit} of a tile {self.usual:.3g}, bad "
            f"{'below' if self.kind == 'masks' else 'above'} {self.limit:.3g}",
            f"false alarms on good held-out tiles {percent(alarms.measured, 1)} of {alarms.tiles} "
            f"(stated {percent(alarms.false_alarm)}); checks: {', '.join(alarms.names)}",
        ]
        if "auroc" in self.metrics:
            each = ", ".join(f"{name} {value:.3f}" for name, value in self.metrics["auroc"].items())
            told.append(f"held-out tiles, clean and degraded: AUROC for bad tiles: {each}")
        return told

    def check_job(
        self, volume: Volume, output: Volume, *, out: Path, region: Box | None = None, client: Any = None
    ) -> Job[PairCheck]:
        """`check_pair` of an answer as a job, for the runs that write an error map."""
        from napari_connecto.workflows.inspect.guard.check import check_pair_job

        return check_pair_job(volume, output, self, out=out, region=region, client=client)

    def _others(self) -> dict[str, Calibration | None]:
        return {"combined": self.combined, "by_input": self.by_input}

    def save(self, folder: str | Path) -> None:
        """Write it into a model's folder, as ``folder/guard``; an older one is there until the new one is complete.

        Raises
        ------
        ModelError
            If the folder holds another model.
        StoreError
            If it cannot be written.
        """
        folder = Path(folder)
        if (folder / CARD).is_file() and (found := read_card(folder).digest) != self.card.digest:
            raise ModelError(f"this guard is of model {self.card.digest[:12]}, '{folder}' holds {found[:12]}")
        told = {
            "card": self.card.to_json(),
            "judge": self.judge.card.digest,
            "output": self.output,
            "kind": self.kind,
            "usual": self.usual,
            "by_pair": self.by_pair.to_json(),
            **{key: None if c is None else c.to_json() for key, c in self._others().items()},
            "params": asdict(self.params),
            "metrics": dict(self.metrics),
        }
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with whole_folder(folder / GUARD, True, "guard", _is_guard) as partial:
                save_model(self.judge, partial)
                if self.gate is not None:
                    save_gate(self.gate, partial)
                write_json(partial / FIGURES, told)


def load_guard(folder: str | Path, *, device: str = "auto", model: Predictor | None = None) -> Guard:
    """Read the guard beside a model.

    Parameters
    ----------
    folder
        Of the model, or of the guard in it.
    device
        Where judge and model compute.
    model
        The model, if it is loaded already. Default: loaded from the folder, if it is there.

    Raises
    ------
    ModelError
        If there is none, it is damaged, or it was fitted to another model.
    """
    folder = Path(folder)
    here = folder if _is_guard(folder) else there(folder / GUARD)
    if not _is_guard(here):
        raise ModelError(
            f"'{folder}' has no guard; fit one with `napari-connecto guard fit` or fit_guard, and save it there"
        )
    try:
        told = read_json(here / FIGURES)
        others: dict[str, Any] = {
            key: told[key] and Calibration.from_json(told[key]) for key in ("combined", "by_input")
        }
        guard = Guard(
            judge=load_model(here, device=device, backend="torch"),
            card=ModelCard.from_json(told["card"]),
            output=str(told["output"]),
            kind=told["kind"],
            usual=float(told["usual"]),
            by_pair=Calibration.from_json(told["by_pair"]),
            **others,
            gate=load_gate(here),
            params=from_mapping(SegmentParams, told["params"]),
            metrics=dict(told["metrics"]),
        )
        _check(guard, str(told["judge"]))
    except (StoreError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the guard in '{here}' is damaged ({error}); fit it again") from error
    beside = here.parent if _is_guard(folder) else folder
    if model is None and (beside / CARD).is_file():
        model = load_model(beside, device=device, backend="torch")
    return guard if model is None else with_model(guard, model)


def with_model(guard: Guard, model: Predictor) -> Guard:
    """A guard with its model; raises `ModelError` if it was fitted to another."""
    if model.card.digest != guard.card.digest:
        raise ModelError(
            f"this guard was fitted to model {guard.card.digest[:12] or 'unknown'}, not to {model.card.digest[:12]}; "
            "fit one for this model"
        )
    return replace(guard, model=model)


def limit_of(usual: float, kind: AnswerKind) -> float:
    """Score beyond which a tile is bad: Dice below it, or VI above."""
    return LEAST_DICE if kind == "masks" else max(LEAST_VI, MOST_VI * usual)


def quality_of(score: float, kind: AnswerKind) -> float:
    """What a judge predicts, in 0..1: Dice, or two to the minus variation of information."""
    return float(score if kind == "masks" else 2.0**-score)


def score_of(quality: np.ndarray, kind: AnswerKind) -> np.ndarray:
    """The inverse of `quality_of`."""
    quality = np.clip(quality, TINY, 1.0)
    return quality if kind == "masks" else -np.log2(quality)


def of_pair(error: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Statistics (n, 2) of tiles from the mean error (n,) and mean quality (n,); larger is worse."""
    e, q = (np.clip(v, TINY, 1 - TINY) for v in (error, quality))
    return np.stack([np.log((1 - q) / q), np.log(e / (1 - e))], axis=1)


def of_halves(distance: np.ndarray, inconsistency: np.ndarray) -> np.ndarray:
    """Statistics (n, 2) of tiles from distance of features and inconsistency of flips, (n,)."""
    return np.log(np.maximum(np.stack([distance, inconsistency], axis=1), TINY))


PAIR_NAMES: Sequence[str] = ("quality", "error")


def _check(guard: Guard, digest: str) -> None:
    outputs = {output.name for output in guard.judge.card.outputs}
    if guard.judge.card.digest != digest or not {ERROR, QUALITY} <= outputs:
        raise ValueError("its network is not the one that was calibrated")
    if guard.kind not in get_args(AnswerKind) or not (np.isfinite(guard.usual) and guard.usual >= 0):
        raise ValueError(f"kind {guard.kind!r}, usual {guard.usual}")
    guard.card.output(guard.output)
    if guard.judge.card.channels != guard.card.channels + 1:
        raise ValueError(f"a judge of {guard.judge.card.channels} channels")


def _is_guard(folder: Path) -> bool:
    return (folder / FIGURES).is_file()
