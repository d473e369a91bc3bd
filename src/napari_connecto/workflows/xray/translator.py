"""A translator: an ensemble of regression networks with recalibrated uncertainty, as one folder.

::

    translator.json         recalibration by kind of uncertainty, what it was trained on, held-out figures
    member_0/ ...           models: card.json and weights.safetensors
    gate.json, gate.npz     out-of-distribution detector of its first member, see `Gate`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.shown import shown
from napari_connecto.core.whole import new_folder
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import Backend, load_model, save_model
from napari_connecto.models.inference.mixture import Mixture, ensemble, flips, mc_dropout
from napari_connecto.models.nets.nets import divisor
from napari_connecto.models.nets.subpixel import KEY as FOLD
from napari_connecto.sample_data import TRANSLATOR
from napari_connecto.workflows.ood.files import load_gate, save_gate
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.xray.reliability import Recalibration
from napari_connecto.workflows.xray.translate_params import KINDS, TranslateParams

MOST_MEMBERS = 64
LABEL = "EM-like (simulated from X-ray)"
"""Label of every translation in its metadata."""


class Recalibrated:
    """A mixture with recalibrated total uncertainty; both parts are scaled by the same factor.

    Parameters
    ----------
    mixture
        Outputs "mean", "aleatoric" and "epistemic".
    recalibration
        Of the total; None leaves it as it is.
    """

    def __init__(self, mixture: Mixture, recalibration: Recalibration | None) -> None:
        self.mixture = mixture
        self.recalibration = recalibration
        told = json.dumps([mixture.card.digest, asdict(recalibration) if recalibration else None])
        self.card: ModelCard = replace(mixture.card, digest=hashlib.sha256(told.encode()).hexdigest())
        self.calls = mixture.calls
        self.any_tile = mixture.any_tile

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        answer = dict(self.mixture(batch, seeds))
        if self.recalibration is None:
            return answer
        total = np.hypot(answer["aleatoric"], answer["epistemic"])
        factor = np.divide(self.recalibration(total), total, out=np.ones_like(total), where=total > 0)
        return answer | {name: answer[name] * factor for name in ("aleatoric", "epistemic")}


@shown
@dataclass(frozen=True)
class Translator:
    """X-ray in, EM-like mean with aleatoric and epistemic standard deviations out.

    Parameters
    ----------
    members
        Models of one card, of outputs "mean" (0 and 1 are the EM's percentiles of `about`) and "log_variance", and in
        some "log_epistemic" and "membrane", see `napari_connecto.models.training.joint`.
    recalibration
        By kind of uncertainty (`TranslateParams.uncertainty`).
    about
        JSON: ``params``, ``pair``, ``target`` (offset and scale of the EM's brightness), ``metrics`` (held out),
        ``simulated`` (parameters of the forward model, if the X-ray was simulated), ``version``.
    gate
        Out-of-distribution detector of the first member; None if there was too little training data to fit one.
    """

    name: str
    members: tuple[Predictor, ...]
    recalibration: Mapping[str, Recalibration] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    gate: Gate | None = None

    def __post_init__(self) -> None:
        ensemble(self.members)

    @property
    def card(self) -> ModelCard:
        """Of its members: voxel size (the EM's), tile, halo, normalisation of the X-ray."""
        return self.members[0].card

    def predictor(self, params: TranslateParams | None = None) -> Recalibrated:
        """The predictor for tiles: outputs "mean", "aleatoric", "epistemic", recalibrated, and perhaps "membrane"."""
        params = params or TranslateParams()
        return Recalibrated(mixture(self.members, params), self.recalibration.get(params.uncertainty))

    def fitted(self, shape: Vec3) -> Translator:
        """The same translator, with the smallest tiles that cover a volume in as many steps as those of its card.

        Only of networks that compute on cells (`napari_connecto.models.nets.subpixel`): of older ones, results that
        were begun with the card's tiles are still resumed.
        """
        step, card = divisor(self.card.network), self.card
        counts = [-(-n // t) for n, t in zip(shape, card.tile, strict=True)]
        tile = vec3([-(-n // (c * s)) * s for n, c, s in zip(shape, counts, step, strict=True)])
        members = [m for m in self.members if FOLD in card.network and tile != card.tile and hasattr(m, "with_tile")]
        if len(members) < len(self.members):
            return self
        return replace(self, members=tuple(m.with_tile(tile) for m in members))

    def save(self, folder: str | Path) -> Path:
        """Write it, as a whole or not at all.

        Raises
        ------
        StoreError
            If the folder exists or cannot be written.
        """
        folder = Path(folder)
        if folder.exists():
            raise StoreError(f"'{folder}' exists; choose another folder for the translator")
        with storing(folder), new_folder(folder) as partial:
            for k, member in enumerate(self.members):
                save_model(member, partial / f"member_{k}")
            if self.gate is not None:
                save_gate(self.gate, partial)
            told = {"name": self.name, "members": len(self.members), "about": dict(self.about)}
            told["recalibration"] = {kind: asdict(r) for kind, r in self.recalibration.items()}
            write_json(partial / TRANSLATOR, told)
        return folder


def mixture(members: Sequence[Predictor], params: TranslateParams) -> Mixture:
    """Members as one predictor, without recalibration."""
    if params.uncertainty == "flips":
        return flips(members[0])
    if params.uncertainty == "dropout":
        return mc_dropout(members[0], params.passes)
    return ensemble(members if params.uncertainty == "ensemble" else members[:1])


def load_translator(
    folder: str | Path, *, device: str = "auto", backend: Backend = "auto", tile: Vec3 | None = None
) -> Translator:
    """Read a translator.

    Parameters
    ----------
    folder
        Folder written by `Translator.save`.
    device, backend, tile
        See `load_model`.

    Raises
    ------
    ModelError
        If something is missing or damaged; nothing is ever unpickled.
    """
    folder = Path(folder)
    try:
        told = parse_json((folder / TRANSLATOR).read_bytes(), f"'{folder / TRANSLATOR}'", ModelError)
        count, name, about = told["members"], str(told["name"]), told["about"]
        found = told["recalibration"].items()
        recalibration = {
            k: Recalibration(tuple(map(float, r["stated"])), tuple(map(float, r["right"]))) for k, r in found
        }
        if not isinstance(count, int) or not 1 <= count <= MOST_MEMBERS or not isinstance(about, dict):
            raise ValueError(f"{count} members")
    except OSError as error:
        raise ModelError(
            f"'{folder}' is not a translator, because it has no readable {TRANSLATOR}; give the folder of a trained one"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the translator in '{folder}' is damaged ({error!r}); copy it again") from error
    if not set(recalibration) <= set(KINDS):
        raise ModelError(f"got recalibrations {sorted(recalibration)} in '{folder}'; known: {', '.join(KINDS)}")
    members = tuple(load_model(folder / f"member_{k}", device=device, backend=backend, tile=tile) for k in range(count))
    return Translator(name, members, recalibration, about, load_gate(folder))
