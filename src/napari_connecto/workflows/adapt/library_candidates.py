"""The boundary models of a library, with or without a domain's sample of their training data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard
from napari_connecto.core.params import from_mapping
from napari_connecto.models.files import read_card
from napari_connecto.workflows.adapt.domains import ABOUT, Domain
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.library import library_models


@dataclass(frozen=True)
class Candidate:
    """A boundary model that can be ranked.

    Parameters
    ----------
    card
        None if it is damaged.
    domain
        None without a sample of its training data.
    damage
        Why its card or its domain cannot be read; "" if they can.
    """

    folder: Path
    card: ModelCard | None
    domain: Domain | None
    damage: str = ""

    @classmethod
    def load(cls, folder: Path) -> Candidate:
        """From a model's folder; a damaged one is a candidate too, which says so."""
        try:
            card = read_card(folder)
        except ModelError as error:
            return cls(folder, None, None, str(error))
        if not (folder / ABOUT).is_file():
            return cls(folder, card, None)
        try:
            return cls(folder, card, Domain.load(folder))
        except ModelError as error:
            return cls(folder, card, None, str(error))

    def segment(self) -> SegmentParams:
        """Thresholds tuned with it, else the defaults."""
        told = (self.domain.about if self.domain is not None else {}).get("segment")
        return from_mapping(SegmentParams, told) if isinstance(told, dict) else SegmentParams()


def load_models(folder: str | Path | None = None) -> dict[str, Candidate]:
    """Boundary models by name: the shipped ones and those of the user's library, or those inside ``folder``.

    Raises
    ------
    InputError
        If there is none.
    """
    found = {name: Candidate.load(path) for name, path in library_models(folder).items()}
    if not found:
        raise InputError(
            f"'{folder}' holds no boundary model; import one, or make a domain with `napari-connecto domains train`"
        )
    return found
